package ipvs

import (
	"errors"
	"net"
	"testing"
	"time"

	"baton/internal/pool"
)

// The defects of github.com/moby/ipvs (moby.go), each with what this package does
// instead. Those that only a kernel can show have a test of the same name with VM
// in it: D1 to D8.

// D1: the kernel says yes to everything in a family that it does not have.
func TestD1NoIPVSIsAnError(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	w.family = 0
	v := service("tcp 10.0.0.100:80 rr")
	if err := k.Write(t.Context(), []Op{{Kind: NewService, Service: v}})[0]; err == nil {
		t.Error("a write without IPVS is no error")
	}
	if _, err := k.Dump(t.Context()); !errors.Is(err, ErrNoIPVS) {
		t.Errorf("dump: %v", err)
	}
	if _, err := k.Timeouts(t.Context()); !errors.Is(err, ErrNoIPVS) {
		t.Errorf("timeouts: %v", err)
	}
}

// D4: the family of a server is always sent and always read.
func TestD4FamilyOfAServer(t *testing.T) {
	for _, v := range []pool.VirtualService{service("tcp 10.0.0.100:80 rr"), service("tcp [2001:db8::100]:80 rr")} {
		for _, s := range []pool.RealServer{server("192.0.2.1:80 tun 1"), server("[2001:db8::11]:80 tun 1")} {
			op := Op{Kind: NewServer, Service: v, Server: s}
			if _, d, err := modelOf(op, 0); err != nil || d.af != afOf(s.Address.Is6()) || d.addr != union(s.Address) {
				t.Errorf("%v is to the kernel %+v, %v", op, d, err)
			}
			if got, err := decodeServer(encodeOp(op), v.IPv6); err != nil || got.Address != s.Address {
				t.Errorf("%v came back as %v, %v", op, got.Address, err)
			}
		}
	}
}

// D5: the persistence engine is read, so an edit of what was read keeps it, and a
// lost one is drift.
func TestD5PersistenceEngine(t *testing.T) {
	v := persistent(service("udp 10.0.0.100:5060 rr"), 60, 32)
	v.PersistenceEngine = "sip"
	f := newFakeKernel()
	r := NewReconciler(f, nil, silent())
	mustApply(t, r, table(v))
	read, err := decodeService(encodeOp(Op{Kind: NewService, Service: v}))
	if err != nil || read.Settings.PersistenceEngine != "sip" {
		t.Fatalf("read back %+v, %v", read, err)
	}
	if s, _, err := modelOf(Op{Kind: EditService, Service: read.Settings}, 1); err != nil || s.pe != "sip" {
		t.Errorf("an edit of what was read is to the kernel %+v, %v", s, err)
	}
	f.services[v.Key].settings.PersistenceEngine = ""
	if a := mustApply(t, r, table(v)); len(a.Drift) != 1 || a.Drift[0].Detail != "persistence engine none, not sip" {
		t.Errorf("drift %v", a.Drift)
	}
}

// D6: a weight has 32 bits.
func TestD6Weight(t *testing.T) {
	for _, weight := range []uint32{65535, 65536, 70000, weightMax} {
		s := server("10.0.0.11:80 nat 1")
		s.Weight = weight
		got, err := decodeServer(encodeOp(Op{Kind: NewServer, Service: service("tcp 10.0.0.100:80 rr"), Server: s}), false)
		if err != nil || got.Weight != weight {
			t.Errorf("%d came back as %d, %v", weight, got.Weight, err)
		}
	}
}

// D7: a netmask is a mask in network order, or for IPv6 a length, and none is the
// full one.
func TestD7Netmask(t *testing.T) {
	for prefix := range uint8(33) {
		v := normalService(persistent(service("tcp 10.0.0.100:80 rr"), 60, prefix))
		s, _, err := modelOf(Op{Kind: NewService, Service: v}, 0)
		want := net.CIDRMask(int(prefix), 32)
		if prefix == 0 {
			want = net.CIDRMask(32, 32)
		}
		if err != nil || net.IP(s.netmask[:]).String() != net.IP(want).String() {
			t.Errorf("/%d is to the kernel %v, %v", prefix, s.netmask, err)
		}
	}
	v := normalService(service("tcp [2001:db8::100]:80 rr"))
	v.PersistencePrefix = 0
	if s, _, err := modelOf(Op{Kind: NewService, Service: normalService(v)}, 0); err != nil || native.Uint32(s.netmask[:]) != 128 {
		t.Errorf("no IPv6 netmask is to the kernel %v, %v", s.netmask, err)
	}
}

// D8: what the kernel's unit cannot express is refused, before anything is sent.
func TestD8FractionsOfSeconds(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	sent := w.sends
	if err := k.SetTimeouts(t.Context(), Timeouts{TCP: 500 * time.Millisecond}); err == nil {
		t.Error("half a second is no error")
	}
	if w.sends != sent {
		t.Error("something was sent")
	}
}
