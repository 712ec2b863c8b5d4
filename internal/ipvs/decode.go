package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	moby "github.com/moby/ipvs"

	"baton/internal/pool"
)

// errForm says that an answer of the kernel does not have the form that its
// interface promises.
var errForm = errors.New("the kernel's answer has an unknown form")

// decodeService reads one service of an answer to IPVS_CMD_GET_SERVICE.
func decodeService(b []byte) (Service, error) {
	r, err := inside(b, attrService)
	if err != nil {
		return Service{}, fmt.Errorf("decode a service: %w", err)
	}
	var (
		s             Service
		v             = &s.Settings
		addr          []byte
		mask          uint32
		af            uint16
		narrow, wider []byte
	)
	for r.next() {
		switch r.typ {
		case svcFamily:
			af = r.u16()
		case svcProtocol:
			v.Protocol = pool.Protocol(r.u16())
		case svcAddress:
			addr = r.value
		case svcPort:
			v.Port = r.be16()
		case svcFWMark:
			v.FWMark = r.u32()
		case svcScheduler:
			v.Scheduler = r.text()
		case svcFlags: // struct ip_vs_flags; the mask has no meaning here
			v.Flags = pool.Flags(binary.NativeEndian.Uint32(r.exactly(8))) & settableFlags
		case svcTimeout:
			v.PersistenceSeconds = r.u32()
		case svcNetmask:
			mask = r.u32()
		case svcEngine:
			// moby/ipvs writes the engine and never reads it back (D5).
			v.PersistenceEngine = r.text()
		case svcStats:
			narrow = r.value
		case svcStats64:
			wider = r.value
		}
	}
	if err := errors.Join(r.err, finishService(v, af, addr, mask), s.Stats.decode(narrow, wider)); err != nil {
		return Service{}, fmt.Errorf("decode a service: %w", err)
	}
	return s, nil
}

// inside returns a reader of what is in the first attribute of that type.
func inside(b []byte, typ uint16) (reader, error) {
	r := newReader(b)
	for r.next() {
		if r.typ == typ {
			return newReader(r.value), nil
		}
	}
	if r.err != nil {
		return reader{}, r.err
	}
	return reader{}, fmt.Errorf("%w: no attribute %d", errForm, typ)
}

// finishService interprets the attributes whose meaning depends on others.
func finishService(v *pool.VirtualService, af uint16, addr []byte, mask uint32) error {
	if af != unix.AF_INET && af != unix.AF_INET6 {
		return fmt.Errorf("%w: a service of address family %d", errForm, af)
	}
	v.IPv6 = af == unix.AF_INET6
	v.PersistencePrefix = prefixOf(mask, v.IPv6)
	if v.FWMark != 0 {
		v.Protocol, v.Address, v.Port = 0, netip.Addr{}, 0
		return nil
	}
	a, err := decodeAddress(addr, v.IPv6)
	v.Address = a
	return err
}

// decodeServer reads one server of an answer to IPVS_CMD_GET_DEST. ipv6 is the
// family of its service: a kernel before 3.18 does not say the server's own.
func decodeServer(b []byte, ipv6 bool) (Server, error) {
	r, err := inside(b, attrDest)
	if err != nil {
		return Server{}, fmt.Errorf("decode a real server: %w", err)
	}
	var (
		s                   Server
		addr, narrow, wider []byte
	)
	for r.next() {
		switch r.typ {
		case destFamily:
			if af := r.u16(); af != 0 {
				ipv6 = af == unix.AF_INET6
			}
		case destAddress:
			addr = r.value
		case destStats:
			narrow = r.value
		case destStats64:
			wider = r.value
		default:
			s.decode(&r)
		}
	}
	s.Address, err = decodeAddress(addr, ipv6)
	if err := errors.Join(r.err, err, s.Stats.decode(narrow, wider)); err != nil {
		return Server{}, fmt.Errorf("decode a real server: %w", err)
	}
	return s, nil
}

