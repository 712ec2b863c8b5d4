// Package wire carries raw packets in and out of an interface: VRRP adverts,
// gratuitous ARP and unsolicited neighbour advertisements.
package wire
