package ipvs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	moby "github.com/moby/ipvs"

	"baton/internal/pool"
)

// errForm says that an answer of the kernel does not have the form that its
// interface promises.
var errForm = errors.New("the kernel's answer has an unknown form")

// decodeService reads one service of an answer to IPVS_CMD_GET_SERVICE.
func decodeService(b []byte) (Service, error) {
	var s Service
	err := decodeNested(b, attrService, func(ad *netlink.AttributeDecoder) error {
		var err error
		s, err = decodeServiceAttributes(ad)
		return err
	})
	if err != nil {
		return Service{}, fmt.Errorf("decode a service: %w", err)
	}
	return s, nil
}

// decodeServer reads one server of an answer to IPVS_CMD_GET_DEST. ipv6 is the
// family of its service: a kernel before 3.18 does not say the server's own.
func decodeServer(b []byte, ipv6 bool) (Server, error) {
	var s Server
	err := decodeNested(b, attrDest, func(ad *netlink.AttributeDecoder) error {
		var err error
		s, err = decodeServerAttributes(ad, ipv6)
		return err
	})
	if err != nil {
		return Server{}, fmt.Errorf("decode a real server: %w", err)
	}
	return s, nil
}

// decodeNested calls f with the content of the first attribute of that type, and
// fails when there is none.
func decodeNested(b []byte, typ uint16, f func(*netlink.AttributeDecoder) error) error {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return err
	}
	for ad.Next() {
		if ad.Type() == typ {
			ad.Nested(f)
			return ad.Err()
		}
	}
	if err := ad.Err(); err != nil {
		return err
	}
	return fmt.Errorf("%w: no attribute %d", errForm, typ)
}

func decodeServiceAttributes(ad *netlink.AttributeDecoder) (Service, error) {
	var (
		s        Service
		v        = &s.Settings
		addr     []byte
		mask, af uint32
	)
	for ad.Next() {
		switch ad.Type() {
		case svcFamily:
			af = uint32(ad.Uint16())
		case svcProtocol:
			v.Protocol = pool.Protocol(ad.Uint16())
		case svcAddress:
			addr = ad.Bytes()
		case svcPort:
			v.Port = decodePort(ad)
		case svcFWMark:
			v.FWMark = ad.Uint32()
		case svcScheduler:
			v.Scheduler = ad.String()
		case svcFlags:
			ad.Do(func(b []byte) error { return decodeFlags(b, &v.Flags) })
		case svcTimeout:
			v.PersistenceSeconds = ad.Uint32()
		case svcNetmask:
			mask = ad.Uint32()
		case svcEngine:
			// moby/ipvs writes the engine and never reads it back (D5).
			v.PersistenceEngine = ad.String()
		case svcStats:
			decodeStats(ad, &s.Stats, false)
		case svcStats64:
			decodeStats(ad, &s.Stats, true)
		}
	}
	if err := ad.Err(); err != nil {
		return Service{}, err
	}
	return s, finishService(v, af, addr, mask)
}

// finishService interprets the attributes whose meaning depends on others.
func finishService(v *pool.VirtualService, af uint32, addr []byte, mask uint32) error {
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

func decodeServerAttributes(ad *netlink.AttributeDecoder, ipv6 bool) (Server, error) {
	var (
		s    Server
		addr []byte
	)
	for ad.Next() {
		switch ad.Type() {
		case destFamily:
			if af := ad.Uint16(); af != 0 {
				ipv6 = af == unix.AF_INET6
			}
		case destAddress:
			addr = ad.Bytes()
		case destPort:
			s.Port = decodePort(ad)
		case destForward:
			s.Forward = forwardOf(ad.Uint32())
		case destWeight:
			// All 32 bits: moby/ipvs keeps 16, so that 70000 reads back as
			// 4464 (D6).
			s.Weight = ad.Uint32()
		case destUpper:
			s.Upper = ad.Uint32()
		case destLower:
			s.Lower = ad.Uint32()
		case destTunnelType:
			s.Tunnel.Type = pool.TunnelType(ad.Uint8())
		case destTunnelPort:
			s.Tunnel.Port = decodePort(ad)
		case destTunnelFlags:
			s.Tunnel.Flags = ad.Uint16()
		default:
			decodeObservations(ad, &s)
		}
	}
	if err := ad.Err(); err != nil {
		return Server{}, err
	}
	a, err := decodeAddress(addr, ipv6)
	s.Address = a
	return s, err
}

// decodeObservations reads what is counted about a server.
func decodeObservations(ad *netlink.AttributeDecoder, s *Server) {
	switch ad.Type() {
	case destActive:
		s.Active = ad.Uint32()
	case destInactive:
		s.Inactive = ad.Uint32()
	case destPersistent:
		s.Persistent = ad.Uint32()
	case destStats:
		decodeStats(ad, &s.Stats, false)
	case destStats64:
		decodeStats(ad, &s.Stats, true)
	}
}

// decodeStats reads a STATS or, with wide, a STATS64 attribute. The kernel sends
// both, the 64-bit one last since Linux 4.1; moby/ipvs knows the other only.
func decodeStats(ad *netlink.AttributeDecoder, s *Stats, wide bool) {
	ad.Nested(func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			if p := s.field(ad.Type()); p == nil {
				continue
			} else if wide || p == &s.BytesIn || p == &s.BytesOut {
				*p = ad.Uint64()
			} else {
				*p = uint64(ad.Uint32())
			}
		}
		return ad.Err()
	})
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

func decodePort(ad *netlink.AttributeDecoder) uint16 {
	var p uint16
	ad.Do(func(b []byte) error {
		if len(b) != 2 {
			return fmt.Errorf("%w: a port of %d bytes", errForm, len(b))
		}
		p = binary.BigEndian.Uint16(b)
		return nil
	})
	return p
}

func decodeFlags(b []byte, f *pool.Flags) error {
	if len(b) != 8 {
		return fmt.Errorf("%w: flags of %d bytes", errForm, len(b))
	}
	*f = pool.Flags(binary.NativeEndian.Uint32(b)) & settableFlags
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
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return i, fmt.Errorf("decode the version: %w", err)
	}
	for ad.Next() {
		switch ad.Type() {
		case infoVersion: // NVERSION of net/ip_vs.h: a byte each
			v := ad.Uint32()
			i.Version = fmt.Sprintf("%d.%d.%d", v>>16&0xff, v>>8&0xff, v&0xff)
		case infoTableSize:
			i.ConnectionTable = ad.Uint32()
		}
	}
	if err := ad.Err(); err != nil {
		return Info{}, fmt.Errorf("decode the version: %w", err)
	}
	return i, nil
}