// decode reads an attribute that has a meaning of its own.
func (s *Server) decode(r *reader) {
	switch r.typ {
	case destPort:
		s.Port = r.be16()
	case destForward:
		s.Forward = forwardOf(r.u32())
	case destWeight:
		// All 32 bits: moby/ipvs keeps 16, so that 70000 reads back as 4464
		// (D6).
		s.Weight = r.u32()
	case destUpper:
		s.Upper = r.u32()
	case destLower:
		s.Lower = r.u32()
	case destActive:
		s.Active = r.u32()
	case destInactive:
		s.Inactive = r.u32()
	case destPersistent:
		s.Persistent = r.u32()
	case destTunnelType:
		s.Tunnel.Type = pool.TunnelType(r.u8())
	case destTunnelPort:
		s.Tunnel.Port = r.be16()
	case destTunnelFlags:
		s.Tunnel.Flags = r.u16()
	}
}

// decode reads the counters. The kernel sends a STATS and, since Linux 4.1, a
// STATS64 attribute with the same; moby/ipvs knows the first only, whose counters
// wrap at 32 bits.
func (s *Stats) decode(narrow, wider []byte) error {
	b := wider
	if b == nil {
		b = narrow
	}
	r := reader{rest: b}
	for r.next() {
		p := s.field(r.typ)
		switch {
		case p == nil:
		case wider != nil || p == &s.BytesIn || p == &s.BytesOut:
			*p = r.u64()
		default:
			*p = uint64(r.u32())
		}
	}
	return r.err
}

// field returns the counter of an IPVS_STATS_ATTR_*, or nil.
func (s *Stats) field(attr uint16) *uint64 {
	switch attr {
	case statConns:
		return &s.Connections
	case statPktsIn:
		return &s.PacketsIn
	case statPktsOut:
		return &s.PacketsOut
	case statBytesIn:
		return &s.BytesIn
	case statBytesOut:
		return &s.BytesOut
	case statCPS:
		return &s.ConnectionRate
	case statPPSIn:
		return &s.PacketRateIn
	case statPPSOut:
		return &s.PacketRateOut
	case statBPSIn:
		return &s.ByteRateIn
	case statBPSOut:
		return &s.ByteRateOut
	}
	return nil
}

// decodeAddress reads a union nf_inet_addr.
func decodeAddress(b []byte, ipv6 bool) (netip.Addr, error) {
	switch {
	case ipv6 && len(b) == 16:
		return netip.AddrFrom16([16]byte(b)), nil
	case !ipv6 && (len(b) == 16 || len(b) == 4):
		return netip.AddrFrom4([4]byte(b[:4])), nil
	}
	return netip.Addr{}, fmt.Errorf("%w: an address of %d bytes", errForm, len(b))
}

// prefixOf is the inverse of maskOf. It returns 0 for a mask that is not a
// prefix, which no configuration can ask for.
func prefixOf(mask uint32, ipv6 bool) uint8 {
	if ipv6 {
		if mask > 128 {
			return 0
		}
		return uint8(mask)
	}
	m := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, mask))
	n := bits.LeadingZeros32(^m)
	if m<<n != 0 {
		return 0
	}
	return uint8(n)
}

func forwardOf(connFlags uint32) pool.Forward {
	switch connFlags & moby.ConnFwdMask {
	case moby.ConnFwdDirectRoute:
		return pool.DR
	case moby.ConnFwdTunnel:
		return pool.TUN
	case moby.ConnFwdLocalNode:
		return pool.Local
	}
	return pool.NAT
}

// decodeInfo reads the answer to IPVS_CMD_GET_INFO.
func decodeInfo(b []byte) (Info, error) {
	var i Info
	r := newReader(b)
	for r.next() {
		switch r.typ {
		case infoVersion: // NVERSION of net/ip_vs.h: a byte each
			v := r.u32()
			i.Version = fmt.Sprintf("%d.%d.%d", v>>16&0xff, v>>8&0xff, v&0xff)
		case infoTableSize:
			i.ConnectionTable = r.u32()
		}
	}
	if r.err != nil {
		return Info{}, fmt.Errorf("decode the version: %w", r.err)
	}
	return i, nil
}

// decodeTimeouts reads the answer to IPVS_CMD_GET_CONFIG.
func decodeTimeouts(b []byte) (Timeouts, error) {
	var t Timeouts
	r := newReader(b)
	for r.next() {
		switch r.typ {
		case attrTimeoutTCP:
			t.TCP = time.Duration(r.u32()) * time.Second
		case attrTimeoutTCPFin:
			t.TCPFin = time.Duration(r.u32()) * time.Second
		case attrTimeoutUDP:
			t.UDP = time.Duration(r.u32()) * time.Second
		}
	}
	return t, r.err
}
