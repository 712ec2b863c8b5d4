package wire

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// mostCompared is how many addresses a filter compares in the kernel. With more,
// all packets of the kind come up and are compared there. A socket may hold
// net.core.optmem_max bytes of filters, the old and the new one at the change:
// 20 KiB on older kernels, and an address takes some 40 bytes.
const mostCompared = 64

// filter is a classic BPF program in the making.
type filter []bpf.Instruction

// require drops the packet unless the last loaded value compares to v.
func (f filter) require(how bpf.JumpTest, v uint32) filter {
	return append(f, bpf.JumpIf{Cond: how, Val: v, SkipTrue: 1}, bpf.RetConstant{Val: 0})
}

// accept lets the packet through when the last loaded value is among the keys.
func (f filter) accept(keys []uint32) filter {
	const whole = 1 << 16
	if len(keys) > mostCompared {
		return append(f, bpf.RetConstant{Val: whole})
	}
	for _, k := range keys {
		f = append(f, bpf.JumpIf{Cond: bpf.JumpEqual, Val: k, SkipFalse: 1}, bpf.RetConstant{Val: whole})
	}
	return append(f, bpf.RetConstant{Val: 0})
}

// filterARP keeps away what does not claim one of the addresses. It is for a
// packet socket without Ethernet header (SOCK_DGRAM) that is bound to ETH_P_ARP.
//
// Such a socket is also given what the interface's VLANs, and its macvlans, take
// for themselves, with the tag removed; the index tells them apart. A frame of a
// VLAN that has no interface here is marked as one for another host. The loads
// fail, and drop the packet, where it is too short.
func filterARP(index int, senders []uint32) ([]bpf.RawInstruction, error) {
	f := filter{bpf.LoadExtension{Num: bpf.ExtType}}.
		require(bpf.JumpLessThan, unix.PACKET_OTHERHOST) // to us, to all, or to a group
	f = append(f, bpf.LoadExtension{Num: bpf.ExtInterfaceIndex}).
		require(bpf.JumpEqual, uint32(index)) //nolint:gosec // an index is positive
	f = append(f, bpf.LoadAbsolute{Off: 2, Size: 2}).require(bpf.JumpEqual, unix.ETH_P_IP)
	f = append(f, bpf.LoadAbsolute{Off: 4, Size: 2}).require(bpf.JumpEqual, 6<<8|4)
	f = append(f, bpf.LoadAbsolute{Off: offsetARPSender, Size: 4}).require(bpf.JumpNotEqual, 0)
	return bpf.Assemble(f.accept(senders))
}

// filterAdvertisement does the same for a raw ICMPv6 socket. It compares the low
// 32 bits of the target.
func filterAdvertisement(targets []uint32) ([]bpf.RawInstruction, error) {
	f := filter{bpf.LoadAbsolute{Off: 0, Size: 1}}.require(bpf.JumpEqual, typeAdvertisement)
	f = append(f, bpf.LoadAbsolute{Off: offsetNATarget + 12, Size: 4})
	return bpf.Assemble(f.accept(targets))
}

// keys returns what the filters compare of the addresses of a family.
func keys(addrs []netip.Addr, f Family) []uint32 {
	var out []uint32
	for _, a := range addrs {
		if FamilyOf(a) == f {
			b := a.As16()
			out = append(out, binary.BigEndian.Uint32(b[12:]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
