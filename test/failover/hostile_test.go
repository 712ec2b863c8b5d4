package failover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"baton/internal/vrrp"
	"baton/test/lab"
)

// forger is a host on the segment that sends whatever it likes.
type forger struct {
	t    testing.TB
	host *lab.Host
	raw  *ipv4.RawConn
}

func (p *pair) forger() *forger {
	p.t.Helper()
	f := &forger{t: p.t, host: p.lab.Host("forger")}
	f.host.Connect(p.lan, "eth0", "10.0.0.66/24")
	must(p.t, f.host.Do(func() error {
		conn, err := net.ListenPacket("ip4:112", "0.0.0.0")
		if err != nil {
			return err
		}
		f.raw, err = ipv4.NewRawConn(conn)
		if err != nil {
			return err
		}
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		return f.raw.SetMulticastInterface(ifi)
	}))
	p.t.Cleanup(func() { must(p.t, f.raw.Close()) })
	return f
}

// forged is one packet that must not be believed.
type forged struct {
	name    string
	from    netip.Addr // default: the peer's
	to      netip.Addr // default: the group
	ttl     int        // default: 255
	payload []byte
	reason  vrrp.Reject
}

func (f *forger) send(p forged) {
	f.t.Helper()
	ttl := p.ttl
	if ttl == 0 {
		ttl = 255
	}
	to := p.to
	if !to.IsValid() {
		to = vrrp.GroupIPv4
	}
	must(f.t, f.raw.WriteTo(&ipv4.Header{
		Version: 4, Len: 20, TotalLen: 20 + len(p.payload), TTL: ttl, Protocol: 112,
		Src: p.from.AsSlice(), Dst: to.AsSlice(),
	}, p.payload, nil))
}

// counted waits until a director has rejected one more packet for the reason.
func (d *director) counted(reason vrrp.Reject, before uint64) {
	d.pair.t.Helper()
	lab.Eventually(d.pair.t, 3*time.Second, func() error {
		r, err := d.status()
		if err == nil && r.Adverts.Rejected[string(reason)] <= before {
			err = fmt.Errorf("%s counts %v, and no more of %q", d.name, r.Adverts.Rejected, string(reason))
		}
		return err
	})
}

func (d *director) rejected(reason vrrp.Reject) uint64 {
	d.pair.t.Helper()
	r, err := d.status()
	must(d.pair.t, err)
	return r.Adverts.Rejected[string(reason)]
}

// refused sends packets to a pair: each is counted by both directors under its
// reason, and changes nothing.
func (p *pair) refused(f *forger, packets []forged) {
	p.t.Helper()
	began := time.Now()
	a, errA := p.a.status()
	b, errB := p.b.status()
	must(p.t, errors.Join(errA, errB))
	for _, packet := range packets {
		if !packet.from.IsValid() {
			packet.from = netip.MustParseAddr("10.0.0.66")
		}
		to := []*director{p.a, p.b}
		if packet.to.IsValid() && !packet.to.IsMulticast() {
			to = []*director{p.b}
		}
		before := make([]uint64, len(to))
		for i, d := range to {
			before[i] = d.rejected(packet.reason)
		}
		f.send(packet)
		for i, d := range to {
			p.t.Logf("%s → %s: %s", packet.name, d.name, string(packet.reason))
			d.counted(packet.reason, before[i])
		}
	}
	a2, errA := p.a.status()
	b2, errB := p.b.status()
	must(p.t, errors.Join(errA, errB))
	if a2.State != "master" || b2.State != "backup" || a2.Transitions != a.Transitions || b2.Transitions != b.Transitions {
		p.t.Errorf("the forger had an effect: a is %s (%s), b is %s (%s)", a2.State, a2.Reason, b2.State, b2.Reason)
	}
	p.held.unmoved(vip, began)
	for _, d := range []*director{p.a, p.b} {
		for _, packet := range packets {
			line := fmt.Sprintf(`msg="advert not believed" process=pulse router=web vrid=51 interface=eth0 reason=%s `, string(packet.reason))
			if n := countLines(d.proc.Output(), line); n > 2 { // the test may pass a minute
				p.t.Errorf("%d log lines about %q on %s", n, string(packet.reason), d.name)
			}
		}
	}
}

// written is a packet as the codec writes it, with priority 255.
func written(t testing.TB, o vrrp.CodecOptions, src netip.Addr, wall time.Time) []byte {
	t.Helper()
	c, err := vrrp.NewCodec(o)
	must(t, err)
	return c.Append(nil, &vrrp.Advert{VRID: 51, Priority: 255, Interval: o.Interval, Addresses: []netip.Addr{vip}},
		src, vrrp.GroupIPv4, wall)
}

