package ipvs

import (
	"errors"
	"fmt"
	"syscall"

	"baton/internal/pool"
)

// OpError is a change that the kernel did not make. Its text says what was being
// done, to what, why it failed and what to do. Unwrap gives the kernel's error
// number as a [syscall.Errno], or another error when the kernel gave no answer.
type OpError struct {
	Op  Op
	Err error
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

func (e *OpError) Error() string {
	var errno syscall.Errno
	if !errors.As(e.Err, &errno) {
		return fmt.Sprintf("%v: %v", e.Op, e.Err)
	}
	if why := e.Op.why(errno); why != "" {
		return fmt.Sprintf("%v: %s (%v)", e.Op, why, e.Err)
	}
	return fmt.Sprintf("%v: %v", e.Op, e.Err)
}

// why explains what the kernel means by an error number in answer to the op. The
// numbers are those of ip_vs_genl_set_cmd and what it calls.
func (o Op) why(errno syscall.Errno) string {
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		return "changing IPVS needs root or CAP_NET_ADMIN in the initial user namespace"
	case syscall.ENOMEM:
		return "the kernel has no memory for it"
	case syscall.EAFNOSUPPORT:
		return "the kernel's IPVS has no IPv6: it needs CONFIG_IP_VS_IPV6"
	case syscall.ESRCH:
		return "the kernel has no such service; somebody deleted it"
	}
	if o.Kind.ofServer() {
		return o.whyServer(errno)
	}
	return o.whyService(errno)
}

func (o Op) whyService(errno syscall.Errno) string {
	switch errno {
	case syscall.ENOENT:
		s := o.Service.Scheduler
		why := fmt.Sprintf("the kernel has no scheduler %q: modprobe ip_vs_%s", s, s)
		if e := o.Service.PersistenceEngine; e != "" {
			why += fmt.Sprintf("; or no persistence engine %q: modprobe ip_vs_pe_%s", e, e)
		}
		return why
	case syscall.EEXIST:
		return "the kernel has this service already; somebody else added it"
	case syscall.EINVAL:
		if o.Service.IPv6 {
			return "the kernel refuses these settings; for IPv6 it wants a persistence netmask of 1 to 128, and the nf_defrag_ipv6 module"
		}
		return "the kernel refuses these settings: check scheduler flags and persistence"
	}
	return ""
}

func (o Op) whyServer(errno syscall.Errno) string {
	switch errno {
	case syscall.ENOENT:
		return "the kernel has no such server in the service; somebody deleted it"
	case syscall.EEXIST:
		return "the kernel has this server already; somebody else added it"
	case syscall.ERANGE:
		return fmt.Sprintf("the kernel wants a weight of at most 2147483647 and lower (%d) not above upper (%d)", o.Server.Lower, o.Server.Upper)
	case syscall.EINVAL:
		return o.whyServerInvalid()
	}
	return ""
}

func (o Op) whyServerInvalid() string {
	tun := o.Server.Forward == pool.TUN
	switch {
	case tun && o.Server.Tunnel.Type == pool.GUE && o.Server.Tunnel.Port == 0:
		return "a GUE tunnel needs a port"
	case o.Service.IPv6 == o.Server.Address.Is6():
		// ip_vs_new_dest looks the address up in the routing tables of the
		// namespace, which are empty before lo is up.
		return "the kernel takes only unicast addresses and the director's own; check that this is no broadcast or multicast address, and that lo is up"
	case !tun:
		return "a server of the other address family needs forward: tun"
	}
	return "the kernel takes no server of the other address family while the connection sync daemon runs: stop the daemon or use one family"
}
