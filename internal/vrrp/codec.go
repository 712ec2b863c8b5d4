package vrrp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Bounds of [CodecOptions.Window]: the default is at least minDefaultWindow, and
// what keepalived takes for its time_window can be set.
const (
	minDefaultWindow = 5 * time.Second
	minWindow        = time.Second
	maxWindow        = 300 * time.Second
)

// CodecOptions say how the adverts of one virtual router are written and which
// ones are believed. They are plain data: another process that gets them as JSON
// can speak for the same router. The JSON holds the secrets.
type CodecOptions struct {
	VRID    uint8 // 1–255
	Version uint8 // 3 (RFC 9568) for IPv4 and IPv6, or 2 (RFC 3768) for IPv4

	// Interval is our own, between adverts: 10 ms–40.95 s in steps of 10 ms, in
	// version 2 whole seconds up to 255. Version 2 believes only adverts that have
	// the same.
	Interval time.Duration

	Checksum Checksum     // of version 3 over IPv4, as sent; both forms are believed
	Auth     Auth         // the password is for version 2, the keys for both
	Peers    []netip.Addr `json:",omitempty"` // unicast; empty: multicast

	// Window is by how much the time in an HMAC trailer may differ from our clock,
	// 1 s–300 s. 0: three intervals, but at least 5 s.
	Window time.Duration `json:",omitempty"`
}

// Codec writes and reads the packets of one virtual router on one path. It
// remembers which packets it has seen, so that none is believed twice, and
// numbers those that it writes; so it is not safe for concurrent use.
type Codec struct {
	vrid, version uint8
	units         uint16 // our interval as version 2 has it
	checksum      Checksum
	password      [authDataLen]byte
	authType      byte // of version 2: 0 or 1 (RFC 2338 section 5.3.6)
	unicast       bool

	// For the HMAC trailer.
	keys    []hmacKey
	window  time.Duration
	sent    sequence
	senders []sender // unicast: one for each peer; multicast: a few, used again
	clock   uint64   // counts what was believed, for the order in which senders are forgotten
	pseudo  [pseudoLen]byte
	sum     [32]byte
}

// NewCodec returns the codec of a virtual router. It fails on options that no
// peer could understand.
func NewCodec(o CodecOptions) (*Codec, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("VRRP adverts of virtual router id %d: %w", o.VRID, err)
	}
	c := &Codec{
		vrid: o.VRID, version: o.Version, checksum: o.Checksum,
		units: uint16(o.Interval / IntervalUnitV2), unicast: len(o.Peers) > 0,
		window: o.Window,
	}
	if c.window == 0 {
		c.window = max(3*o.Interval, minDefaultWindow)
	}
	if len(o.Auth.Password) > 0 {
		c.authType = authTypePassword
		copy(c.password[:], o.Auth.Password)
	}
	for _, k := range o.Auth.Keys {
		c.keys = append(c.keys, newHMACKey(k))
	}
	c.senders = make([]sender, multicastSenders)
	if c.unicast {
		c.senders = make([]sender, len(o.Peers))
		for i, p := range o.Peers {
			c.senders[i].addr = plain(p)
		}
	}
	return c, nil
}

func (o CodecOptions) check() error {
	if o.VRID == 0 {
		return errors.New("the id must be 1–255")
	}
	if o.Checksum > NoPseudoHeader {
		return fmt.Errorf("there is no form %d of the checksum", o.Checksum)
	}
	if o.Window != 0 && (o.Window < minWindow || o.Window > maxWindow) {
		return fmt.Errorf("window %v: it must be %v–%v, or 0 for three intervals", o.Window, minWindow, maxWindow)
	}
	return cmp.Or(o.checkInterval(), o.checkPeers(), o.Auth.check(o.Version))
}

func (o CodecOptions) checkInterval() error {
	unit, most := IntervalUnit, MaxInterval
	switch o.Version {
	case version2:
		unit, most = IntervalUnitV2, MaxIntervalV2
	case version3:
	default:
		return fmt.Errorf("version %d: there are 2 and 3", o.Version)
	}
	if o.Interval < unit || o.Interval > most || o.Interval%unit != 0 {
		return fmt.Errorf("interval %v: version %d has %v–%v in steps of %v", o.Interval, o.Version, unit, most, unit)
	}
	return nil
}

func (o CodecOptions) checkPeers() error {
	for _, p := range o.Peers {
		p := plain(p)
		switch {
		case !p.IsValid() || p.IsUnspecified() || p.IsMulticast():
			return fmt.Errorf("peer %v: it must be the address of one host", p)
		case p.Is4() != plain(o.Peers[0]).Is4():
			return fmt.Errorf("peer %v: it must be of the same family as %v", p, o.Peers[0])
		case o.Version == version2 && p.Is6():
			return fmt.Errorf("peer %v: version 2 is for IPv4 alone; use version 3", p)
		}
	}
	return nil
}

// knows reports whether a packet from src to dst is of a peer's. Multicast is of
// whoever is on the link.
func (c *Codec) knows(src, dst netip.Addr) bool {
	if !src.IsValid() || !dst.IsValid() || src.Is4() != dst.Is4() {
		return false
	}
	if !c.unicast {
		return dst.IsMulticast()
	}
	return !dst.IsMulticast() && c.sender(src) != nil
}

// plain makes one address out of the several that netip has for the same host: an
// IPv4 address mapped into IPv6 is one of IPv4, and the zone is our own affair.
func plain(a netip.Addr) netip.Addr {
	return a.Unmap().WithZone("")
}
