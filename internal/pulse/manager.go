package pulse

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// manager tells the service manager (sd_notify(3)) how we are. Without one it
// does nothing.
type manager struct {
	log *slog.Logger

	mu     sync.Mutex
	said   string // the last STATUS=
	warned bool
}

func newManager(log *slog.Logger) *manager { return &manager{log: log} }

func (m *manager) notify(state string) {
	_, err := daemon.SdNotify(false, state)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && !m.warned {
		m.warned = true
		m.log.Warn("the service manager could not be told", "error", err)
	}
}

func (m *manager) ready() { m.notify(daemon.SdNotifyReady) }

func (m *manager) stopping() { m.notify(daemon.SdNotifyStopping) }

// reloading begins a reload as Type=notify-reload wants it.
func (m *manager) reloading() {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return
	}
	m.notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, ts.Nano()/1000))
}

func (m *manager) status(line string) {
	m.mu.Lock()
	same := m.said == line
	m.said = line
	m.mu.Unlock()
	if !same {
		m.notify("STATUS=" + line)
	}
}

// run feeds the watchdog, if the service has one, as long as alive says so.
func (m *manager) run(ctx context.Context, alive func(context.Context) bool) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	ticker := time.NewTicker(every / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		check, cancel := context.WithTimeout(ctx, every/3)
		if alive(check) {
			m.notify(daemon.SdNotifyWatchdog)
		}
		cancel()
	}
}
