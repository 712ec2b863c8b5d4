package ipvs

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"

	moby "github.com/moby/ipvs"

	"baton/internal/pool"
)

// settableFlags are the service flags that a user may set. The others are the
// kernel's own (IP_VS_SVC_F_HASHED) or of a later kernel; they are neither
// compared nor written.
const settableFlags = pool.Persistent | pool.OnePacket | pool.Sched1 | pool.Sched2 | pool.Sched3

// command returns the kernel's command for a kind of change.
func (k OpKind) command() uint8 {
	switch k {
	case NewService:
		return cmdNewService
	case EditService:
		return cmdSetService
	case DelService:
		return cmdDelService
	case NewServer:
		return cmdNewDest
	case EditServer:
		return cmdSetDest
	case DelServer:
		return cmdDelDest
	}
	return 0
}

// encodeOp returns the attributes of a change.
//
// The kernel wants the full settings of what is made or edited and only the
// identity of what is deleted or merely named (need_full_svc and need_full_dest
// in ip_vs_genl_set_cmd).
func encodeOp(op Op) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Nested(attrService, func(ae *netlink.AttributeEncoder) error {
		encodeKey(ae, op.Service.Key)
		if op.Kind == NewService || op.Kind == EditService {
			encodeSettings(ae, op.Service)
		}
		return nil
	})
	if op.Kind.ofServer() {
		ae.Nested(attrDest, func(ae *netlink.AttributeEncoder) error {
			encodeServerKey(ae, op.Server)
			if op.Kind != DelServer {
				encodeServer(ae, op.Server)
			}
			return nil
		})
	}
	return ae.Encode()
}

// encodeService returns the attributes that name a service in a request for its
// destinations.
func encodeService(k pool.Key) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Nested(attrService, func(ae *netlink.AttributeEncoder) error {
		encodeKey(ae, k)
		return nil
	})
	return ae.Encode()
}

func encodeKey(ae *netlink.AttributeEncoder, k pool.Key) {
	ae.Uint16(svcFamily, family(k.IPv6))
	if k.FWMark != 0 {
		ae.Uint32(svcFWMark, k.FWMark)
		return
	}
	ae.Uint16(svcProtocol, uint16(k.Protocol))
	ae.Bytes(svcAddress, addressBytes(k.Address))
	ae.Bytes(svcPort, portBytes(k.Port))
}

func encodeSettings(ae *netlink.AttributeEncoder, v pool.VirtualService) {
	ae.Bytes(svcScheduler, nlenc.Bytes(v.Scheduler))
	if v.PersistenceEngine != "" {
		ae.Bytes(svcEngine, nlenc.Bytes(v.PersistenceEngine))
	}
	// The mask keeps the bits that are not ours as they are, so an edit does
	// not clear IP_VS_SVC_F_HASHED or a flag that a later kernel may add.
	flags := make([]byte, 8)
	binary.NativeEndian.PutUint32(flags, uint32(v.Flags&settableFlags))
	binary.NativeEndian.PutUint32(flags[4:], uint32(settableFlags))
	ae.Bytes(svcFlags, flags)
	ae.Uint32(svcTimeout, v.PersistenceSeconds)
	ae.Uint32(svcNetmask, maskOf(v.PersistencePrefix, v.IPv6))
}

func encodeServerKey(ae *netlink.AttributeEncoder, s pool.RealServer) {
	// The family is always sent. Without it the kernel takes the service's and
	// reads an address of the other family wrong, which is D4 of moby/ipvs.
	ae.Uint16(destFamily, family(s.Address.Is6()))
	ae.Bytes(destAddress, addressBytes(s.Address))
	ae.Bytes(destPort, portBytes(s.Port))
}

func encodeServer(ae *netlink.AttributeEncoder, s pool.RealServer) {
	ae.Uint32(destForward, forwardBits(s.Forward))
	ae.Uint32(destWeight, s.Weight)
	ae.Uint32(destUpper, s.Upper)
	ae.Uint32(destLower, s.Lower)
	ae.Uint8(destTunnelType, uint8(s.Tunnel.Type))
	ae.Bytes(destTunnelPort, portBytes(s.Tunnel.Port))
	ae.Uint16(destTunnelFlags, s.Tunnel.Flags)
}

func family(ipv6 bool) uint16 {
	if ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// addressBytes returns an address as the kernel's union nf_inet_addr: 16 bytes,
// an IPv4 address in the first four.
func addressBytes(a netip.Addr) []byte {
	b := make([]byte, 16)
	copy(b, a.AsSlice())
	return b
}

func portBytes(p uint16) []byte { return binary.BigEndian.AppendUint16(nil, p) }

// maskOf returns a prefix length as the kernel's netmask attribute: for IPv4 the
// mask's four bytes in network order, for IPv6 the length itself. moby/ipvs
// passes a bare number for either and leaves this to its user (D7).
func maskOf(prefix uint8, ipv6 bool) uint32 {
	if ipv6 {
		return uint32(prefix)
	}
	mask := uint32(0)
	if prefix > 0 {
		mask = ^uint32(0) << (32 - min(prefix, 32))
	}
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, mask))
}

func forwardBits(f pool.Forward) uint32 {
	switch f {
	case pool.DR:
		return moby.ConnFwdDirectRoute
	case pool.TUN:
		return moby.ConnFwdTunnel
	case pool.Local:
		return moby.ConnFwdLocalNode
	}
	return moby.ConnFwdMasq
}
