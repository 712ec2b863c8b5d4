package ipvs

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"baton/internal/pool"
)

// persistenceMax is ipvsadm's limit, 31 days. The kernel multiplies by HZ in 32
// bits (ip_vs_add_service) and would silently store something else above 49.
const persistenceMax = 31 * 24 * 60 * 60

const (
	weightMax = 1<<31 - 1 // weight is an int in the kernel (struct ip_vs_dest_user_kern)
	// limitMax is the largest threshold; the kernel answers EINVAL to larger ones.
	limitMax = 1<<31 - 1
)

// name is what the kernel's names of schedulers and engines look like.
var name = regexp.MustCompile(`^[a-z0-9_]+$`)

// wanted is a service of a desired table in normal form, or why it cannot be
// written.
type wanted struct {
	pool.VirtualService
	err error
}

// normalTable brings a desired table into normal form and checks it. What is the
// same as in the last table, at the same place, is taken from there. Nothing of
// the result is shared with t. seen are the keys.
func normalTable(t pool.Table, last []*wanted) (list []*wanted, seen map[pool.Key]bool) {
	list, seen = make([]*wanted, 0, len(t)), make(map[pool.Key]bool, len(t))
	for i, v := range t {
		if i < len(last) && last[i].is(v) && !seen[v.Key] {
			seen[v.Key] = true
			list = append(list, last[i])
			continue
		}
		w := &wanted{VirtualService: normalService(v)}
		if w.err = check(w.VirtualService); w.err == nil && seen[v.Key] {
			w.err = fmt.Errorf("the desired table names it twice; name it once")
		}
		if w.err != nil {
			w.err = fmt.Errorf("program %v: %w", v.Key, w.err)
		}
		seen[v.Key] = true
		list = append(list, w)
	}
	return list, seen
}

// is reports whether v is w, and so in normal form itself.
func (w *wanted) is(v pool.VirtualService) bool { return w.err == nil && w.Equal(v) }

// normalService gives a wanted service the one form that the kernel's answer to
// the same settings has, so that equal means equal: what has no effect is zero.
func normalService(v pool.VirtualService) pool.VirtualService {
	full := fullPrefix(v.IPv6)
	if v.PersistencePrefix == 0 {
		v.PersistencePrefix = full
	}
	v = normalSettings(v)
	v.Servers = slices.Clone(v.Servers)
	for i, s := range v.Servers {
		s.Address = s.Address.Unmap()
		v.Servers[i] = normalServer(s)
	}
	slices.SortFunc(v.Servers, pool.RealServer.Compare)
	return v
}

// normalSettings is the part of the normal form that also holds for a service
// that was read from the kernel.
func normalSettings(v pool.VirtualService) pool.VirtualService {
	v.Flags &= settableFlags
	if v.Flags&pool.Persistent == 0 {
		v.PersistenceSeconds, v.PersistencePrefix = 0, fullPrefix(v.IPv6)
	}
	return v
}

// normalServer clears tunnel settings that have no effect. The kernel stores
// them all the same.
func normalServer(s pool.RealServer) pool.RealServer {
	switch {
	case s.Forward != pool.TUN || s.Tunnel.Type == pool.IPIP:
		s.Tunnel = pool.Tunnel{}
	case s.Tunnel.Type == pool.GRE:
		s.Tunnel.Port = 0
	}
	return s
}

func fullPrefix(ipv6 bool) uint8 {
	if ipv6 {
		return 128
	}
	return 32
}

// check refuses what the kernel would take and turn into something else: it
// would differ again at every dump. What the kernel refuses is left to it.
func check(v pool.VirtualService) error {
	if err := checkKey(v.Key); err != nil {
		return err
	}
	if !name.MatchString(v.Scheduler) || len(v.Scheduler) > schedulerNameMax {
		return fmt.Errorf("%q is no scheduler's name: it has 1 to %d letters and digits, such as wlc", v.Scheduler, schedulerNameMax)
	}
	if e := v.PersistenceEngine; e != "" && (!name.MatchString(e) || len(e) > engineNameMax) {
		return fmt.Errorf("%q is no persistence engine's name, such as sip", e)
	}
	if v.Flags&pool.Persistent != 0 {
		if s := v.PersistenceSeconds; s < 1 || s > persistenceMax {
			return fmt.Errorf("a persistence timeout of %d s is out of range; allowed are 1 to %d", s, persistenceMax)
		}
		if p, full := v.PersistencePrefix, fullPrefix(v.IPv6); p > full {
			return fmt.Errorf("a persistence netmask of /%d is out of range; allowed are 1 to %d", p, full)
		}
	}
	for i, s := range v.Servers {
		if err := checkServer(s); err != nil {
			return fmt.Errorf("server %v: %w", s.AddrPort(), err)
		}
		if i > 0 && s.AddrPort() == v.Servers[i-1].AddrPort() {
			return fmt.Errorf("server %v is named twice; name it once", s.AddrPort())
		}
	}
	return nil
}

func checkKey(k pool.Key) error {
	if k.FWMark != 0 {
		if k != (pool.Key{FWMark: k.FWMark, IPv6: k.IPv6}) {
			return fmt.Errorf("a service by firewall mark has no protocol, address or port")
		}
		return nil
	}
	if err := checkAddress(k.Address); err != nil {
		return err
	}
	if k.IPv6 != k.Address.Is6() {
		return fmt.Errorf("the address %v is not of the key's family; make keys with pool.KeyOf", k.Address)
	}
	switch k.Protocol {
	case pool.TCP, pool.UDP, pool.SCTP:
		return nil
	}
	return fmt.Errorf("the kernel balances tcp, udp and sctp, not %v", k.Protocol)
}

func checkServer(s pool.RealServer) error {
	switch {
	case s.Weight > weightMax:
		return fmt.Errorf("a weight of %d is out of range; allowed are 0 to %d", s.Weight, weightMax)
	case s.Upper > limitMax || s.Lower > limitMax:
		return fmt.Errorf("the limits upper %d and lower %d are out of range; allowed are 0 to %d connections", s.Upper, s.Lower, limitMax)
	case s.Forward > pool.TUN:
		return fmt.Errorf("forwarding %v cannot be configured; use nat, dr or tun", s.Forward)
	}
	return checkAddress(s.Address)
}

func checkAddress(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return fmt.Errorf("the address is missing")
	case a.Zone() != "":
		return fmt.Errorf("the kernel's table has no room for the zone of %v; use a global address", a)
	}
	return nil
}
