package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
)

// Announcer tells the neighbours on one interface which hardware address an IP
// address is at: the interface's own.
type Announcer struct {
	ifname string
	conn   *packet.Conn
}

// OpenAnnouncer opens a packet socket that sends on the interface and receives
// nothing. It needs CAP_NET_RAW.
func OpenAnnouncer(ifname string) (*Announcer, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("announce addresses: interface %s: %w", ifname, err)
	}
	const receiveNothing = 0
	conn, err := packet.Listen(ifi, packet.Raw, receiveNothing, nil)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("announce addresses on %s: %w: run baton as root, or give it CAP_NET_RAW", ifname, err)
	}
	if err != nil {
		return nil, fmt.Errorf("announce addresses on %s: %w", ifname, err)
	}
	return &Announcer{ifname: ifname, conn: conn}, nil
}

// Announce sends, for an IPv4 address, gratuitous ARP as a request and as a
// reply (RFC 5227 section 3; some neighbours learn from only one of them), and
// for an IPv6 address an unsolicited neighbour advertisement (RFC 4861 section
// 7.2.6).
func (a *Announcer) Announce(addr netip.Addr) error {
	// The address is asked for every time: it may have been changed.
	ifi, err := net.InterfaceByName(a.ifname)
	if err != nil {
		return fmt.Errorf("announce %s on %s: %w", addr, a.ifname, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return fmt.Errorf("announce %s on %s: the interface has no Ethernet address", addr, a.ifname)
	}
	frames, err := announcement(ifi.HardwareAddr, addr)
	if err != nil {
		return fmt.Errorf("announce %s on %s: %w", addr, a.ifname, err)
	}
	for _, f := range frames {
		if _, err := a.conn.WriteTo(f, &packet.Addr{HardwareAddr: net.HardwareAddr(f[:6])}); err != nil {
			return fmt.Errorf("announce %s on %s: %w", addr, a.ifname, err)
		}
	}
	return nil
}

// Close closes the socket.
func (a *Announcer) Close() error { return a.conn.Close() }

// announcement returns the Ethernet frames that tell that addr is at mac.
func announcement(mac net.HardwareAddr, addr netip.Addr) ([][]byte, error) {
	if addr.Is6() {
		return [][]byte{neighbourAdvertisement(mac, addr)}, nil
	}
	request, err := gratuitousARP(arp.OperationRequest, mac, addr)
	if err != nil {
		return nil, err
	}
	reply, err := gratuitousARP(arp.OperationReply, mac, addr)
	if err != nil {
		return nil, err
	}
	return [][]byte{request, reply}, nil
}

func gratuitousARP(op arp.Operation, mac net.HardwareAddr, addr netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(op, mac, addr, ethernet.Broadcast, addr)
	if err != nil {
		return nil, err
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	frame := ethernet.Frame{
		Destination: ethernet.Broadcast, Source: mac, EtherType: ethernet.EtherTypeARP, Payload: body,
	}
	return frame.MarshalBinary()
}

const (
	protocolICMPv6 = 58
	typeNA         = 136
	flagOverride   = 0x20
	optionTarget   = 2 // target link-layer address
	lenNA          = 32
	lenIPv6        = 40
)

// neighbourAdvertisement builds the whole frame, because the kernel would refuse
// to send from an address that it still regards as tentative.
func neighbourAdvertisement(mac net.HardwareAddr, addr netip.Addr) []byte {
	allNodes := netip.MustParseAddr("ff02::1")
	src, dst := addr.As16(), allNodes.As16()

	na := make([]byte, 0, lenNA)
	na = append(na, typeNA, 0, 0, 0, flagOverride, 0, 0, 0)
	na = append(na, src[:]...)
	na = append(na, optionTarget, 1)
	na = append(na, mac...)
	binary.BigEndian.PutUint16(na[2:], checksumICMPv6(src, dst, na))

	ip := make([]byte, 0, lenIPv6)
	ip = append(ip, 6<<4, 0, 0, 0)
	ip = binary.BigEndian.AppendUint16(ip, uint16(len(na)))
	ip = append(ip, protocolICMPv6, ttlVRRP)
	ip = append(append(ip, src[:]...), dst[:]...)

	frame := append([]byte{0x33, 0x33, 0, 0, 0, 1}, mac...) // RFC 2464 section 7
	frame = binary.BigEndian.AppendUint16(frame, uint16(ethernet.EtherTypeIPv6))
	return append(append(frame, ip...), na...)
}

// checksumICMPv6 is RFC 4443 section 2.3 over a message of even length.
func checksumICMPv6(src, dst [16]byte, msg []byte) uint16 {
	sum := uint32(len(msg)) + protocolICMPv6
	for _, part := range [][]byte{src[:], dst[:], msg} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
