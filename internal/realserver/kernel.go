package realserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"baton/internal/network"
)

// Host is the kernel of this host, as [Kernel].
type Host struct{ net *network.Host }

// OpenHost connects to the kernel, in the network namespace of the calling thread.
func OpenHost() (*Host, error) {
	h, err := network.OpenHost()
	if err != nil {
		return nil, err
	}
	return &Host{h}, nil
}

// Close closes the connection.
func (h *Host) Close() { h.net.Close() }

// Look implements [Kernel].
func (h *Host) Look(keys []string, gue bool) (Found, error) {
	f := Found{
		Interfaces: map[string]network.Interface{}, Sysctls: map[string]string{}, Modules: map[string]bool{},
		Marks: network.KeepsMarks(),
	}
	list, err := h.net.Interfaces()
	if err != nil {
		return Found{}, err
	}
	for _, i := range list {
		f.Interfaces[i.Name] = i
	}
	if f.Addresses, err = h.net.Addresses(); err != nil {
		return Found{}, err
	}
	for _, key := range keys {
		value, err := network.ReadSysctl(key)
		if err == nil {
			f.Sysctls[key] = value
		} else if !errors.Is(err, fs.ErrNotExist) {
			return Found{}, err
		}
	}
	// The one module whose interface does not tell. Built into the kernel it has no
	// folder, but its usual interface.
	_, there := f.Interfaces["ip6tnl0"]
	_, err = os.Stat("/sys/module/ip6_tunnel")
	f.Modules["ip6_tunnel"] = there || err == nil
	if gue {
		f.Ports, err = h.net.ReceivePorts()
		f.GUE = !errors.Is(err, network.ErrNoGUE)
		if err != nil && f.GUE {
			return Found{}, err
		}
	}
	return f, nil
}

// Check implements [Kernel].
func (h *Host) Check(s Step) error {
	if !mayChange() {
		return errors.New("preparing a real server needs CAP_NET_ADMIN, and CAP_SYS_MODULE to load modules: run baton as root")
	}
	if s.Op == Set {
		return network.SysctlWritable(s.Key)
	}
	return nil
}

// mayChange reports whether this process has CAP_NET_ADMIN in effect.
func mayChange() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// Do implements [Kernel].
func (h *Host) Do(ctx context.Context, s Step) error {
	port := network.ReceivePort{Port: s.Port, IPv6: s.Outer == Inet6}
	switch s.Op {
	case Load:
		return h.load(ctx, s)
	case Create:
		return h.net.AddTunnel6(s.Interface, alias)
	case Remove:
		return h.net.RemoveInterface(s.Interface)
	case Up, Down:
		return h.net.SetUp(s.Interface, s.Op == Up)
	case Set:
		return network.WriteSysctl(s.Key, s.To)
	case Open:
		return h.net.AddReceivePort(port)
	case Close:
		return h.net.RemoveReceivePort(port)
	case Add:
		return h.net.AddAddress(network.HostAddress{
			Prefix: s.Address, Interface: s.Interface, Label: s.Label, Mark: Mark, Local: true,
		})
	case Delete:
		return h.net.RemoveAddress(s.Address, s.Interface)
	}
	return fmt.Errorf("no such step: %q", s.Op)
}

// modprobeTimeout bounds one run of modprobe, which takes well below a second on
// real hardware.
const modprobeTimeout = 15 * time.Second

// load loads a module, and looks whether that has brought what it is for.
func (h *Host) load(ctx context.Context, s Step) error {
	ctx, cancel := context.WithTimeout(ctx, modprobeTimeout)
	defer cancel()
	out, failed := exec.CommandContext(ctx, modprobePath(), "--", s.Module).CombinedOutput() //nolint:gosec // names of ours
	// What is built into the kernel can be there although modprobe knows nothing of it.
	list, err := h.net.Interfaces()
	there := s.Interface == "" && failed == nil ||
		slices.ContainsFunc(list, func(i network.Interface) bool { return i.Name == s.Interface })
	switch {
	case there:
		return nil
	case failed != nil:
		return fmt.Errorf("load kernel module %s: %w%s: it needs CAP_SYS_MODULE and the module in /lib/modules "+
			"(on some systems in a package linux-modules-extra); in a container, load it on the host",
			s.Module, failed, detail(out))
	case err != nil:
		return err
	}
	return fmt.Errorf("kernel module %s is loaded, but this network has no interface %s: was it removed, or does "+
		"net.core.fb_tunnels_only_for_init_net keep it away? Make it (ip link add %s type %s)",
		s.Module, s.Interface, s.Interface, kindOf(s.Interface))
}

// kindOf is the kind of a usual tunnel interface.
func kindOf(name string) string {
	kinds := map[string]string{"tunl0": "ipip", "sit0": "sit", "gre0": "gre", "ip6gre0": "ip6gre"}
	return kinds[name]
}

func detail(out []byte) string {
	if text := strings.Join(strings.Fields(string(out)), " "); text != "" {
		return ": " + text
	}
	return ""
}

// modprobePath finds modprobe also with a PATH that leaves out the sbin folders.
func modprobePath() string {
	for _, p := range []string{"modprobe", "/usr/sbin/modprobe", "/sbin/modprobe"} {
		if found, err := exec.LookPath(p); err == nil && filepath.IsAbs(found) {
			return found
		}
	}
	return "modprobe"
}
