package ipvs

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"baton/internal/pool"
)

// The bytes of two requests, taken apart by hand against
// include/uapi/linux/ip_vs.h on a little-endian machine.
func TestEncodedBytes(t *testing.T) {
	if !strings.Contains("amd64 arm64 riscv64 386 loong64 ppc64le", runtime.GOARCH) {
		t.Log("big-endian machine: the bytes are others; the round trips below cover it")
		return
	}
	v := flagged(persistent(service("tcp 10.0.0.100:80 wlc"), 300, 24), pool.OnePacket)
	for _, tt := range []struct {
		name string
		op   Op
		want []string
	}{
		{"service", Op{Kind: NewService, Service: v}, []string{
			"5400 0180",           // nested IPVS_CMD_ATTR_SERVICE
			"0600 0100 0200 0000", // AF: AF_INET
			"0600 0200 0600 0000", // PROTOCOL: 6
			"1400 0300 0a000064 00000000 00000000 00000000", // ADDR
			"0600 0400 0050 0000",                           // PORT, big-endian
			"0800 0600 776c6300",                            // SCHED_NAME: wlc
			"0c00 0700 05000000 3d000000",                   // FLAGS: persistent and one packet, mask without hashed
			"0800 0800 2c010000",                            // TIMEOUT: 300
			"0800 0900 ffffff00",                            // NETMASK: 255.255.255.0 in network order
		}},
		{"server", Op{
			Kind: NewServer, Service: service("fwmark 7 inet6 wlc"),
			Server: limited(tunnelled(server("10.0.0.11:80 tun 70000"), pool.Tunnel{Type: pool.GUE, Port: 6080, Flags: 1}), 8, 9),
		}, []string{
			"1400 0180",           // nested IPVS_CMD_ATTR_SERVICE
			"0600 0100 0a00 0000", // AF: AF_INET6
			"0800 0500 07000000",  // FWMARK: 7
			"6000 0280",           // nested IPVS_CMD_ATTR_DEST
			"0600 0b00 0200 0000", // ADDR_FAMILY: AF_INET
			"1400 0100 0a00000b 00000000 00000000 00000000", // ADDR
			"0600 0200 0050 0000",                           // PORT
			"0800 0300 02000000",                            // FWD_METHOD: IP_VS_CONN_F_TUNNEL
			"0800 0400 70110100",                            // WEIGHT: 70000
			"0800 0500 09000000",                            // U_THRESH
			"0800 0600 08000000",                            // L_THRESH
			"0500 0d00 01000000",                            // TUN_TYPE: GUE
			"0600 0e00 17c0 0000",                           // TUN_PORT: 6080
			"0600 0f00 0100 0000",                           // TUN_FLAGS
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := encodeOp(tt.op)
			want := strings.ReplaceAll(strings.Join(tt.want, ""), " ", "")
			if hex.EncodeToString(got) != want {
				t.Errorf("got  %x\nwant %s", got, want)
			}
		})
	}
}

// What is encoded for the kernel is what is decoded from its answer, which uses
// the same attributes.
func TestEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawService(t)
		got, err := decodeService(encodeOp(Op{Kind: NewService, Service: v}))
		if err != nil {
			t.Fatal(err)
		}
		if !got.Settings.EqualSettings(v) {
			t.Fatalf("service %+v came back as %+v", v, got.Settings)
		}
		s := drawServer(t)
		d, err := decodeServer(encodeOp(Op{Kind: NewServer, Service: v, Server: s}), v.IPv6)
		if err != nil {
			t.Fatal(err)
		}
		if d.RealServer != s {
			t.Fatalf("server %+v came back as %+v", s, d.RealServer)
		}
	})
}

func drawAddress(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v6") {
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")))
	}
	return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address")))
}

func drawService(t *rapid.T) pool.VirtualService {
	var v pool.VirtualService
	if rapid.Bool().Draw(t, "mark") {
		v.Key = pool.Key{FWMark: rapid.Uint32Min(1).Draw(t, "fwmark"), IPv6: rapid.Bool().Draw(t, "inet6")}
	} else {
		a := drawAddress(t)
		p := rapid.SampledFrom([]pool.Protocol{pool.TCP, pool.UDP, pool.SCTP}).Draw(t, "protocol")
		v.Key = pool.Key{Protocol: p, Address: a, Port: rapid.Uint16().Draw(t, "port"), IPv6: a.Is6()}
	}
	v.Scheduler = rapid.StringMatching(`[a-z]{1,15}`).Draw(t, "scheduler")
	v.Flags = pool.Flags(rapid.Uint32().Draw(t, "flags")) & settableFlags
	v.PersistenceSeconds = rapid.Uint32().Draw(t, "seconds")
	v.PersistencePrefix = uint8(rapid.IntRange(0, int(fullPrefix(v.IPv6))).Draw(t, "prefix"))
	v.PersistenceEngine = rapid.SampledFrom([]string{"", "sip"}).Draw(t, "engine")
	return v
}

func drawServer(t *rapid.T) pool.RealServer {
	return pool.RealServer{
		Address: drawAddress(t),
		Port:    rapid.Uint16().Draw(t, "port"),
		Weight:  rapid.Uint32().Draw(t, "weight"),
		Forward: rapid.SampledFrom([]pool.Forward{pool.NAT, pool.DR, pool.TUN, pool.Local}).Draw(t, "forward"),
		Tunnel: pool.Tunnel{
			Type: pool.TunnelType(rapid.Byte().Draw(t, "type")),
			Port: rapid.Uint16().Draw(t, "tunnel port"), Flags: rapid.Uint16().Draw(t, "tunnel flags"),
		},
		Upper: rapid.Uint32().Draw(t, "upper"),
		Lower: rapid.Uint32().Draw(t, "lower"),
	}
}

