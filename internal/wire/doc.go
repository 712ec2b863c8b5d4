// Package wire carries raw packets in and out of an interface: VRRP adverts,
// gratuitous ARP and unsolicited neighbour advertisements, and other hosts'
// claims to addresses of ours. It knows bytes and addresses, and nothing of what
// an advert means.
//
// A socket belongs to the interface that it was opened on, not to whatever has
// the same name later: an interface that was removed and made again needs new
// sockets, which [ErrInterfaceGone] says.
package wire
