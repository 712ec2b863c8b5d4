package network

import (
	"fmt"
	"net/netip"
	"slices"
)

// ChangeKind is the kind of a [Change].
type ChangeKind uint8

// The kinds of change.
const (
	// Resync: everything has to be looked at. It comes first of all, and after each
	// time that changes may have been missed.
	Resync ChangeKind = iota
	// LinkUp: an interface came up, with a carrier.
	LinkUp
	// LinkDown: an interface went down, lost its carrier, or came into being
	// without one.
	LinkDown
	// LinkGone: no interface has this name any more. Its addresses are reported as
	// removed before.
	LinkGone
	// LinkRenamed: an interface has got another name. A LinkGone of the old one has
	// come before.
	LinkRenamed
	// LinkChanged: an interface has got another hardware address.
	LinkChanged
	// AddressAdded: an address can be used from now on.
	AddressAdded
	// AddressRemoved: an address cannot be used any more.
	AddressRemoved
	// RouteRemoved: a route with our mark is there no more. Prefix is where it led.
	RouteRemoved
	// RuleRemoved: a rule with our mark is there no more.
	RuleRemoved
)

var kindNames = [...]string{
	"resync", "link up", "link down", "link gone", "link renamed", "link changed", "address added", "address removed",
	"route removed", "rule removed",
	"route removed", "rule removed",
}

// String names the kind.
func (k ChangeKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("change %d", k)
}

// Change is something that happened to an interface, an address, a route or a rule.
type Change struct {
	Kind      ChangeKind
	Interface string
	Index     int
	OldName   string       // of a renamed interface
	Prefix    netip.Prefix // of an address
	Ours      bool         // the address carries our mark
	Route     Route        // that was removed
	Rule      Rule         // that was removed
}

// String describes the change in one line.
func (c Change) String() string {
	s := c.Kind.String()
	if c.Interface != "" && c.Kind != RouteRemoved {
		s += " " + c.Interface
	}
	if c.OldName != "" {
		s += " (was " + c.OldName + ")"
	}
	if c.Prefix.IsValid() {
		s += " " + c.Prefix.String()
	}
	switch {
	case c.Ours:
		s += " (ours)"
	case c.Kind == RouteRemoved:
		s += " " + c.Route.String()
	case c.Kind == RuleRemoved:
		s += " " + c.Rule.String()
	}
	return s
}

// Lost reports whether a change took away something that the state has, so that
// it should be set again. A [Resync] tells nothing of that.
func (s State) Lost(c Change) bool {
	switch c.Kind {
	case AddressRemoved:
		return slices.ContainsFunc(s.Addresses, func(a Address) bool {
			return a.Interface == c.Interface && unmapped(a.Prefix.Addr()) == c.Prefix.Addr()
		})
	case RouteRemoved:
		return slices.ContainsFunc(s.Routes, func(r Route) bool { return r.key() == c.Route.key() })
	case RuleRemoved:
		there := kernelRule{Rule: c.Rule}
		return slices.ContainsFunc(s.Rules, func(want Rule) bool {
			r, err := want.kernelTerms()
			return err == nil && r.same(there)
		})
	case LinkGone, LinkDown:
		if s.Link == nil || s.Link.Name != c.Interface {
			return false
		}
		return c.Kind == LinkGone ||
			slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Interface == s.Link.Name })
	}
	return false
}
