package network

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// filterRoutes lets only those reports of routes into a netlink socket that carry
// our mark. On a router with the routes of the whole internet hundreds may change
// in a second, and a peer that goes down changes a million at once: reading them
// all would take the time for adverts. All other reports come through.
//
// The kernel runs the filter on the message that it is about to queue, which is
// one struct nlmsghdr and its body. Classic BPF loads in network byte order, and
// netlink has the host's.
func filterRoutes(fd int) error {
	const (
		typeAt     = 4                       // nlmsg_type
		protocolAt = unix.SizeofNlMsghdr + 5 // rtm_protocol
		all        = 1<<32 - 1               // bytes of the message
	)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: typeAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: networkOrder(unix.RTM_NEWROUTE), Jt: 1},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: networkOrder(unix.RTM_DELROUTE), Jf: 2},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: protocolAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: Protocol, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: all},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // seven
	return os.NewSyscallError("setsockopt SO_ATTACH_FILTER",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog))
}

// networkOrder returns what loading a number of the host's byte order yields.
func networkOrder(v uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, v)))
}
