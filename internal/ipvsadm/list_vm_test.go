//go:build vm

package ipvsadm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
)

// newPair returns a director with the backup daemon of connection sync, and a host
// beside it that can tell it of connections.
func newPair(t *testing.T) (director, peer host) {
	t.Helper()
	director, peer = newHost(t), newHost(t)
	// The kernel drops messages when its queue is full; these come all at once.
	command(t, "sysctl", "-q", "-w", "net.core.rmem_max=67108864")
	director.run("ip link add eth1 type veth peer name eth1 netns " + peer.name)
	for i, h := range []host{director, peer} {
		h.run(fmt.Sprintf("ip address add 10.0.1.%d/24 dev eth1", i+1))
		h.run("ip link set eth1 up")
	}
	peer.run("ip route add 224.0.0.0/4 dev eth1")
	director.run("baton ipvs list") // loads IPVS, whose settings are not there before
	director.run("sysctl -q -w net.ipv4.vs.sync_sock_size=33554432")
	return director, peer
}

// told is a connection as a master daemon tells of it (struct ip_vs_sync_v4 and
// ip_vs_sync_v6, include/net/ip_vs.h and ip_vs_sync.c).
type told struct {
	protocol                byte
	state                   uint16
	client, virtual, server netip.AddrPort
	seconds                 uint32
	template                bool // a persistence entry
}

