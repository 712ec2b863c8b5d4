package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

func (w *ConflictWatch) open() error {
	if err := w.openARP(); err != nil {
		return err
	}
	err := w.openAdvertisements()
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil // no IPv6, no conflicts in it
	}
	if err != nil {
		return errors.Join(err, w.arp.Close())
	}
	return nil
}

func (w *ConflictWatch) openARP() error {
	ifi, err := lookup(w.ifname)
	if err != nil {
		return err
	}
	w.index = ifi.Index
	nothing, err := filterARP(w.index, nil)
	if err != nil {
		return err
	}
	conn, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_ARP, &packet.Config{Filter: nothing})
	if err != nil {
		return err
	}
	if w.arpRaw, err = conn.SyscallConn(); err == nil {
		err = w.lookAtMAC()
	}
	if err == nil {
		err = conn.SetReadDeadline(time.Now().Add(checkEvery))
	}
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	w.arp = conn
	return nil
}

// lookAtMAC asks for the interface's hardware address, which may change: a bond
// takes another when its first port leaves.
func (w *ConflictWatch) lookAtMAC() error {
	var mac net.HardwareAddr
	var err error
	closed := w.arpRaw.Control(func(fd uintptr) { mac, err = macOf(int(fd), w.ifname) })
	if err = errors.Join(closed, err); err != nil {
		return err
	}
	w.mac = [6]byte(mac)
	return nil
}

func (w *ConflictWatch) openAdvertisements() error {
	listen := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("SO_BINDTOIFINDEX", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, w.index))
		}), err)
	}}
	conn, err := listen.ListenPacket(context.Background(), "ip6:58", "::")
	if err != nil {
		return err
	}
	if err := w.configureAdvertisements(conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	w.nd = conn
	return nil
}

func (w *ConflictWatch) configureAdvertisements(conn net.PacketConn) error {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("the socket has no descriptor")
	}
	var err error
	if w.ndRaw, err = socket.SyscallConn(); err != nil {
		return err
	}
	nothing, err := filterAdvertisement(nil)
	if err != nil {
		return err
	}
	// The kernel looks at this one before it makes a copy of the packet for the
	// socket.
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeNeighborAdvertisement)
	p := ipv6.NewPacketConn(conn)
	if err := errors.Join(p.SetICMPFilter(&only), p.SetBPF(nothing), p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst, true)); err != nil {
		return err
	}
	// What came before the filters and the binding may be of any interface.
	m := message{buf: make([]byte, 1)}
	for m.errn == nil {
		if err := w.ndRaw.Control(func(fd uintptr) { m.receive(fd) }); err != nil {
			return err
		}
	}
	return nil
}

// setFilters makes the kernel's filters fit the addresses.
func (w *ConflictWatch) setFilters(addrs []netip.Addr) error {
	arp, err := filterARP(w.index, keys(addrs, IPv4))
	if err != nil {
		return err
	}
	nd, err := filterAdvertisement(keys(addrs, IPv6))
	if err != nil {
		return err
	}
	err = setFilter(w.arp, arp)
	if w.nd != nil {
		err = errors.Join(err, setFilter(ipv6.NewPacketConn(w.nd), nd))
	}
	return err
}

func setFilter(s interface {
	SetBPF(filter []bpf.RawInstruction) error
}, f []bpf.RawInstruction,
) error {
	err := s.SetBPF(f)
	if errors.Is(err, unix.EBADF) || errors.Is(err, os.ErrClosed) {
		return errors.Join(net.ErrClosed, err)
	}
	return err
}