// changed is a packet with some bytes replaced, and its checksum put right again
// unless it is what was changed. Without the pseudo-header: both forms count.
func changed(packet []byte, replace map[int]byte) []byte {
	out := slices.Clone(packet)
	for at, b := range replace {
		out[at] = b
	}
	if _, own := replace[6]; own {
		return out
	}
	out[6], out[7] = 0, 0
	sum := uint32(0)
	for i := 0; i+1 < len(out); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(out[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(out[6:], ^uint16(sum))
	return out
}

// Packets that break a rule of the protocol change nothing, and each is counted.
func TestForgedPackets(t *testing.T) {
	p := start(t, second)
	f := p.forger()
	stranger := netip.MustParseAddr("10.0.0.66")
	good := written(t, vrrp.CodecOptions{VRID: 51, Version: 3, Interval: second}, stranger, time.Now())
	p.refused(f, []forged{
		{name: "truncated", payload: good[:len(good)-4], reason: vrrp.RejectLength},
		{name: "longer than it says", payload: append(slices.Clone(good), 0, 0, 0, 0), reason: vrrp.RejectLength},
		{name: "255 addresses announced, one there", payload: changed(good, map[int]byte{3: 255}), reason: vrrp.RejectLength},
		{name: "version 2", payload: changed(good, map[int]byte{0: 0x21}), reason: vrrp.RejectVersion},
		{name: "version 15", payload: changed(good, map[int]byte{0: 0xf1}), reason: vrrp.RejectVersion},
		{name: "type 2", payload: changed(good, map[int]byte{0: 0x32}), reason: vrrp.RejectType},
		{name: "wrong checksum", payload: changed(good, map[int]byte{6: good[6] ^ 0x55}), reason: vrrp.RejectChecksum},
		{name: "interval 0", payload: changed(good, map[int]byte{4: 0, 5: 0}), reason: vrrp.RejectInterval},
		{name: "no address", payload: changed(good[:8], map[int]byte{3: 0}), reason: vrrp.RejectCount},
		{name: "TTL 254", ttl: 254, payload: good, reason: vrrp.RejectTTL},
		{name: "TTL 1", ttl: 1, payload: good, reason: vrrp.RejectTTL},
		{name: "unicast", to: addrB, payload: good, reason: vrrp.RejectPeer},
	})
}

// With the HMAC trailer nobody without the key has a say, not even with packets
// that were heard before.
func TestForgedPacketsWithHMAC(t *testing.T) {
	p := build(t)
	key := []byte(strings.Repeat("k", 32))
	keyFile := filepath.Join(p.a.dir, "vrrp.key")
	must(t, os.WriteFile(keyFile, key, 0o600))
	auth := fmt.Sprintf(", auth: {hmac: {key_id: 1, key_file: %s}}", keyFile)
	p.begin(second, auth, auth)
	f := p.forger()

	options := vrrp.CodecOptions{VRID: 51, Version: 3, Interval: second}
	stranger := netip.MustParseAddr("10.0.0.66")
	without := written(t, options, stranger, time.Now())
	keyed := func(id uint8, secret string) []byte {
		o := options
		o.Auth.Keys = []vrrp.Key{{ID: id, Secret: vrrp.Secret(secret)}}
		return written(t, o, stranger, time.Now())
	}
	o := options
	o.Auth.Keys = []vrrp.Key{{ID: 1, Secret: key}}
	old := written(t, o, stranger, time.Now().Add(-time.Minute))
	o.Checksum = vrrp.NoPseudoHeader                                     // right whatever the source
	moved := written(t, o, netip.MustParseAddr("10.0.0.67"), time.Now()) // sent from another address than it was made for

	c := p.lab.Capture(f.host, "eth0", vrrpFilter)
	heard, err := c.Await(5*time.Second, func(p lab.Packet) bool {
		a, ok := parse(p)
		return ok && a.from == addrA && a.priority > 0
	})
	must(t, err)
	replayed := heard.Data[14+20:]
	time.Sleep(1200 * time.Millisecond) // the owner has sent a later one
	p.refused(f, []forged{
		{name: "no HMAC", payload: without, reason: vrrp.RejectAuthMissing},
		{name: "unknown key id", payload: keyed(2, strings.Repeat("k", 32)), reason: vrrp.RejectAuthKey},
		{name: "wrong key", payload: keyed(1, strings.Repeat("x", 32)), reason: vrrp.RejectAuth},
		{name: "for another source", payload: moved, reason: vrrp.RejectAuth},
		{name: "a minute old", payload: old, reason: vrrp.RejectClock},
		{name: "truncated trailer", payload: keyed(1, strings.Repeat("k", 32))[:30], reason: vrrp.RejectLength},
	})
	// The owner itself takes its own packet for a loop.
	before := p.b.rejected(vrrp.RejectReplay)
	f.send(forged{from: addrA, payload: replayed})
	p.b.counted(vrrp.RejectReplay, before)
	goodbye := changed(replayed, map[int]byte{2: 0})
	before = p.b.rejected(vrrp.RejectAuth) + p.b.rejected(vrrp.RejectChecksum)
	f.send(forged{from: addrA, payload: goodbye})
	lab.Eventually(t, 3*time.Second, func() error {
		if n := p.b.rejected(vrrp.RejectAuth) + p.b.rejected(vrrp.RejectChecksum); n <= before {
			return errors.New("a changed packet was not counted")
		}
		return nil
	})
	must(t, p.a.is("master"))
	must(t, p.b.is("backup"))
}