func (c told) encode() []byte {
	typ, size := byte(0), 24+3*4
	if c.client.Addr().Is6() {
		typ, size = 1, 24+3*16
	}
	b := []byte{typ, c.protocol}
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	flags := uint32(0) // masquerading
	if c.template {
		flags |= 0x1000 // IP_VS_CONN_F_TEMPLATE
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	b = binary.BigEndian.AppendUint16(b, c.state)
	for _, p := range []netip.AddrPort{c.client, c.virtual, c.server} {
		b = binary.BigEndian.AppendUint16(b, p.Port())
	}
	b = binary.BigEndian.AppendUint32(b, 0) // no firewall mark
	b = binary.BigEndian.AppendUint32(b, c.seconds)
	for _, p := range []netip.AddrPort{c.client, c.virtual, c.server} {
		b = append(b, p.Addr().AsSlice()...)
	}
	return b
}

// perMessage is how many of them one message has: below the size of a frame.
const perMessage = 18

// tell sends what a master daemon with the id 7 would, in version 1 of the
// protocol (struct ip_vs_sync_mesg).
func (h host) tell(n int, connection func(i int) told) {
	h.t.Helper()
	c := h.dial("224.0.0.81:8848")
	for i := 0; i < n; {
		message := []byte{0, 7, 0, 0, 0, 1, 0, 0}
		for ; i < n && message[4] < perMessage; i++ {
			message = append(message, connection(i).encode()...)
			message[4]++
		}
		binary.BigEndian.PutUint16(message[2:], uint16(len(message)))
		if _, err := c.Write(message); err != nil {
			h.t.Fatal(err)
		}
	}
}

// dial opens a UDP socket in the namespace.
func (h host) dial(to string) net.Conn {
	h.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		h.t.Fatal(err)
	}
	defer own.Close()
	ns, err := netns.GetFromName(h.name)
	if err != nil {
		h.t.Fatal(err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		h.t.Fatal(err)
	}
	c, err := net.Dial("udp4", to)
	if back := netns.Set(own); err != nil || back != nil {
		h.t.Fatal(err, back)
	}
	h.t.Cleanup(func() { c.Close() })
	return c
}

// expiry is what is not the same a moment later.
var expiry = regexp.MustCompile(`(?m)^(\w+ +)\d+:\d\d +`)

// same compares a listing of the program with ipvsadm's. What changes between the
// two, such as counters, is looked at again.
func (h host) same(theirs, ours string) {
	h.t.Helper()
	var d string
	for range 5 {
		want, got := h.run(theirs), h.run(ours)
		if d = cmp.Diff(expiry.ReplaceAllString(want, "$1"), expiry.ReplaceAllString(got, "$1")); d == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.t.Errorf("%s (-), %s (+):\n%s", theirs, ours, d)
}

func TestVMListings(t *testing.T) {
	h, peer := newPair(t)
	// The kernel takes no tunnel between families beside a sync daemon.
	rules := "-A -u 10.0.1.1:5353 -s rr\n-a -u 10.0.1.1:5353 -r 10.0.1.2:5353 -m\n"
	for line := range strings.Lines(withThresholds()) {
		if strings.Contains(line, "2001") == strings.Contains(line, "10.0.0") && strings.HasPrefix(line, "-a") {
			continue
		}
		rules += line
	}
	h.feed(rules, "baton ipvs restore")
	for _, options := range []string{"", "--thresholds", "--persistent-conn", "--tun-info"} {
		h.same("ipvsadm -Ln "+options, "baton ipvs list "+options)
	}
	h.same("ipvsadm -Ln --rate", "baton ipvs rate")
	h.same("ipvsadm -Ln -f 7 -6", "baton ipvs list 'fwmark 7 inet6'")
	h.fails(1, "the kernel has no service tcp 10.0.0.9:80", "", "baton ipvs list 10.0.0.9:80")

	h.run("baton ipvs sync start backup --interface eth1 --id 7 --ttl 3")
	h.same("ipvsadm -L --daemon", "baton ipvs sync")
	h.fails(1, "somebody else has started one", "", "baton ipvs sync start backup --interface eth1 --id 7")

	client := peer.dial("10.0.1.1:5353")
	for range 5 {
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	virtual, server := netip.MustParseAddrPort("10.0.0.100:80"), netip.MustParseAddrPort("10.0.0.11:8080")
	peer.tell(5, func(i int) told {
		c := told{6, uint16(i), netip.MustParseAddrPort("192.0.2.7:" + strconv.Itoa(1024+i)), virtual, server, 7200, false}
		switch i {
		case 3:
			c = told{17, 0, netip.MustParseAddrPort("[2001:db8::2]:53"), netip.MustParseAddrPort("[2001:db8::100]:443"), netip.MustParseAddrPort("[2001:db8::1]:8443"), 900, false}
		case 4:
			c = told{6, 0, netip.MustParseAddrPort("192.0.2.0:0"), virtual, server, 300, true}
		}
		return c
	})
	h.until(6, "baton ipvs connections --json")
	h.same("ipvsadm -Lnc", "baton ipvs connections")
	h.same("ipvsadm -Lnc --persistent-conn", "baton ipvs connections --persistence-data")
	// Once with each list of the kernel; the filters by themselves have a test of their own.
	for filter, want := range map[string]int{
		"--client 192.0.2.0/24 --server 10.0.0.11 --protocol tcp --service 10.0.0.100:80": 4,
		"--synced --limit 3": 3,
	} {
		h.until(want, "baton ipvs connections --json "+filter)
	}
	var entry ConnectionDocument
	if err := json.Unmarshal([]byte(h.run("baton ipvs connections --json --persistent --origin")), &entry); err != nil ||
		entry.Client != "192.0.2.0:0" || entry.Origin != "sync" || !entry.Persistent || entry.State == "" {
		t.Errorf("the persistence entry is %+v, %v", entry, err)
	}

	const counted = "UDP  10.0.1.1:5353                       1        5        0      165        0\n"
	// The kernel sums them up every two seconds.
	const total = "Total                                    1        5        0      165        0\n"
	got := ""
	for range 50 {
		if got = h.run("baton ipvs stats --exact --total"); strings.Contains(got, counted) && strings.Contains(got, total) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !strings.Contains(got, counted) || !strings.Contains(got, total) {
		t.Errorf("five packets are counted as:\n%s", got)
	}
	h.same("ipvsadm -Ln --stats", "baton ipvs stats")
	h.run("baton ipvs zero 'tcp 10.0.0.100:80'")
	if got := h.run("ipvsadm -Ln --stats"); !strings.Contains(got, counted) {
		t.Errorf("another service was zeroed, too:\n%s", got)
	}
	h.run("baton ipvs zero")
	if got := h.run("ipvsadm -Ln --stats"); strings.Contains(got, "165") {
		t.Errorf("not zeroed:\n%s", got)
	}
	h.fails(1, "the kernel has no such service", "", "baton ipvs zero 10.0.0.9:80")
	h.run("baton ipvs timeouts --tcp 20m --udp 30s")
	h.same("ipvsadm -L --timeout", "baton ipvs timeouts")
	h.run("baton ipvs sync stop backup")
	h.fails(1, "there is no connection sync backup to stop", "", "baton ipvs sync stop backup")
}

// until waits for a number of lines.
func (h host) until(want int, line string) {
	h.t.Helper()
	got := -1
	for range 40 {
		if got = strings.Count(h.run(line), "\n"); got == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	h.t.Errorf("%s: %d lines, want %d", line, got, want)
}

// TestVMManyConnections lists a large table beside ipvsadm. By default it is small
// enough for an emulated kernel, whose time for it grows with the square of the
// size; BATON_IPVS_CONNECTIONS says another size.
func TestVMManyConnections(t *testing.T) {
	const memory = 50 << 10 // KiB
	n := 10000
	if s := os.Getenv("BATON_IPVS_CONNECTIONS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	h, peer := newPair(t)
	h.feed("-A -t 10.0.0.100:80\n-a -t 10.0.0.100:80 -r 10.0.0.11:80 -m\n--start-daemon backup --mcast-interface eth1 --syncid 7", "baton ipvs restore")
	virtual, server := netip.MustParseAddrPort("10.0.0.100:80"), netip.MustParseAddrPort("10.0.0.11:80")
	peer.tell(n, func(i int) told {
		client := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 60000), 2}), uint16(1024+i%60000))
		return told{6, 1, client, virtual, server, 7200, false}
	})
	for range 600 {
		if strings.Contains(h.run("ipvsadm -Ln"), fmt.Sprint(" ", n, " ")) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	floor := h.do("", "dd if=/proc/net/ip_vs_conn of=/dev/null bs=64k")
	ours := h.do("", "baton ipvs connections")
	theirs := h.do("", "ipvsadm -Lnc")
	first := h.do("", "baton ipvs connections --json --limit 100")
	for what, o := range map[string]outcome{"dd": floor, "baton": ours, "ipvsadm": theirs, "baton --limit 100": first} {
		t.Logf("%-18s %6d ms, %6d ms in the kernel, %5d KiB resident", what, o.took.Milliseconds(), o.system.Milliseconds(), o.resident)
	}
	if got := strings.Count(ours.out, "\n"); ours.code != 0 || got != n+2 {
		t.Errorf("%d lines for %d connections, exit code %d: %s", got, n, ours.code, ours.errors)
	}
	if d := cmp.Diff(expiry.ReplaceAllString(theirs.out, "$1"), expiry.ReplaceAllString(ours.out, "$1")); d != "" {
		t.Errorf("it is not what ipvsadm lists:\n%.2000s", d)
	}
	if ours.resident > memory {
		t.Errorf("%d KiB resident, more than %d", ours.resident, memory)
	}
	// With a small table the start of the program is most of it.
	if n >= 50000 && ours.took > theirs.took {
		t.Errorf("it took %v, and ipvsadm %v", ours.took, theirs.took)
	}
}
