package wire

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The state of an interface is asked for by ioctl on the very socket in use: one
// system call, no dump of all interfaces, and always the network namespace of
// the socket.

// indexOf returns the index of the interface that has the name now.
func indexOf(fd int, name string) (int, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("%q cannot be an interface's name: %w", name, err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		return 0, os.NewSyscallError("SIOCGIFINDEX", err)
	}
	return int(r.Uint32()), nil
}

// lookup finds an interface, before there is a socket to ask on. Unlike
// [net.InterfaceByName] it does not dump all interfaces, and its error tells
// that there is none (ENODEV).
func lookup(name string) (*net.Interface, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	index, err := indexOf(fd, name)
	if err != nil {
		return nil, err
	}
	return &net.Interface{Index: index, Name: name}, nil
}

// isUp reports whether the interface is administratively up.
func isUp(fd int, name string) (bool, error) {
	r, err := unix.NewIfreq(name)
	if err != nil {
		return false, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
		return false, os.NewSyscallError("SIOCGIFFLAGS", err)
	}
	return r.Uint16()&unix.IFF_UP != 0, nil
}

// hardware is the kernel's struct ifreq with a hardware address; unix.Ifreq has
// no access to that member.
type hardware struct {
	name   [unix.IFNAMSIZ]byte
	family uint16 // ARPHRD_*
	addr   [14]byte
	_      [8]byte // the union is longer than a sockaddr
}

// macOf returns the Ethernet address of an interface.
func macOf(fd int, name string) (net.HardwareAddr, error) {
	var r hardware
	copy(r.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFHWADDR, uintptr(unsafe.Pointer(&r))) //nolint:gosec // the kernel's own layout
	if errno != 0 {
		return nil, os.NewSyscallError("SIOCGIFHWADDR", errno)
	}
	if r.family != unix.ARPHRD_ETHER {
		return nil, fmt.Errorf("the interface is no Ethernet (hardware type %d): it has no neighbours to tell", r.family)
	}
	return net.HardwareAddr(append([]byte(nil), r.addr[:6]...)), nil
}

// check says why a socket that was opened on an interface does not work, or nil.
func check(c syscall.RawConn, name string, index int) error {
	var err error
	closed := c.Control(func(fd uintptr) {
		now, missing := indexOf(int(fd), name)
		if missing != nil || now != index {
			err = ErrInterfaceGone
			return
		}
		if up, flags := isUp(int(fd), name); flags == nil && !up {
			err = ErrInterfaceDown
		}
	})
	if closed != nil {
		return closed
	}
	return err
}
