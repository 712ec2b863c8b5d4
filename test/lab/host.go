package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is a machine in the lab: a network, host name and mount namespace, in which processes run
// on the file system of the real machine.
type Host struct {
	lab    *Lab
	name   string
	number int
	ns     *namespace
}

// hostDefaults are what a freshly booted kernel has. A new network namespace takes some of them
// from the machine instead, and results must not depend on that. Duplicate address detection is
// off, or every IPv6 address would be unusable for its first two seconds.
var hostDefaults = [][2]string{
	{"net.ipv4.ip_forward", "0"},
	{"net.ipv4.conf.all.rp_filter", "0"},
	{"net.ipv4.conf.default.rp_filter", "0"},
	{"net.ipv4.conf.all.arp_ignore", "0"},
	{"net.ipv4.conf.default.arp_ignore", "0"},
	{"net.ipv4.conf.all.arp_announce", "0"},
	{"net.ipv4.conf.default.arp_announce", "0"},
	{"net.ipv4.conf.all.send_redirects", "1"},
	{"net.ipv4.conf.default.send_redirects", "1"},
	{"net.ipv4.conf.all.accept_redirects", "0"},
	{"net.ipv4.conf.default.accept_redirects", "0"},
	{"net.ipv6.conf.all.accept_dad", "0"},
	{"net.ipv6.conf.default.accept_dad", "0"},
	{"net.ipv6.conf.default.dad_transmits", "0"},
	{"net.ipv6.conf.default.accept_ra", "0"},
}

