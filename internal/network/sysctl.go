package network

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl is a kernel setting and the value it should have.
type Sysctl struct {
	Key   string // as sysctl(8) writes it, with dots: net.ipv4.ip_forward
	Value string
	Why   string // what needs it, for the log
}

// SysctlChange is a setting that differed.
type SysctlChange struct {
	Sysctl
	Old     string
	Changed bool // false: only reported
}

// EnsureSysctls compares settings with the kernel's and, with manage, changes
// those that differ. A setting that the kernel does not have is an error; the
// others are looked at all the same.
func EnsureSysctls(want []Sysctl, manage bool) (changes []SysctlChange, errs []error) {
	for _, s := range want {
		path := sysctlPath(s.Key)
		b, err := os.ReadFile(path)
		if err != nil {
			errs = append(errs, fmt.Errorf("read the setting %s (%s): %w", s.Key, s.Why, err))
			continue
		}
		old := strings.TrimSpace(string(b))
		if old == s.Value {
			continue
		}
		change := SysctlChange{Sysctl: s, Old: old}
		if manage {
			if err := os.WriteFile(path, []byte(s.Value), 0o644); err != nil { //nolint:gosec // a file of the kernel
				errs = append(errs, fmt.Errorf("set %s to %s (%s): %w", s.Key, s.Value, s.Why, err))
				continue
			}
			change.Changed = true
		}
		changes = append(changes, change)
	}
	return changes, errs
}

// sysctlPath turns dots into slashes; a slash in the key stands for a dot in an
// interface's name, as in sysctl(8).
func sysctlPath(key string) string {
	swap := strings.NewReplacer(".", "/", "/", ".")
	return filepath.Join("/proc/sys", swap.Replace(key))
}
