package network

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	// ErrForeign is matched by a [ForeignError], a [ForeignRouteError], a
	// [ForeignRuleError] and a [ForeignLinkError].
	ErrForeign = errors.New("set by someone else")

	// ErrNoInterface is matched by an [InterfaceError].
	ErrNoInterface = errors.New("no interface of that name exists here")
)

// ForeignError means that an address that was to be set is on the interface
// already, and not by us. It is left alone: setting it would put a lease on the
// administrator's address and remove it in the end.
type ForeignError struct {
	Address Address
	Present string // what is there, as ip(8) prints it
}

// Error says what is in the way and how to remove it.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("set address %s on %s: %s is there already, %v, and stays when the router releases its addresses: "+
		"remove it from every director (ip address del %s dev %s)",
		e.Address.Prefix, e.Address.Interface, e.Present, ErrForeign, e.Present, e.Address.Interface)
}

// Unwrap makes errors.Is(err, ErrForeign) true.
func (e *ForeignError) Unwrap() error { return ErrForeign }

// ForeignRouteError means that another route has the place of one that was to be
// set: to the same destination, in the same table, with the same metric. It is
// left alone.
type ForeignRouteError struct{ Route Route }

// Error says what is in the way and what to do.
func (e *ForeignRouteError) Error() string {
	k := e.Route.key()
	family := ""
	if k.v6() {
		family = " -6"
	}
	return fmt.Sprintf("set route %s: a route to %s with metric %d is in table %d already, %v: "+
		"give this one another metric, or remove the other from every director (ip%s route show %s table %d)",
		e.Route, k.to, k.metric, k.table, ErrForeign, family, k.to, k.table)
}

// Unwrap makes errors.Is(err, ErrForeign) true.
func (e *ForeignRouteError) Unwrap() error { return ErrForeign }

// ForeignRuleError means that a rule that was to be set is there already, and not
// by us. It is left alone.
type ForeignRuleError struct{ Rule Rule }

// Error says what is in the way and how to remove it.
func (e *ForeignRuleError) Error() string {
	return fmt.Sprintf("set rule %s: it is there already, %v, and stays when the router releases its rules: "+
		"remove it from every director (ip rule)", e.Rule, ErrForeign)
}

// Unwrap makes errors.Is(err, ErrForeign) true.
func (e *ForeignRuleError) Unwrap() error { return ErrForeign }

// ForeignLinkError means that an interface has the name of one that was to be
// made. It is left alone.
type ForeignLinkError struct {
	Link    VirtualLink
	Present string // what is there
}

// Error says what is in the way and what to do.
func (e *ForeignLinkError) Error() string {
	return fmt.Sprintf("make interface %s on %s: %s of that name is there already, %v: rename or remove it (ip link del %s)",
		e.Link.Name, e.Link.Parent, e.Present, ErrForeign, e.Link.Name)
}

// Unwrap makes errors.Is(err, ErrForeign) true.
func (e *ForeignLinkError) Unwrap() error { return ErrForeign }

// InterfaceError means that there is no interface of the name. Its text leaves
// the name to the caller, who is speaking of that interface.
type InterfaceError struct{ Name string }

// Error says that the interface is not there.
func (e *InterfaceError) Error() string {
	return ErrNoInterface.Error() + "; it is waited for (ip link shows those that exist)"
}

// Unwrap makes errors.Is(err, ErrNoInterface) true.
func (e *InterfaceError) Unwrap() error { return ErrNoInterface }

// remedy says what to do about an error, or nothing.
func remedy(err error) string {
	switch {
	case errors.Is(err, unix.EACCES):
		// Not for want of privileges: the kernel says so when IPv6 is disabled.
		return ": is IPv6 disabled there (sysctl net.ipv6.conf.*.disable_ipv6)?"
	case errors.Is(err, os.ErrPermission):
		return ": run baton as root, or give it CAP_NET_ADMIN"
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return ": the kernel is short of memory; it is tried again"
	}
	return ""
}

// routeRemedy is remedy for a route.
func routeRemedy(err error, r Route) string {
	switch {
	case errors.Is(err, errRoute):
		return ""
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH):
		return fmt.Sprintf(": no interface has an address in a network of the gateway %s that is up now: "+
			"check the gateway, and the prefix lengths of the addresses (ip address)", r.Via)
	case errors.Is(err, unix.ENETDOWN):
		return ": its interface is down (ip link)"
	case errors.Is(err, unix.EINVAL) && r.Interface == "" && r.Via.IsLinkLocalUnicast():
		return ": every interface has that network: name the one that is meant"
	case errors.Is(err, unix.EINVAL) && r.Source.IsValid():
		return fmt.Sprintf(": its source %s must be an address of this host, the router's own for example", r.Source)
	}
	return remedy(err)
}

// gone reports whether an error says that the address or the interface is not
// there: what removing it wanted.
func gone(err error) bool {
	var link netlink.LinkNotFoundError
	return errors.As(err, &link) || errors.Is(err, ErrNoInterface) || errors.Is(err, unix.EADDRNOTAVAIL) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}
