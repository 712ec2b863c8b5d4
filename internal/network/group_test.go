package network

import (
	"net"

	"golang.org/x/net/ipv4"
)

func joinGroup(conn net.PacketConn, group, ifname string) error {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return err
	}
	return ipv4.NewPacketConn(conn).JoinGroup(ifi, &net.UDPAddr{IP: net.ParseIP(group)})
}
