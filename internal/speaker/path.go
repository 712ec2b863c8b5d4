package speaker

import (
	"fmt"
	"net/netip"
	"slices"

	"baton/internal/vrrp"
	"baton/internal/wire"
)

// path is one of the ways that a router's adverts go and come: the first one on
// its own interface, others for heartbeats.
type path struct {
	iface  *iface
	want   netip.Addr   // the source that is configured; invalid: none
	peers  []netip.Addr // empty: multicast
	source netip.Addr   // of our adverts; invalid: not known yet
	// problem is why no adverts go this way; empty: they do.
	problem  string
	sendFail string

	options vrrp.CodecOptions
	codec   *vrrp.Codec // nil: the options are no good
}

// makePaths makes the paths of a specification; those that are the same as
// before keep what they know.
func (r *router) makePaths() {
	old := r.paths
	r.paths = []*path{{iface: r.s.ifaceOf(r.spec.Interface), want: r.spec.Source, peers: r.spec.Peers}}
	for _, h := range r.spec.Heartbeats {
		r.paths = append(r.paths, &path{iface: r.s.ifaceOf(h.Interface), want: h.Source, peers: h.Peers})
	}
	r.broken = ""
	for i, p := range r.paths {
		p.options = vrrp.CodecOptions{
			VRID: r.spec.ID, Version: r.spec.Version, Interval: r.spec.Interval,
			Checksum: r.spec.Checksum, Auth: r.spec.Auth, Peers: p.peers,
		}
		r.makeCodec(p)
		if i < len(old) && p.same(old[i]) {
			p.source, p.problem, p.sendFail = old[i].source, old[i].problem, old[i].sendFail
			if p.codec != nil && old[i].codec != nil {
				p.codec.Inherit(old[i].codec) // whom it heard, against replays
			}
		}
	}
}

func (p *path) same(o *path) bool {
	return o.iface == p.iface && o.want == p.want && slices.Equal(o.peers, p.peers)
}

func (r *router) makeCodec(p *path) {
	codec, err := vrrp.NewCodec(p.options)
	if err != nil {
		r.broken = fmt.Sprintf("adverts cannot be written: %v", err)
		return
	}
	p.codec = codec
}

// look sees whether adverts can go this way, and from which source.
func (r *router) look(p *path) string {
	switch {
	case p.iface.problem != "":
		return p.iface.problem
	case p.iface.socket(r.family()).problem != "":
		return p.iface.socket(r.family()).problem
	}
	return r.findSource(p)
}

// findSource sets the source of our adverts, or returns why there is none.
func (r *router) findSource(p *path) string {
	switch {
	case p.want.IsValid() && !p.iface.has(p.want):
		return fmt.Sprintf("the source address %s is not on interface %s yet", p.want, p.iface.name)
	case p.want.IsValid():
		p.source = p.want
		return ""
	case p.source.IsValid() && p.iface.has(p.source) && !r.s.vips[p.source]:
		return ""
	}
	source, ok := p.iface.primary(r.family(), p.peers, r.s.vips)
	if !ok {
		kind := "IPv4 address"
		if r.family() == wire.IPv6 {
			kind = "IPv6 address (link-local, and not tentative)"
		}
		return fmt.Sprintf("interface %s has no %s of its own to send adverts from: give it one", p.iface.name, kind)
	}
	p.source = source
	return ""
}

// pathOf returns the path that a packet came by, or -1.
func (r *router) pathOf(i *iface, pkt *wire.Packet) int {
	multicast := pkt.Dest.IsMulticast()
	for n, p := range r.paths {
		if p.iface == i && (len(p.peers) == 0) == multicast {
			return n
		}
	}
	return -1
}

// family is that of the router's adverts.
func (r *router) family() wire.Family {
	if r.spec.IPv6() {
		return wire.IPv6
	}
	return wire.IPv4
}

// eachDest calls f with every destination of a path.
func (r *router) eachDest(p *path, f func(netip.Addr)) {
	if len(p.peers) == 0 {
		f(wire.Group(r.family()))
		return
	}
	for _, peer := range p.peers {
		f(peer)
	}
}
