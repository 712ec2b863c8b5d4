package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// events is a socket for the kernel's reports of interfaces, addresses, routes and
// rules: one for all, so that they come in the order in which they happened. It is
// made when the manager is, in its network namespace, and listens only while
// someone watches. The library's subscriptions cannot be used for this: they end
// at the first overflow, and mix up the order of the kinds.
type events struct {
	file *os.File
	raw  syscall.RawConn
	buf  []byte
}

// eventQueue is the room for reports not yet read: some thousands.
const eventQueue = 8 << 20

// eventGroups are the multicast groups of rtnetlink that are listened to.
var eventGroups = []int{
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE,
}

func openEvents() (*events, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	e := &events{file: os.NewFile(uintptr(fd), "rtnetlink"), buf: make([]byte, 64<<10)} //nolint:gosec // a descriptor
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), e.file.Close())
	}
	if err := filterRoutes(fd); err != nil {
		return nil, errors.Join(err, e.file.Close())
	}
	e.queue(fd, eventQueue)
	if e.raw, err = e.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, e.file.Close())
	}
	return e, nil
}

// queue sets the size of the queue. A smaller one works, with more resyncs.
func (e *events) queue(fd, size int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size)
	}
}

// listen begins or ends to take reports.
func (e *events) listen(on bool) error {
	option := unix.NETLINK_DROP_MEMBERSHIP
	if on {
		option = unix.NETLINK_ADD_MEMBERSHIP
	}
	var errs []error
	err := e.raw.Control(func(fd uintptr) {
		for _, group := range eventGroups {
			errs = append(errs, os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, option, group)))
		}
	})
	return errors.Join(append(errs, err, e.file.SetReadDeadline(time.Time{}))...)
}

// errOverflow means that reports were lost.
var errOverflow = errors.New("reports were lost")

// next waits for reports. The result is valid until the next call.
func (e *events) next() ([]syscall.NetlinkMessage, error) {
	for {
		n, flags, from, err := 0, 0, unix.Sockaddr(nil), error(nil)
		waited := e.raw.Read(func(fd uintptr) bool {
			n, _, flags, from, err = unix.Recvmsg(int(fd), e.buf, nil, unix.MSG_DONTWAIT)
			return !errors.Is(err, unix.EAGAIN)
		})
		switch {
		case waited != nil:
			return nil, waited
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS), flags&unix.MSG_TRUNC != 0:
			return nil, errOverflow
		case err != nil:
			return nil, os.NewSyscallError("recvmsg", err)
		}
		// Only the kernel is believed: a process may send to this socket, too.
		if k, ok := from.(*unix.SockaddrNetlink); !ok || k.Pid != nl.PidKernel {
			continue
		}
		messages, err := syscall.ParseNetlinkMessage(e.buf[:n])
		if err != nil {
			return nil, errOverflow
		}
		return messages, nil
	}
}

// discard throws away what is queued.
func (e *events) discard() {
	const bound = 1 << 17 // whatever keeps coming in is for the next round
	_ = e.raw.Control(func(fd uintptr) {
		for range bound {
			if _, _, err := unix.Recvfrom(int(fd), e.buf, unix.MSG_DONTWAIT); errors.Is(err, unix.EAGAIN) {
				return
			}
		}
	})
}

// knownLink is what Watch remembers of an interface.
type knownLink struct {
	name string
	up   bool
	mac  [6]byte
}

// parseLink reads a report of an interface. ok is false for a report that is not
// about the interface as such: of a bridge's port, for one, whose end is
// reported as RTM_DELLINK as well.
func parseLink(data []byte) (index int, l knownLink, ok bool) {
	if len(data) < unix.SizeofIfInfomsg {
		return 0, knownLink{}, false
	}
	head := nl.DeserializeIfInfomsg(data)
	if head.Family != unix.AF_UNSPEC {
		return 0, knownLink{}, false
	}
	l.up = isUp(head.Flags)
	for kind, value := range attributes(data[unix.SizeofIfInfomsg:]) {
		switch kind {
		case unix.IFLA_IFNAME:
			l.name = unix.ByteSliceToString(value)
		case unix.IFLA_ADDRESS:
			copy(l.mac[:], value)
		}
	}
	return int(head.Index), l, l.name != ""
}

// parseAddress reads a report of an address.
func parseAddress(data []byte) (index int, p present, ok bool) {
	if len(data) < unix.SizeofIfAddrmsg {
		return 0, present{}, false
	}
	head := nl.DeserializeIfAddrmsg(data)
	a := netlink.Addr{Flags: int(head.Flags)}
	var local, address []byte
	for kind, value := range attributes(data[unix.SizeofIfAddrmsg:]) {
		switch kind {
		case unix.IFA_LOCAL:
			local = value
		case unix.IFA_ADDRESS:
			address = value // the other end, where there is one
		case unix.IFA_FLAGS:
			a.Flags = int(number(value))
		case netlink.IFA_PROTO:
			if len(value) >= 1 {
				a.Protocol = int(value[0])
			}
		}
	}
	if local == nil {
		local = address
	}
	bits := int(head.Prefixlen)
	if address != nil && string(local) != string(address) {
		bits = 8 * len(local) // as the library has it: the prefix length is the other end's
	}
	if _, valid := netip.AddrFromSlice(local); !valid {
		return 0, present{}, false
	}
	a.IPNet = &net.IPNet{IP: local, Mask: net.CIDRMask(bits, 8*len(local))}
	p, ok = presentAddress(&a)
	return int(head.Index), p, ok
}
