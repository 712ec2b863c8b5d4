package speaker

import (
	"fmt"
	"hash/fnv"
	"slices"

	"baton/internal/network"
)

// announcement is an address and how its neighbours are told of it.
type announcement struct {
	address network.Address
	on      string   // interface that the frames leave by
	mac     *[6]byte // nil: the interface's own
}

// state is what the router wants of the kernel while it is master.
func (r *router) state() held {
	h := held{state: network.State{
		Routes: r.spec.Routes, Rules: r.spec.Rules, Lease: r.spec.Lease,
	}}
	for _, a := range slices.Concat(r.spec.Addresses, r.spec.Extra) {
		say := announcement{on: a.Interface}
		if r.spec.VirtualMAC && a.Interface == r.spec.Interface {
			link := r.virtualLink()
			h.state.Link = &link
			a.Interface = link.Name
			say.mac = &link.MAC
		}
		say.address = a
		h.state.Addresses = append(h.state.Addresses, a)
		h.announce = append(h.announce, say)
	}
	return h
}

// held is what a router has while it is master.
type held struct {
	state    network.State
	announce []announcement
}

// virtualLink is the interface with the virtual router's own hardware address
// (RFC 9568 section 7.3).
func (r *router) virtualLink() network.VirtualLink {
	mac := [6]byte{0x00, 0x00, 0x5e, 0x00, 0x01, r.spec.ID}
	kind := "v4"
	if r.spec.IPv6() {
		mac[4], kind = 0x02, "v6"
	}
	return network.VirtualLink{
		Name:   linkName(fmt.Sprintf("%s.%d.%s", kind, r.spec.ID, r.spec.Interface)),
		Parent: r.spec.Interface, MAC: mac,
	}
}

// linkName shortens a name to what the kernel takes; the end of a longer one
// becomes a sum of the whole, so that two do not become one.
func linkName(name string) string {
	const most, sum = 15, 3
	if len(name) <= most {
		return name
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return name[:most-sum] + fmt.Sprintf("%0*x", sum, h.Sum32()&0xfff)
}
