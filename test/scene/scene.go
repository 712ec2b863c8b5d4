// Package scene is the picture of the README, alive: a client, two directors
// running baton, and three real servers running nginx. The demo plays on it and
// the end-to-end tests judge it. It needs root, a kernel with IPVS, and nginx,
// ipvsadm and curl.
package scene

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"baton/test/lab"
)

// Forward is a forwarding method, as the configuration writes it.
type Forward string

// The forwarding methods.
const (
	NAT Forward = "nat"
	DR  Forward = "dr"
	TUN Forward = "tun"
)

// The addresses of the scene.
var (
	VIP     = netip.MustParseAddr("10.0.0.100")
	Service = netip.AddrPortFrom(VIP, 80)
	Gateway = netip.MustParseAddr("10.0.1.254") // of the real servers, with NAT
	// The same in IPv6. No router has these: routers are IPv4 only.
	VIP6     = netip.MustParseAddr("fd00:a::100")
	Gateway6 = netip.MustParseAddr("fd00:b::254")
)

var directorNames = [2]string{"lb-a", "lb-b"}

// Weights of the real servers.
var Weights = []int{3, 2, 1}

// Options say what the scene is like.
type Options struct {
	Forward Forward
	Baton   string // the binary
	Dir     string // for files; default: the lab's
	Advert  time.Duration
	// Router is appended to the router in the configuration, each line indented by
	// four blanks.
	Router string
	// Extra is appended to the service in the configuration, each line indented
	// by four blanks.
	Extra string
	// More is appended to the configuration: further services as items of the
	// list, then other blocks.
	More string
	// Fallback adds a web server that serves while no real server does.
	Fallback bool
	// IPv6 gives every host an IPv6 address, too: on the network in front
	// fd00:a::/64, behind the directors fd00:b::/64. With NAT only.
	IPv6 bool
}

// Scene is the scene. See [New].
type Scene struct {
	Options
	Lab       *lab.Lab
	Client    *lab.Host
	Directors [2]*Director
	Real      []*RealServer
	Sorry     *RealServer // with Options.Fallback
}

// New builds hosts and networks; nothing runs yet.
//
// With NAT the real servers live behind the directors, on a network of their own
// whose gateway is a VIP; with DR and TUN everybody is on one segment.
func New(l *lab.Lab, o Options) (*Scene, error) {
	s := &Scene{Options: o, Lab: l}
	if s.Dir == "" {
		s.Dir = l.Dir()
	}
	front := l.Bridge("front")
	back := front
	if o.Forward == NAT {
		back = l.Bridge("back")
	}
	s.Client = s.host("client", front, "10.0.0.9/24", "fd00:a::9/64")
	for i := range s.Directors {
		if err := s.addDirector(i, front, back); err != nil {
			return nil, err
		}
	}
	for i, weight := range Weights {
		r, err := s.addReal(fmt.Sprintf("web%d", i+1), 11+i, weight, back)
		if err != nil {
			return nil, err
		}
		s.Real = append(s.Real, r)
	}
	if o.Fallback {
		var err error
		if s.Sorry, err = s.addReal("sorry", sorryNumber, 0, back); err != nil {
			return nil, err
		}
	}
	return s, l.Err()
}

// sorryNumber is the last number of the fallback's address.
const sorryNumber = 20

func (s *Scene) host(name string, b *lab.Bridge, v4, v6 string) *lab.Host {
	h := s.Lab.Host(name)
	s.connect(h, b, "eth0", v4, v6)
	return h
}

func (s *Scene) connect(h *lab.Host, b *lab.Bridge, ifname, v4, v6 string) {
	addresses := []string{v4}
	if s.IPv6 {
		addresses = append(addresses, v6)
	}
	h.Connect(b, ifname, addresses...)
}

func (s *Scene) addDirector(i int, front, back *lab.Bridge) error {
	name := directorNames[i]
	h := s.host(name, front, fmt.Sprintf("10.0.0.%d/24", i+1), fmt.Sprintf("fd00:a::%d/64", i+1))
	if s.Forward == NAT {
		s.connect(h, back, "eth1", fmt.Sprintf("10.0.1.%d/24", i+1), fmt.Sprintf("fd00:b::%d/64", i+1))
	}
	dir := filepath.Join(s.Dir, name)
	d := &Director{
		Name: name, Host: h, baton: s.Baton,
		Config: filepath.Join(dir, "baton.yaml"), Socket: filepath.Join(dir, "baton.sock"), LogFile: filepath.Join(dir, "log"),
	}
	s.Directors[i] = d
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(d.Config, []byte(s.config(i, dir)), 0o644)
}

