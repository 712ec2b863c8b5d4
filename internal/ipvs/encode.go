package ipvs

import (
	"encoding/binary"
	"net/netip"
	"time"

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
func encodeOp(op Op) []byte {
	w := make(writer, 0, 192)
	w.op(op)
	return w
}

func (w *writer) op(op Op) {
	w.nested(attrService, func() {
		w.key(op.Service.Key)
		if op.Kind == NewService || op.Kind == EditService {
			w.settings(op.Service)
		}
	})
	if op.Kind.ofServer() {
		w.nested(attrDest, func() {
			w.serverKey(op.Server)
			if op.Kind != DelServer {
				w.server(op.Server)
			}
		})
	}
}

// encodeService returns the attributes that name a service in a request for its
// destinations.
func encodeService(k pool.Key) []byte {
	w := make(writer, 0, 64)
	w.nested(attrService, func() { w.key(k) })
	return w
}

func encodeTimeouts(t Timeouts) []byte {
	var w writer
	w.u32(attrTimeoutTCP, uint32(t.TCP/time.Second))
	w.u32(attrTimeoutTCPFin, uint32(t.TCPFin/time.Second))
	w.u32(attrTimeoutUDP, uint32(t.UDP/time.Second))
	return w
}

func (w *writer) key(k pool.Key) {
	w.u16(svcFamily, family(k.IPv6))
	if k.FWMark != 0 {
		w.u32(svcFWMark, k.FWMark)
		return
	}
	w.u16(svcProtocol, uint16(k.Protocol))
	w.address(svcAddress, k.Address)
	w.be16(svcPort, k.Port)
}

func (w *writer) settings(v pool.VirtualService) {
	w.text(svcScheduler, v.Scheduler)
	if v.PersistenceEngine != "" {
		w.text(svcEngine, v.PersistenceEngine)
	}
	// The mask keeps the bits that are not ours as they are, so an edit does
	// not clear IP_VS_SVC_F_HASHED or a flag that a later kernel may add.
	w.header(svcFlags, 8)
	*w = binary.NativeEndian.AppendUint32(*w, uint32(v.Flags&settableFlags))
	*w = binary.NativeEndian.AppendUint32(*w, uint32(settableFlags))
	w.u32(svcTimeout, v.PersistenceSeconds)
	w.u32(svcNetmask, maskOf(v.PersistencePrefix, v.IPv6))
}

func (w *writer) serverKey(s pool.RealServer) {
	// The family is always sent. Without it the kernel takes the service's and
	// reads an address of the other family wrong, which is D4 of moby/ipvs.
	w.u16(destFamily, family(s.Address.Is6()))
	w.address(destAddress, s.Address)
	w.be16(destPort, s.Port)
}

// server writes all settings, also those of tunnels that moby/ipvs does not know:
// the kernel takes what is left out of an edit for zero.
func (w *writer) server(s pool.RealServer) {
	w.u32(destForward, forwardBits(s.Forward))
	w.u32(destWeight, s.Weight)
	w.u32(destUpper, s.Upper)
	w.u32(destLower, s.Lower)
	w.u8(destTunnelType, uint8(s.Tunnel.Type))
	w.be16(destTunnelPort, s.Tunnel.Port)
	w.u16(destTunnelFlags, s.Tunnel.Flags)
}

// address writes an address as the kernel's union nf_inet_addr: 16 bytes, an
// IPv4 address in the first four.
func (w *writer) address(typ uint16, a netip.Addr) {
	var b [16]byte
	if a.Is4() {
		b4 := a.As4()
		copy(b[:], b4[:])
	} else if a.IsValid() {
		b = a.As16()
	}
	w.bytes(typ, b[:])
}

func family(ipv6 bool) uint16 {
	if ipv6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

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
