package network

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var (
	// ErrForeign is matched by a [ForeignError].
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

// gone reports whether an error says that the address or the interface is not
// there: what removing it wanted.
func gone(err error) bool {
	var link netlink.LinkNotFoundError
	return errors.As(err, &link) || errors.Is(err, ErrNoInterface) || errors.Is(err, unix.EADDRNOTAVAIL) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)
}
