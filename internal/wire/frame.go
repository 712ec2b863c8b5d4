package wire

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"golang.org/x/net/ipv6"
)

// gratuitousARP returns the two frames that tell that addr is at mac.
func gratuitousARP(mac net.HardwareAddr, addr netip.Addr) ([][]byte, error) {
	// In a request the target hardware address means nothing and should be zero
	// (RFC 5227 section 2.1.1).
	request, err := arpFrame(arp.OperationRequest, mac, addr, make(net.HardwareAddr, 6))
	if err != nil {
		return nil, err
	}
	// In a reply it is the sender's own (RFC 5944 section 4.6); Linux takes a reply
	// for gratuitous only then.
	reply, err := arpFrame(arp.OperationReply, mac, addr, mac)
	if err != nil {
		return nil, err
	}
	return [][]byte{request, reply}, nil
}

func arpFrame(op arp.Operation, mac net.HardwareAddr, addr netip.Addr, target net.HardwareAddr) ([]byte, error) {
	p, err := arp.NewPacket(op, mac, addr, target, addr)
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
	protocolICMPv6    = 58
	typeAdvertisement = 136  // RFC 4861 section 4.4
	flagRouter        = 0x80 // "
	flagOverride      = 0x20 // "
	optionTargetLink  = 2    // RFC 4861 section 4.6.1
	hopLimit          = 255  // RFC 4861 section 7.1.2: others are not believed
	sizeAdvertisement = 32   // with the option
)

// neighbourAdvertisement returns the frame that tells that addr is at mac. It is
// built down to the Ethernet header, because through an ICMPv6 socket the kernel
// would not send from an address that is tentative or not there yet, nor from
// another hardware address.
func neighbourAdvertisement(mac net.HardwareAddr, addr netip.Addr, router bool) []byte {
	src, dst := addr.As16(), [16]byte{0: 0xff, 1: 0x02, 15: 0x01} // ff02::1, all nodes
	flags := byte(flagOverride)
	if router {
		flags |= flagRouter
	}
	b := make([]byte, 0, 14+ipv6.HeaderLen+sizeAdvertisement)

	b = append(b, 0x33, 0x33, dst[12], dst[13], dst[14], dst[15]) // RFC 2464 section 7
	b = append(b, mac...)
	b = binary.BigEndian.AppendUint16(b, uint16(ethernet.EtherTypeIPv6))

	b = append(b, ipv6.Version<<4, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, sizeAdvertisement)
	b = append(b, protocolICMPv6, hopLimit)
	b = append(append(b, src[:]...), dst[:]...)

	start := len(b)
	b = append(b, typeAdvertisement, 0, 0, 0, flags, 0, 0, 0)
	b = append(b, src[:]...)
	b = append(b, optionTargetLink, 1) // of one unit of 8 bytes
	b = append(b, mac...)
	binary.BigEndian.PutUint16(b[start+2:], checksumICMPv6(src, dst, b[start:]))
	return b
}
