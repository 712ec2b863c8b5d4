package scene

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"baton/test/lab"
)

// Farm is a scene for traffic of every kind: one director between a client and
// three real servers, each of both address families.
//
//	           10.0.0.0/24, fd00:a::/64
//	client ───────────── front ──────────── director
//	   │                                       │
//	   └───────────────── back ────────────────┘
//	           10.0.1.0/24, fd00:b::/64
//	           s1, s2, s3
//
// Services with NAT have an address in front, and the servers' gateway is the
// director. Services with DR and TUN have an address at the back, where servers
// and client reach each other without the director.
type Farm struct {
	Lab      *lab.Lab
	Client   *lab.Host
	Director *Director
	Servers  []*Answerer
	Back     *lab.Bridge
}

// The addresses of the farm, IPv4 and IPv6.
var (
	FrontVIP = [2]netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("fd00:a::100")}
	BackVIP  = [2]netip.Addr{netip.MustParseAddr("10.0.1.100"), netip.MustParseAddr("fd00:b::100")}
	FrontLB  = [2]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00:a::1")}
)

// FrontClient is an address of the client in front. Over IPv4 it has many, from 0
// to ManyClients-1, each of which is a client of its own to a director.
func FrontClient(ipv6 bool, n int) netip.Addr {
	if ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:a::%d", 30+n))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", 30+n))
}

// BackClient is the address of the client at the back.
func BackClient(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.MustParseAddr("fd00:b::30")
	}
	return netip.MustParseAddr("10.0.1.30")
}

// ManyClients is how many IPv4 addresses the client has in front.
const ManyClients = 24

// NewFarm builds hosts and networks and prepares the servers; no director runs
// yet. The configuration of the director is config, after what names its files.
func NewFarm(l *lab.Lab, baton, config string) (*Farm, error) {
	f := &Farm{Lab: l, Back: l.Bridge("back")}
	front := l.Bridge("front")
	f.Client = l.Host("client")
	f.Client.Connect(front, "eth0", FrontClient(true, 0).String()+"/64")
	f.Client.Connect(f.Back, "eth1", BackClient(false).String()+"/24", BackClient(true).String()+"/64")
	for n := range ManyClients {
		f.Client.Address("eth0", FrontClient(false, n).String()+"/24")
	}
	// What servers unwrap tunnels with; the devices below are their modules'.
	if err := f.Load("ipip", "sit", "ip_gre", "ip6_tunnel", "ip6_gre", "fou", "fou6", "sctp"); err != nil {
		return nil, err
	}
	if err := f.addDirector(front, baton, config); err != nil {
		return nil, err
	}
	for i := range 3 {
		a, err := f.addServer(i)
		if err != nil {
			return nil, err
		}
		f.Servers = append(f.Servers, a)
	}
	return f, l.Err()
}

func (f *Farm) addDirector(front *lab.Bridge, baton, config string) error {
	h := f.Lab.Host("lb")
	h.Connect(front, "eth0", FrontLB[0].String()+"/24", FrontLB[1].String()+"/64")
	h.Connect(f.Back, "eth1", "10.0.1.1/24", "fd00:b::1/64")
	dir := filepath.Join(f.Lab.Dir(), "lb")
	f.Director = &Director{
		Name: "lb", Host: h, baton: baton,
		Config: filepath.Join(dir, "baton.yaml"), Socket: filepath.Join(dir, "baton.sock"), LogFile: filepath.Join(dir, "log"),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	head := fmt.Sprintf("state_dir: %s/state\napi: {socket: %s/baton.sock}\n", dir, dir)
	return os.WriteFile(f.Director.Config, []byte(head+config), 0o644)
}

// ServerAddress is the own address of a server, counted from 0.
func ServerAddress(i int, ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:b::%d", 11+i))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.0.1.%d", 11+i))
}

func (f *Farm) addServer(i int) (*Answerer, error) {
	h := f.Lab.Host(fmt.Sprintf("s%d", i+1))
	own4, own6 := ServerAddress(i, false), ServerAddress(i, true)
	h.Connect(f.Back, "eth0", own4.String()+"/24", own6.String()+"/64",
		CheckedAddress(i, false).String()+"/24", CheckedAddress(i, true).String()+"/64")
	// NAT: the answers pass the director.
	h.Route("default", Gateway.String())
	h.Route("default", Gateway6.String())
	// DR and TUN: the server has the address and does not answer ARP for it. IPv6
	// needs no such setting: a kernel answers neighbour solicitations only for
	// addresses of the interface that they come in by.
	h.Sysctl("net.ipv4.conf.all.arp_ignore", "1")
	h.Sysctl("net.ipv4.conf.all.arp_announce", "2")
	h.Address("lo", BackVIP[0].String()+"/32", BackVIP[1].String()+"/128")
	if err := f.receiveTunnels(h, i); err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name(), err)
	}
	return &Answerer{Name: h.Name(), Host: h}, nil
}

// CheckedAddress is a second address of a server. Only there it takes GRE with
// checksums, and nothing else: a GRE device takes either packets that have one or
// packets that have none.
func CheckedAddress(i int, ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:b::%d", 21+i))
	}
	return netip.MustParseAddr(fmt.Sprintf("10.0.1.%d", 21+i))
}

// GUEPort is where the servers receive Generic UDP Encapsulation.
const GUEPort = 6080

// receiveTunnels makes a server take what comes wrapped, whatever is in it.
func (f *Farm) receiveTunnels(h *lab.Host, i int) error {
	// The first four are there with their modules and take from anybody. So would
	// ip6tnl0, but it does not take IPv4 in IPv6; in6 takes both.
	devices := fmt.Sprintf(`link set tunl0 up
link set sit0 up
link set gre0 up
link set ip6gre0 up
link add in6 type ip6tnl mode any local %s remote ::
link set in6 up
link add grec type gre local %s icsum
link set grec up
link add grec6 type ip6gre local %s remote :: icsum
link set grec6 up
fou add port %d gue
`, ServerAddress(i, true), CheckedAddress(i, false), CheckedAddress(i, true), GUEPort)
	batch := filepath.Join(f.Lab.Dir(), h.Name()+".ip")
	if err := os.WriteFile(batch, []byte(devices), 0o644); err != nil {
		return err
	}
	if err := run(h, "ip", "-batch", batch); err != nil {
		return err
	}
	return run(h, "ip", "-6", "fou", "add", "port", fmt.Sprint(GUEPort), "gue")
}

// Load loads kernel modules.
func (f *Farm) Load(modules ...string) error {
	return run(f.Client, "modprobe", append([]string{"-a"}, modules...)...)
}

// Ready waits until the director has the addresses and all services, each with
// every server, in the kernel.
func (f *Farm) Ready(within time.Duration) error {
	return Wait(within, func() error {
		if err := f.Director.ready(); err != nil {
			return err
		}
		for _, vip := range []netip.Addr{FrontVIP[0], FrontVIP[1], BackVIP[0], BackVIP[1], Gateway, Gateway6} {
			if !f.Director.Host.Has(vip.String()) {
				return fmt.Errorf("the director does not have %s yet", vip)
			}
		}
		return nil
	})
}
