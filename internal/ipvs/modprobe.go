package ipvs

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"
)

// modprobeTimeout bounds one run of modprobe. Loading ip_vs with what it needs
// takes well below a second on real hardware.
const modprobeTimeout = 15 * time.Second

// moduleName is what may be handed to modprobe. Names of schedulers come from a
// configuration.
var moduleName = regexp.MustCompile(`^ip_vs(_[a-z0-9_]{1,20})?$`)

var errForbidden = errors.New("running modprobe is switched off")

// modules loads kernel modules.
type modules struct {
	run func(ctx context.Context, module string) error // nil: not allowed

	mu    sync.Mutex
	tried map[string]bool
}

func newModules(allowed bool) *modules {
	m := &modules{tried: make(map[string]bool)}
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

// once is load for a module that has not been tried yet. It reports whether the
// module was loaded by this call, so that repeating what failed makes sense.
func (m *modules) once(ctx context.Context, module string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tried[module] {
		return false
	}
	m.tried[module] = true
	return m.load(ctx, module) == nil
}

func modprobe(ctx context.Context, module string) error {
	ctx, cancel := context.WithTimeout(ctx, modprobeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, modprobePath(), "-q", "--", module).CombinedOutput()
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
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
