package lab

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
)

// Bridge is a switch: every cable plugged into it is one segment. It floods multicast like a
// switch without snooping, and has no spanning tree to wait for.
type Bridge struct {
	lab  *Lab
	name string
	link *netlink.Bridge
}

// Bridge makes a bridge, or returns the one of that name.
func (l *Lab) Bridge(name string) *Bridge {
	l.mu.Lock()
	known := l.bridges[name]
	l.mu.Unlock()
	if known != nil {
		return known
	}
	b := &Bridge{lab: l, name: name}
	if l.broken() {
		return b
	}
	snooping := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	b.link = &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}
	if err := l.switches.netlink.LinkAdd(b.link); err != nil {
		l.fail(fmt.Errorf("bridge %s: %w", name, err))
		return b
	}
	if err := l.switches.netlink.LinkSetUp(b.link); err != nil {
		l.fail(fmt.Errorf("bridge %s: %w", name, err))
		return b
	}
	l.mu.Lock()
	l.bridges[name] = b
	l.mu.Unlock()
	return b
}

// Name is the name it was made with.
func (b *Bridge) Name() string { return b.name }

// Link is a cable between a host and a bridge.
type Link struct {
	lab    *Lab
	host   *Host
	bridge *Bridge
	name   string // at the host
	port   string // at the bridge
	mac    net.HardwareAddr
	loss   int // of 10,000 packets, in each direction; guarded by lab.mu
}

// create makes the veth pair, each end directly where it belongs, and brings both up.
func (k *Link) create() error {
	k.lab.mu.Lock()
	number := len(k.lab.links) + 1
	k.lab.mu.Unlock()
	k.port = fmt.Sprintf("p%d", number)
	// Locally administered, and readable in a capture: host, then cable.
	k.mac = net.HardwareAddr{0x02, 0xba, 0x70, 0x00, byte(k.host.number), byte(number)}
	if k.bridge == nil || k.bridge.link == nil {
		return fmt.Errorf("there is no such bridge")
	}
	switches := k.lab.switches

	attrs := netlink.NewLinkAttrs()
	attrs.Name = k.port
	attrs.MasterIndex = k.bridge.link.Index
	pair := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         k.name,
		PeerHardwareAddr: k.mac,
		PeerNamespace:    netlink.NsFd(k.host.ns.fd),
	}
	if err := switches.netlink.LinkAdd(pair); err != nil {
		return err
	}
	port, err := switches.netlink.LinkByName(k.port)
	if err != nil {
		return err
	}
	if err := switches.netlink.LinkSetAlias(port, k.host.name+"/"+k.name); err != nil {
		return err
	}
	if err := switches.netlink.LinkSetUp(port); err != nil {
		return err
	}
	end, err := k.host.ns.netlink.LinkByName(k.name)
	if err != nil {
		return err
	}
	if err := k.host.ns.netlink.LinkSetUp(end); err != nil {
		return err
	}
	return k.awaitCarrier()
}

// awaitCarrier waits until the host may send and the switch forwards: the kernel reports the
// carrier, to the host and to the bridge, from a work queue.
func (k *Link) awaitCarrier() error {
	deadline := time.Now().Add(Patience(3 * time.Second))
	for {
		end, err := k.host.ns.netlink.LinkByName(k.name)
		if err != nil {
			return err
		}
		port, err := k.host.lab.switches.netlink.LinkByName(k.port)
		if err != nil {
			return err
		}
		switch {
		case end.Attrs().OperState == netlink.OperUp && port.Attrs().OperState == netlink.OperUp:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s of %s stays %s, its port %s",
				k.name, k.host.name, end.Attrs().OperState, port.Attrs().OperState)
		}
		time.Sleep(time.Millisecond)
	}
}

// Host is the host at its end.
func (k *Link) Host() *Host { return k.host }

// Name is the interface's name on the host.
func (k *Link) Name() string { return k.name }

// MAC is the interface's hardware address.
func (k *Link) MAC() net.HardwareAddr { return k.mac }

func (k *Link) String() string { return k.host.name + "/" + k.name }

// onPort applies a change to the bridge's end of the cable.
func (k *Link) onPort(what string, change func(*netlink.Handle, netlink.Link) error) {
	if k.port == "" || k.lab.broken() {
		return
	}
	handle := k.lab.switches.netlink
	port, err := handle.LinkByName(k.port)
	if err == nil {
		err = change(handle, port)
	}
	if err != nil {
		k.lab.fail(fmt.Errorf("%s: %s: %w", k, what, err))
	}
}

// Down pulls the cable: the host's interface loses its carrier, as with a dead port.
func (k *Link) Down() {
	k.onPort("down", func(handle *netlink.Handle, port netlink.Link) error { return handle.LinkSetDown(port) })
}

// Up plugs the cable in again and waits for the carrier.
func (k *Link) Up() {
	k.onPort("up", func(handle *netlink.Handle, port netlink.Link) error {
		if err := handle.LinkSetUp(port); err != nil {
			return err
		}
		return k.awaitCarrier()
	})
}