// Host makes a host, or returns the one of that name. It has its loopback up and nothing else.
// `ip netns` lists it under a longer name (see Namespace).
func (l *Lab) Host(name string) *Host {
	l.mu.Lock()
	known := l.byName[name]
	number := len(l.hosts) + 1
	l.mu.Unlock()
	if known != nil {
		return known
	}
	h := &Host{lab: l, name: name, number: number}
	if l.broken() {
		return h
	}
	if name == "" || strings.ContainsAny(name, "/ \x00") || name == "switches" {
		l.fail(fmt.Errorf("%q cannot be a host's name", name))
		return h
	}
	ns, err := newNamespace(l.name+name, name)
	if err != nil {
		l.fail(fmt.Errorf("host %s: %w", name, err))
		return h
	}
	h.ns = ns
	l.mu.Lock()
	l.hosts = append(l.hosts, h)
	l.byName[name] = h
	l.mu.Unlock()
	for _, setting := range hostDefaults {
		// A kernel without IPv6 lacks those keys; the prefixes will tell if it matters.
		if err := ns.sysctl(setting[0], setting[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			l.fail(fmt.Errorf("host %s: %w", name, err))
			return h
		}
	}
	return h
}

// alive tells whether the host exists in the kernel.
func (h *Host) alive() bool {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	return h.ns != nil && !h.lab.closed
}

// usable tells whether the host exists in the kernel and the lab is whole.
func (h *Host) usable() bool { return h.ns != nil && !h.lab.broken() }

var errNoHost = errors.New("lab: the host was not built, or the lab has ended; Err tells why")

// Name is the name it was made with.
func (h *Host) Name() string { return h.name }

// Namespace is the name of its network namespace, as `ip netns exec` takes it.
func (h *Host) Namespace() string { return h.lab.name + h.name }

func (h *Host) String() string { return h.name }

// Netlink returns a netlink handle of the host, for what this package has no method for. It ends
// with the lab; where building has failed it is nil.
func (h *Host) Netlink() *netlink.Handle {
	if !h.alive() {
		return nil
	}
	return h.ns.netlink
}

// Connect plugs a cable into a bridge and gives the host's end a name and addresses in prefix
// notation (10.0.0.1/24, fd00::1/64). It is up when Connect returns.
func (h *Host) Connect(b *Bridge, ifname string, prefixes ...string) *Link {
	link := &Link{lab: h.lab, host: h, bridge: b, name: ifname}
	if !h.usable() {
		return link
	}
	if err := link.create(); err != nil {
		h.lab.fail(fmt.Errorf("host %s: connecting %s to %s: %w", h.name, ifname, b.name, err))
		return link
	}
	h.lab.mu.Lock()
	h.lab.links = append(h.lab.links, link)
	h.lab.mu.Unlock()
	h.Address(ifname, prefixes...)
	return link
}

// Link returns the cable behind an interface, or nil.
func (h *Host) Link(ifname string) *Link {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	for _, link := range h.lab.links {
		if link.host == h && link.name == ifname {
			return link
		}
	}
	return nil
}

// Address adds addresses to an interface ("lo" is one).
func (h *Host) Address(ifname string, prefixes ...string) {
	if !h.usable() {
		return
	}
	for _, prefix := range prefixes {
		err := func() error {
			device, err := h.ns.netlink.LinkByName(ifname)
			if err != nil {
				return err
			}
			addr, err := netlink.ParseAddr(prefix)
			if err != nil {
				return err
			}
			if addr.IP.To4() == nil {
				addr.Flags |= unix.IFA_F_NODAD
			}
			return h.ns.netlink.AddrAdd(device, addr)
		}()
		if err != nil {
			h.lab.fail(fmt.Errorf("host %s: address %s on %s: %w", h.name, prefix, ifname, err))
			return
		}
	}
}

// Addresses lists what the host has on an interface, or on all with "". IPv6 link-local
// addresses are left out.
func (h *Host) Addresses(ifname string) ([]netip.Prefix, error) {
	if !h.alive() {
		return nil, errNoHost
	}
	var device netlink.Link
	if ifname != "" {
		var err error
		if device, err = h.ns.netlink.LinkByName(ifname); err != nil {
			return nil, fmt.Errorf("lab: host %s: %s: %w", h.name, ifname, err)
		}
	}
	addrs, err := h.ns.netlink.AddrList(device, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("lab: host %s: addresses: %w", h.name, err)
	}
	var prefixes []netip.Prefix
	for _, addr := range addrs {
		ip, ok := netip.AddrFromSlice(addr.IP)
		if !ok || ip.Unmap().IsLinkLocalUnicast() && ip.Is6() {
			continue
		}
		ones, _ := addr.Mask.Size()
		prefixes = append(prefixes, netip.PrefixFrom(ip.Unmap(), ones))
	}
	return prefixes, nil
}

// Has tells whether the host holds an address at this moment, on whatever interface.
func (h *Host) Has(ip string) bool {
	want, err := netip.ParseAddr(ip)
	if err != nil {
		h.lab.fail(err)
		return false
	}
	prefixes, err := h.Addresses("")
	if err != nil {
		return false
	}
	for _, prefix := range prefixes {
		if prefix.Addr() == want {
			return true
		}
	}
	return false
}

// Route sends a destination ("default", "10.1.0.0/16", "fd00:1::/64") through a gateway.
// "default" takes its family from the gateway.
func (h *Host) Route(destination, via string) {
	if !h.usable() {
		return
	}
	err := func() error {
		gateway := net.ParseIP(via)
		if gateway == nil {
			return fmt.Errorf("%q is not an address", via)
		}
		route := &netlink.Route{Gw: gateway}
		if destination != "default" {
			_, to, err := net.ParseCIDR(destination)
			if err != nil {
				return err
			}
			route.Dst = to
		}
		return h.ns.netlink.RouteReplace(route)
	}()
	if err != nil {
		h.lab.fail(fmt.Errorf("host %s: route to %s via %s: %w", h.name, destination, via, err))
	}
}

// Sysctl sets a kernel parameter of the host. Write the key with dots, or with slashes where a
// part of it contains dots (net/ipv4/conf/eth0.7/rp_filter).
func (h *Host) Sysctl(key, value string) {
	if !h.usable() {
		return
	}
	if err := h.ns.sysctl(key, value); err != nil {
		h.lab.fail(fmt.Errorf("host %s: %s=%s: %w", h.name, key, value, err))
	}
}

// Private lays an empty folder of the host's own over each path, so that programs which insist on
// a fixed place (/run/keepalived, /etc/frr) can run on several hosts at once. The path must exist
// on the machine. Processes started before keep what they see.
func (h *Host) Private(paths ...string) {
	if !h.usable() {
		return
	}
	for _, path := range paths {
		err := h.ns.onThread(func() error {
			return unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755")
		})
		if err != nil {
			h.lab.fail(fmt.Errorf("host %s: a private %s: %w", h.name, path, err))
			return
		}
	}
}

// Do runs f on the calling goroutine, whose thread is in the host's network meanwhile. Sockets
// opened by f stay in the host for ever; goroutines started by f are not in it. In /proc use
// thread-self/net, since net shows the program's.
func (h *Host) Do(f func() error) error {
	if !h.alive() {
		return errNoHost
	}
	return h.ns.do(f)
}

// Run runs a command on the host to its end and returns what it wrote to both its outputs. The
// error of one that failed contains the output too.
func (h *Host) Run(ctx context.Context, name string, args ...string) (string, error) {
	return h.run(ctx, nil, name, args...)
}

func (h *Host) run(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	if !h.alive() {
		return "", errNoHost
	}
	out, err := h.ns.run(ctx, stdin, name, args...)
	if err != nil {
		return out, fmt.Errorf("lab: host %s: %w", h.name, err)
	}
	return out, nil
}

// run is Host.Run for any namespace.
func (ns *namespace) run(ctx context.Context, stdin []byte, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Path = sbin(name, cmd.Path)
	if filepath.IsAbs(cmd.Path) {
		cmd.Err = nil
	}
	var output bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &output, &output
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	// A descendant that keeps the output open must not keep us.
	cmd.WaitDelay = 2 * time.Second
	err := ns.onThread(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		command := strings.Join(append([]string{name}, args...), " ")
		if text := strings.TrimSpace(output.String()); text != "" {
			return output.String(), fmt.Errorf("%s: %w: %s", command, err, text)
		}
		return output.String(), fmt.Errorf("%s: %w", command, err)
	}
	return output.String(), nil
}

// sbin finds a program that the PATH of an ordinary user does not reach.
func sbin(name, found string) string {
	if strings.Contains(name, "/") || filepath.IsAbs(found) {
		return found
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return found
}

// Dial connects from the host. The address must be literal: names would be resolved elsewhere.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen is net.Listen on the host.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	var listener net.Listener
	err := h.Do(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(context.Background(), network, address)
		return err
	})
	return listener, err
}

// ListenPacket is net.ListenPacket on the host.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	var conn net.PacketConn
	err := h.Do(func() (err error) {
		conn, err = new(net.ListenConfig).ListenPacket(context.Background(), network, address)
		return err
	})
	return conn, err
}

// Client returns an HTTP client whose connections start at the host, one for each request.
func (h *Host) Client(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{DialContext: h.Dial, DisableKeepAlives: true},
	}
}
