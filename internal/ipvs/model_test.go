package ipvs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"baton/internal/pool"
)

// The kernel's end of the interface, written down once more from
// net/netfilter/ipvs/ip_vs_ctl.c and independent of the encoder: what it does not
// know or finds too short it refuses, and everything it takes over it takes over
// as the kernel does.

// kernelService is struct ip_vs_service_user_kern.
type kernelService struct {
	af       uint16
	protocol uint16
	addr     [16]byte
	port     uint16 // network order, as are all that the kernel calls __be
	fwmark   uint32
	sched    string
	pe       string
	flags    uint32
	timeout  uint32
	netmask  [4]byte
}

// kernelServer is struct ip_vs_dest_user_kern.
type kernelServer struct {
	addr                 [16]byte
	port                 uint16
	connFlags, weight    uint32
	upper, lower         uint32
	af                   uint16
	tunnelType           uint8
	tunnelPort, tunFlags uint16
}

var errModel = errors.New("the kernel would answer EINVAL")

// nlattrs are the attributes by type (nla_parse), each checked against the
// kernel's policy: the least length, or with a minus sign the largest one of a
// string with its final zero.
func nlattrs(b []byte, policy map[uint16]int) (map[uint16][]byte, error) {
	out := map[uint16][]byte{}
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: %d bytes left", errModel, len(b))
		}
		n, typ := int(native.Uint16(b)), native.Uint16(b[2:])&0x3fff
		if n < 4 || n > len(b) {
			return nil, fmt.Errorf("%w: attribute %d of %d bytes", errModel, typ, n)
		}
		v := b[4:n]
		least, known := policy[typ]
		switch {
		case !known:
			return nil, fmt.Errorf("%w: attribute %d is unknown", errModel, typ)
		case least >= 0 && len(v) != least, least < 0 && (len(v) > -least || bytes.IndexByte(v, 0) != len(v)-1):
			return nil, fmt.Errorf("%w: attribute %d has %d bytes", errModel, typ, len(v))
		}
		out[typ] = v
		for n%4 != 0 && n < len(b) {
			if b[n] != 0 {
				return nil, fmt.Errorf("%w: padding", errModel)
			}
			n++
		}
		b = b[n:]
	}
	return out, nil
}

var native binary.ByteOrder = binary.NativeEndian

// ip_vs_svc_policy and ip_vs_dest_policy.
var (
	svcPolicy  = map[uint16]int{1: 2, 2: 2, 3: 16, 4: 2, 5: 4, 6: -16, 11: -16, 7: 8, 8: 4, 9: 4}
	destPolicy = map[uint16]int{1: 16, 2: 2, 3: 4, 4: 4, 5: 4, 6: 4, 11: 2, 13: 1, 14: 2, 15: 2}
)

// parse is ip_vs_genl_parse_service; flags are those that the service has.
func (s *kernelService) parse(b []byte, full bool) error {
	a, err := nlattrs(b, svcPolicy)
	if err != nil {
		return err
	}
	if a[1] == nil || a[5] == nil && (a[2] == nil || a[3] == nil || a[4] == nil) {
		return fmt.Errorf("%w: the service is not named", errModel)
	}
	if s.af = native.Uint16(a[1]); s.af != 2 && s.af != 10 {
		return errModel // EAFNOSUPPORT
	}
	if a[5] != nil {
		s.protocol, s.fwmark = 6, native.Uint32(a[5])
	} else {
		s.protocol = native.Uint16(a[2])
		copy(s.addr[:], a[3])
		s.port = native.Uint16(a[4])
	}
	if !full {
		return nil
	}
	if a[6] == nil || a[7] == nil || a[8] == nil || a[9] == nil {
		return fmt.Errorf("%w: settings are missing", errModel)
	}
	flags, mask := native.Uint32(a[7]), native.Uint32(a[7][4:])
	s.flags = s.flags&^mask | flags&mask
	s.sched = string(bytes.TrimRight(a[6], "\x00"))
	s.pe = string(bytes.TrimRight(a[11], "\x00"))
	s.timeout = native.Uint32(a[8])
	copy(s.netmask[:], a[9])
	return nil
}

// parse is ip_vs_genl_parse_dest.
func (d *kernelServer) parse(b []byte, full bool) error {
	a, err := nlattrs(b, destPolicy)
	if err != nil {
		return err
	}
	if a[1] == nil || a[2] == nil {
		return fmt.Errorf("%w: the server is not named", errModel)
	}
	copy(d.addr[:], a[1])
	d.port = native.Uint16(a[2])
	if a[11] != nil {
		d.af = native.Uint16(a[11])
	}
	if !full {
		return nil
	}
	if a[3] == nil || a[4] == nil || a[5] == nil || a[6] == nil {
		return fmt.Errorf("%w: settings are missing", errModel)
	}
	d.connFlags = native.Uint32(a[3]) & 7
	d.weight, d.upper, d.lower = native.Uint32(a[4]), native.Uint32(a[5]), native.Uint32(a[6])
	if a[13] != nil {
		d.tunnelType = a[13][0]
	}
	if a[14] != nil {
		d.tunnelPort = native.Uint16(a[14])
	}
	if a[15] != nil {
		d.tunFlags = native.Uint16(a[15])
	}
	return nil
}