// Cut loses every packet on the way in both directions while the carrier stays: a fault further
// off, which no interface tells of.
func (k *Link) Cut() {
	k.onPort("cut", func(handle *netlink.Handle, port netlink.Link) error { return handle.LinkSetNoMaster(port) })
}

// Mend undoes Cut.
func (k *Link) Mend() {
	k.onPort("mend", func(handle *netlink.Handle, port netlink.Link) error {
		return handle.LinkSetMaster(port, k.bridge.link)
	})
}

// Delay holds back every packet that leaves the bridge towards the host, by latency ± jitter;
// zero ends it. It needs the kernel's netem, which test/vm/run has and not every machine.
func (k *Link) Delay(latency, jitter time.Duration) {
	k.onPort("delay", func(handle *netlink.Handle, port netlink.Link) error {
		attrs := netlink.QdiscAttrs{
			LinkIndex: port.Attrs().Index,
			Handle:    netlink.MakeHandle(1, 0),
			Parent:    netlink.HANDLE_ROOT,
		}
		netem := netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{
			Latency: uint32(latency.Microseconds()),
			Jitter:  uint32(jitter.Microseconds()),
		})
		if latency == 0 && jitter == 0 {
			return handle.QdiscDel(netem)
		}
		return handle.QdiscReplace(netem)
	})
}

// Loss drops that many percent of the packets at random in each direction; 0 ends it.
func (k *Link) Loss(percent float64) {
	if percent < 0 || percent > 100 {
		k.lab.fail(fmt.Errorf("%s: a loss of %v percent", k, percent))
		return
	}
	k.lab.mu.Lock()
	k.loss = int(percent * 100)
	k.lab.mu.Unlock()
	k.lab.applyFaults()
}

// block is a direction in which packets are dropped at the bridges.
type block struct{ from, to *Host }

// Partition drops everything between the hosts of one group and those of the other, both ways.
// Hosts in neither group still reach both. A host that routes between bridges can carry packets
// around a partition.
func (l *Lab) Partition(a, b []*Host) {
	l.block(a, b, true)
}

// Block drops what the hosts of one group send to those of the other, and not the answers.
func (l *Lab) Block(from, to []*Host) {
	l.block(from, to, false)
}

func (l *Lab) block(from, to []*Host, both bool) {
	l.mu.Lock()
	for _, a := range from {
		for _, b := range to {
			l.blocks = append(l.blocks, block{a, b})
			if both {
				l.blocks = append(l.blocks, block{b, a})
			}
		}
	}
	l.mu.Unlock()
	l.applyFaults()
}

// Heal ends every Partition and Block. Hosts that looked for each other's hardware address in
// vain meanwhile may need another second to try again.
func (l *Lab) Heal() {
	l.mu.Lock()
	l.blocks = nil
	l.mu.Unlock()
	l.applyFaults()
}

// applyFaults replaces the rules at the bridges by those for the present faults, in one
// transaction: no packet sees a state in between.
func (l *Lab) applyFaults() {
	if l.broken() {
		return
	}
	rules := l.faultRules()
	ctx, cancel := context.WithTimeout(context.Background(), Patience(10*time.Second))
	defer cancel()
	if _, err := l.switches.run(ctx, []byte(rules), "nft", "-f", "-"); err != nil {
		l.fail(fmt.Errorf("fault rules: %w", err))
	}
}

func (l *Lab) faultRules() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	ports := func(h *Host) string {
		var names []string
		for _, link := range l.links {
			if link.host == h {
				names = append(names, fmt.Sprintf("%q", link.port))
			}
		}
		return strings.Join(names, ", ")
	}
	var in, across, out strings.Builder
	for _, link := range l.links {
		if link.loss == 0 {
			continue
		}
		chance := fmt.Sprintf("numgen random mod 10000 < %d", link.loss)
		if link.loss == 10000 {
			chance = "" // a comparison that is always true is refused
		}
		fmt.Fprintf(&in, "iifname %q %s drop\n", link.port, chance)
		fmt.Fprintf(&out, "oifname %q %s drop\n", link.port, chance)
	}
	var done []block
	for _, b := range l.blocks {
		from, to := ports(b.from), ports(b.to)
		if from == "" || to == "" || slices.Contains(done, b) {
			continue
		}
		done = append(done, b)
		fmt.Fprintf(&across, "iifname { %s } oifname { %s } drop\n", from, to)
	}
	// Adding the table before deleting it makes the deletion valid the first time too.
	rules := "add table bridge faults\ndelete table bridge faults\n"
	if in.Len()+across.Len() == 0 {
		return rules
	}
	return rules + "table bridge faults {\n" +
		"chain in {\ntype filter hook prerouting priority 0;\n" + in.String() + "}\n" +
		"chain across {\ntype filter hook forward priority 0;\n" + across.String() + "}\n" +
		"chain out {\ntype filter hook postrouting priority 0;\n" + out.String() + "}\n}\n"
}
