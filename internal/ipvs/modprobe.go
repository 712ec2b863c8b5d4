package ipvs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// modprobeTimeout bounds one run of modprobe. Loading ip_vs with what it needs
	// takes well below a second on real hardware.
	modprobeTimeout = 15 * time.Second
	// modprobeAgain is how long a failure to load a module stands before it is
	// tried again: somebody may have installed it meanwhile.
	modprobeAgain = time.Minute
)

// moduleName is what may be handed to modprobe. Names of schedulers come from a
// configuration.
var moduleName = regexp.MustCompile(`^ip_vs(_[a-z0-9_]{1,20})?$`)

var (
	errForbidden  = errors.New("running modprobe is switched off")
	errLocked     = errors.New("this host loads no modules until it is started again (kernel.modules_disabled=1): have them loaded at boot, in /etc/modules-load.d")
	errNoModprobe = errors.New("there is no modprobe on this host: install kmod, or have the modules loaded at boot")
)

// modules loads kernel modules.
type modules struct {
	run   func(ctx context.Context, module string) error // nil: not allowed
	there func(module string) bool                       // in the kernel

	mu    sync.Mutex
	tried map[string]trial
}

// trial is the last attempt to load a module.
type trial struct {
	at  time.Time
	err error
}

func newModules(allowed bool) *modules {
	m := &modules{there: moduleThere, tried: make(map[string]trial)}
	if allowed {
		m.run = modprobe
	}
	return m
}

// load runs modprobe for the module.
func (m *modules) load(ctx context.Context, module string) error {
	if m.run == nil {
		return errForbidden
	}
	if !moduleName.MatchString(module) {
		return fmt.Errorf("%q is no name of an IPVS module", module)
	}
	return m.run(ctx, module)
}

// sometimes is load for what may be asked for again and again. loaded says that
// this call has loaded the module, so that repeating what failed makes sense; err
// is why the last attempt failed.
func (m *modules) sometimes(ctx context.Context, module string) (loaded bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.tried[module]
	if ok && time.Since(last.at) < modprobeAgain {
		return false, last.err
	}
	err = m.load(ctx, module)
	m.tried[module] = trial{time.Now(), err}
	return err == nil, err
}

// modprobe runs the program. Its own words say whether there is no such module,
// or none that this kernel takes.
func modprobe(ctx context.Context, module string) error {
	if b, err := os.ReadFile("/proc/sys/kernel/modules_disabled"); err == nil && bytes.Equal(bytes.TrimSpace(b), []byte("1")) {
		return errLocked
	}
	ctx, cancel := context.WithTimeout(ctx, modprobeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, modprobePath(), "--", module).CombinedOutput()
	switch text := strings.TrimSpace(string(out)); {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return errNoModprobe
	case text != "":
		return fmt.Errorf("modprobe %s: %w: %s", module, err, text)
	}
	return fmt.Errorf("modprobe %s: %w", module, err)
}

// modprobePath finds modprobe also with a PATH that leaves out the sbin folders,
// as a service manager's or a user's may.
func modprobePath() string {
	for _, p := range []string{"modprobe", "/usr/sbin/modprobe", "/sbin/modprobe"} {
		if found, err := exec.LookPath(p); err == nil {
			return found
		}
	}
	return "modprobe"
}
