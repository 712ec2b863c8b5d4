package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Sysctl is a kernel setting and the value it should have.
type Sysctl struct {
	// Key is as sysctl(8) takes it: net.ipv4.ip_forward. An interface's name with a
	// dot in it has a slash there (net.ipv4.conf.eth0/100.rp_filter), or the whole
	// key is written with slashes (net/ipv4/conf/eth0.100/rp_filter).
	Key   string
	Value string
	Why   string // what needs it, for the log
}

// SysctlChange is a setting that differed.
type SysctlChange struct {
	Sysctl
	Old     string
	Changed bool // false: only reported
}

// PromoteSecondaries returns the setting without which the kernel, when the first
// IPv4 address of a subnet leaves an interface, by our hand or because its lease
// has run out, removes all others of that subnet with it: also those that an
// administrator added behind a VIP. Set puts back what it removed of ours in this
// way, but cannot help the others. Interfaces that carry VIPs should have it;
// where systemd-networkd or NetworkManager runs they have it already.
func PromoteSecondaries(ifname string) Sysctl {
	return Sysctl{
		Key: "net/ipv4/conf/" + ifname + "/promote_secondaries", Value: "1",
		Why: "other addresses of a VIP's subnet outlive the VIP",
	}
}

// ReadSysctl returns the value of a setting, with single spaces between its
// fields.
func ReadSysctl(key string) (string, error) {
	path, err := sysctlPath(key)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the kernel setting %s: %w%s", key, err, sysctlRemedy(err))
	}
	return fields(string(b)), nil
}

// EnsureSysctls compares settings with the kernel's and, with manage, changes
// those that differ. A setting that the kernel does not have is an error; the
// others are looked at all the same. It works in the network namespace of the
// calling thread.
func EnsureSysctls(want []Sysctl, manage bool) (changes []SysctlChange, errs []error) {
	for _, s := range want {
		old, err := ReadSysctl(s.Key)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w (%s)", err, s.Why))
			continue
		}
		if old == fields(s.Value) {
			continue
		}
		change := SysctlChange{Sysctl: s, Old: old}
		if manage {
			if err := WriteSysctl(s.Key, s.Value); err != nil {
				errs = append(errs, fmt.Errorf("%w (%s)", err, s.Why))
				continue
			}
			change.Changed = true
		}
		changes = append(changes, change)
	}
	return changes, errs
}

// WriteSysctl gives a setting a value, in the network namespace of the calling
// thread.
func WriteSysctl(key, value string) error {
	path, err := sysctlPath(key)
	if err != nil {
		return err
	}
	// Not os.WriteFile: the file must not be made, nor the value come in two parts.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("set the kernel setting %s to %s: %w%s", key, value, err, sysctlRemedy(err))
	}
	return nil
}

func sysctlRemedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ": this kernel has no such setting; is its module loaded, and is the interface there?"
	case errors.Is(err, unix.EROFS), errors.Is(err, fs.ErrPermission):
		return ": run baton as root; in a container, set it on the host"
	}
	return ""
}

// fields makes values comparable: the kernel separates fields by tabs and ends
// with a newline.
func fields(s string) string { return strings.Join(strings.Fields(s), " ") }

// sysctlPath returns the file of a setting. As in sysctl(8), the first separator
// says which of dot and slash separates; the other stands for itself, a slash
// for a dot.
func sysctlPath(key string) (string, error) {
	path := key
	if i := strings.IndexAny(key, "./"); i >= 0 && key[i] == '.' {
		path = strings.NewReplacer(".", "/", "/", ".").Replace(key)
	}
	if !filepath.IsLocal(path) {
		return "", fmt.Errorf("%q is not the name of a kernel setting", key)
	}
	return filepath.Join("/proc/sys", path), nil
}

// SysctlWritable returns an error if a setting could not be changed: it is not
// there, or not for us to write. It changes nothing.
func SysctlWritable(key string) error {
	path, err := sysctlPath(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("change the kernel setting %s: %w%s", key, err, sysctlRemedy(err))
	}
	return f.Close()
}