// modelOf reads an op as the kernel does, for a service that has the flags.
func modelOf(op Op, flags uint32) (s kernelService, d kernelServer, err error) {
	outer, err := nlattrs(encodeOp(op), map[uint16]int{1: len(inner(op, 1)), 2: len(inner(op, 2))})
	if err != nil {
		return s, d, err
	}
	s.flags = flags
	if err := s.parse(outer[1], op.Kind == NewService || op.Kind == EditService); err != nil {
		return s, d, fmt.Errorf("service: %w", err)
	}
	if op.Kind.ofServer() {
		if err := d.parse(outer[2], op.Kind != DelServer); err != nil {
			return s, d, fmt.Errorf("server: %w", err)
		}
	} else if outer[2] != nil {
		return s, d, fmt.Errorf("%w: a server in a change of a service", errModel)
	}
	return s, d, nil
}

// inner is the value of one of the two attributes of a command.
func inner(op Op, typ uint16) []byte {
	for b := encodeOp(op); len(b) >= 4; {
		n := int(native.Uint16(b))
		if native.Uint16(b[2:])&0x3fff == typ {
			return b[4:n]
		}
		b = b[n:]
	}
	return nil
}

// union is a nf_inet_addr, network is a number in network order as the kernel
// sees it.
func union(a netip.Addr) (b [16]byte) {
	copy(b[:], net.IP(a.AsSlice()))
	return b
}

func network(port uint16) uint16 {
	return native.Uint16([]byte{byte(port >> 8), byte(port)})
}

func afOf(v6 bool) uint16 {
	if v6 {
		return 10
	}
	return 2
}

// What a change means to the kernel is what was meant.
func TestTheKernelReadsWhatWeWrite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const hashed = 2 // IP_VS_SVC_F_HASHED, the kernel's own
		op := Op{Kind: OpKind(rapid.IntRange(int(NewService), int(DelServer)).Draw(t, "kind")), Service: drawService(t), Server: drawServer(t)}
		before := hashed | rapid.Uint32().Draw(t, "flags before")
		gotService, gotServer, err := modelOf(op, before)
		if err != nil {
			t.Fatal(err)
		}
		v, s := op.Service, op.Server
		service := kernelService{af: afOf(v.IPv6), protocol: uint16(v.Protocol), fwmark: v.FWMark, flags: before}
		if v.FWMark != 0 {
			service.protocol = 6
		} else {
			service.addr, service.port = union(v.Address), network(v.Port)
		}
		if op.Kind == NewService || op.Kind == EditService {
			service.sched, service.pe, service.timeout = v.Scheduler, v.PersistenceEngine, v.PersistenceSeconds
			service.flags = before&^0x3d | uint32(v.Flags)
			if v.IPv6 {
				native.PutUint32(service.netmask[:], uint32(v.PersistencePrefix))
			} else {
				copy(service.netmask[:], net.CIDRMask(int(v.PersistencePrefix), 32))
			}
		}
		if gotService != service {
			t.Fatalf("%v of\n%+v is to the kernel\n%+v, not\n%+v", op.Kind, v, gotService, service)
		}
		if !op.Kind.ofServer() {
			return
		}
		want := kernelServer{addr: union(s.Address), port: network(s.Port), af: afOf(s.Address.Is6())}
		if op.Kind != DelServer {
			want.connFlags = map[pool.Forward]uint32{pool.NAT: 0, pool.Local: 1, pool.TUN: 2, pool.DR: 3}[s.Forward]
			want.weight, want.upper, want.lower = s.Weight, s.Upper, s.Lower
			want.tunnelType, want.tunnelPort, want.tunFlags = uint8(s.Tunnel.Type), network(s.Tunnel.Port), s.Tunnel.Flags
		}
		if gotServer != want {
			t.Fatalf("%v of\n%+v is to the kernel\n%+v, not\n%+v", op.Kind, s, gotServer, want)
		}
	})
}

// Nothing that arrives can make a decoder panic.
func TestDecodersTakeAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		if rapid.Bool().Draw(t, "begins well") {
			b = encodeOp(Op{Kind: NewServer, Service: drawService(t), Server: drawServer(t)})
			for range rapid.IntRange(0, 8).Draw(t, "broken bytes") {
				b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
			b = b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
		} else {
			b = rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		}
		_, _ = decodeService(b)
		_, _ = decodeServer(b, rapid.Bool().Draw(t, "ipv6"))
		_, _ = decodeInfo(b)
		_, _ = decodeTimeouts(b)
	})
}