func TestMask(t *testing.T) {
	for p := range uint8(33) {
		if got := prefixOf(maskOf(p, false), false); got != p {
			t.Errorf("/%d came back as /%d", p, got)
		}
	}
	for p := range uint8(129) {
		if got := prefixOf(maskOf(p, true), true); got != p {
			t.Errorf("IPv6 /%d came back as /%d", p, got)
		}
	}
	if got := prefixOf(binary.NativeEndian.Uint32([]byte{255, 0, 255, 0}), false); got != 0 {
		t.Errorf("a mask that is no prefix is /%d", got)
	}
	if got := prefixOf(129, true); got != 0 {
		t.Errorf("IPv6 /129 is /%d", got)
	}
}

// answer builds what the kernel would send, with attributes of the caller's
// choice.
func answer(outer uint16, f func(*writer)) []byte {
	var w writer
	w.nested(outer, func() { f(&w) })
	return w
}

func TestDecodeCounters(t *testing.T) {
	s := pool.RealServer{Address: netip.MustParseAddr("10.0.0.11"), Port: 80}
	narrow := func(w *writer) {
		w.serverKey(s)
		w.u32(destActive, 1)
		w.u32(destInactive, 2)
		w.u32(destPersistent, 3)
		w.nested(destStats, func() {
			for a := uint16(statConns); a <= statBPSOut; a++ {
				if a == statBytesIn || a == statBytesOut {
					w.bytes(a, binary.NativeEndian.AppendUint64(nil, uint64(a)))
				} else {
					w.u32(a, uint32(a))
				}
			}
		})
	}
	want := Stats{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	got, err := decodeServer(answer(attrDest, narrow), false)
	if err != nil || got.Stats != want || got.Active != 1 || got.Inactive != 2 || got.Persistent != 3 {
		t.Errorf("old counters: %+v, %v", got, err)
	}
	got, err = decodeServer(answer(attrDest, func(w *writer) {
		narrow(w)
		w.nested(destStats64, func() {
			for a := uint16(statConns); a <= statBPSOut; a++ {
				w.bytes(a, binary.NativeEndian.AppendUint64(nil, uint64(a)<<32))
			}
			w.bytes(11, nil) // IPVS_STATS_ATTR_PAD
		})
	}), false)
	for i, v := 0, reflect.ValueOf(got.Stats); i < v.NumField(); i++ {
		if v.Field(i).Uint() != uint64(i+1)<<32 {
			t.Errorf("64-bit counters: %+v, %v", got.Stats, err)
			break
		}
	}
}

func TestDecodeServerWithoutFamily(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::1")
	b := answer(attrDest, func(w *writer) { w.bytes(destAddress, a.AsSlice()) })
	if got, err := decodeServer(b, true); err != nil || got.Address != a {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDecodeErrors(t *testing.T) {
	key := func(w *writer) { w.key(service("tcp 10.0.0.100:80 rr").Key) }
	for name, f := range map[string]func(*writer){
		"no family":  func(*writer) {},
		"odd family": func(w *writer) { w.u16(svcFamily, 99) },
		"no address": func(w *writer) { w.u16(svcFamily, family(false)) },
		"short address": func(w *writer) {
			w.u16(svcFamily, family(true))
			w.bytes(svcAddress, make([]byte, 4))
		},
		"short port":    func(w *writer) { key(w); w.bytes(svcPort, []byte{1}) },
		"short flags":   func(w *writer) { key(w); w.bytes(svcFlags, make([]byte, 4)) },
		"short timeout": func(w *writer) { key(w); w.bytes(svcTimeout, make([]byte, 2)) },
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := decodeService(answer(attrService, f)); err == nil {
				t.Errorf("decoded as %+v", s)
			}
		})
	}
	if _, err := decodeService(nil); !errors.Is(err, errForm) {
		t.Errorf("an empty answer: %v", err)
	}
}

func FuzzDecodeService(f *testing.F) {
	for _, w := range worlds {
		for _, v := range w.table {
			f.Add(encodeOp(Op{Kind: NewService, Service: v}))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeService(b)
		if err != nil {
			return
		}
		// What could be read can be written and means the same.
		s2, err := decodeService(encodeOp(Op{Kind: NewService, Service: s.Settings}))
		if err != nil || !s2.Settings.EqualSettings(s.Settings) {
			t.Fatalf("%+v became %+v, %v", s.Settings, s2.Settings, err)
		}
	})
}

func FuzzDecodeServer(f *testing.F) {
	for _, w := range worlds {
		for _, v := range w.table {
			for _, s := range v.Servers {
				f.Add(encodeOp(Op{Kind: NewServer, Service: v, Server: s}), v.IPv6)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, ipv6 bool) {
		s, err := decodeServer(b, ipv6)
		if err != nil {
			return
		}
		again := encodeOp(Op{Kind: NewServer, Service: service("fwmark 1 inet rr"), Server: s.RealServer})
		if s2, err := decodeServer(again, ipv6); err != nil || s2.RealServer != s.RealServer {
			t.Fatalf("%+v became %+v, %v", s.RealServer, s2.RealServer, err)
		}
	})
}

func FuzzDecodeInfo(f *testing.F) {
	f.Add(answerInfo())
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeInfo(b)
		_, _ = decodeTimeouts(b)
	})
}

func answerInfo() []byte {
	var w writer
	w.u32(infoVersion, 0x010201)
	w.u32(infoTableSize, 4096)
	return w
}