// config is what an operator would write.
func (s *Scene) config(i int, dir string) string {
	addresses := "[10.0.0.100/24]"
	network := "10.0.0"
	if s.Forward == NAT {
		addresses = "[10.0.0.100/24, {address: 10.0.1.254/24, interface: eth1}]"
		network = "10.0.1"
	}
	extra := s.Extra
	if s.Fallback {
		extra += fmt.Sprintf("    fallback: %s.%d:80\n", network, sorryNumber)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `node: %s
state_dir: %s/state
api: {socket: %s/baton.sock}
metrics: {listen: 127.0.0.1:9165}
defaults:
  check: {interval: 500ms, timeout: 400ms}
routers:
  - name: web
    interface: eth0
    id: 51
    priority: %d
    advert_interval: %s
    addresses: %s
%sservices:
  - name: http
    address: %s
    scheduler: wrr
    forward: %s
    check: {http: {path: /}}
%s    servers:
`, directorNames[i], dir, dir, 200-100*i, s.Advert, addresses, s.Router, Service, s.Forward, extra)
	for n, weight := range Weights {
		fmt.Fprintf(&b, "      - {address: %s.%d:80, weight: %d, name: web%d}\n", network, 11+n, weight, n+1)
	}
	b.WriteString(s.More)
	return b.String()
}

// addReal adds a web server; number is the last one of its address.
func (s *Scene) addReal(name string, number, weight int, back *lab.Bridge) (*RealServer, error) {
	network := "10.0.0"
	if s.Forward == NAT {
		network = "10.0.1"
	}
	address := fmt.Sprintf("%s.%d", network, number)
	h := s.host(name, back, address+"/24", fmt.Sprintf("fd00:b::%d/64", number))
	r := &RealServer{
		Name: name, Host: h, Weight: weight, dir: filepath.Join(s.Dir, name), listen: "listen 80;",
		Address: netip.AddrPortFrom(netip.MustParseAddr(address), 80),
	}
	if s.IPv6 {
		r.listen += " listen [::]:80;"
	}
	return r, s.prepareReal(h)
}

// prepareReal does what the guides tell an administrator to do on a real server.
func (s *Scene) prepareReal(h *lab.Host) error {
	switch s.Forward {
	case NAT:
		h.Route("default", Gateway.String())
		if s.IPv6 {
			h.Route("default", Gateway6.String())
		}
		return nil
	case DR:
		h.Sysctl("net.ipv4.conf.all.arp_ignore", "1")
		h.Sysctl("net.ipv4.conf.all.arp_announce", "2")
		h.Address("lo", VIP.String()+"/32")
		return nil
	case TUN:
		err := errors.Join(run(h, "modprobe", "ipip"), run(h, "ip", "link", "set", "tunl0", "up"))
		h.Sysctl("net.ipv4.conf.all.arp_ignore", "1")
		h.Sysctl("net.ipv4.conf.all.arp_announce", "2")
		h.Sysctl("net.ipv4.conf.all.rp_filter", "0")
		h.Sysctl("net.ipv4.conf.tunl0.rp_filter", "0")
		h.Address("tunl0", VIP.String()+"/32")
		return err
	}
	return fmt.Errorf("unknown forwarding method %q", s.Forward)
}

func run(h *lab.Host, name string, args ...string) error {
	_, err := h.Run(context.Background(), name, args...)
	return err
}

// Start starts the web servers and the directors.
func (s *Scene) Start() error {
	servers := s.Real
	if s.Sorry != nil {
		servers = append(servers[:len(servers):len(servers)], s.Sorry)
	}
	for _, r := range servers {
		if err := r.Start(); err != nil {
			return err
		}
	}
	for _, d := range s.Directors {
		d.Start()
	}
	return s.Lab.Err()
}

// Wait waits until check returns nil, and returns its last error when it has not
// in time. On an emulated machine there is ten times the time.
func Wait(within time.Duration, check func() error) error {
	began, within := time.Now(), lab.Patience(within)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Since(began) > within {
			return fmt.Errorf("still after %s: %w", within, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Ready waits until the first director owns the VIP and both have all servers.
func (s *Scene) Ready(within time.Duration) error {
	return Wait(within, func() error {
		for _, d := range s.Directors {
			if err := d.ready(); err != nil {
				return fmt.Errorf("%s: %w", d.Name, err)
			}
		}
		if owner := s.Owners(); len(owner) != 1 || owner[0] != s.Directors[0] {
			return fmt.Errorf("the VIP is on %d directors, or on the wrong one", len(owner))
		}
		return nil
	})
}

// Owners are the directors that have the VIP on an interface, as the kernel
// says.
func (s *Scene) Owners() []*Director {
	var out []*Director
	for _, d := range s.Directors {
		if d.HasVIP() {
			out = append(out, d)
		}
	}
	return out
}
