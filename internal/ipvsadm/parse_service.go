package ipvsadm

import (
	"fmt"
	"math/bits"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"baton/internal/pool"
)

const (
	defaultScheduler   = "wlc"
	defaultPersistence = 360               // seconds; the manual of ipvsadm says 300
	persistenceMax     = 31 * 24 * 60 * 60 // seconds
	nameMax            = 15                // letters of a scheduler or a persistence engine
)

var protocols = map[string]pool.Protocol{"tcp-service": pool.TCP, "udp-service": pool.UDP, "sctp-service": pool.SCTP}

// key reads which service the rule is about.
func (p *parser) key() {
	v6, ipv6 := p.given["ipv6"]
	mark, byMark := p.given["fwmark-service"]
	if ipv6 && !byMark {
		p.mistake(v6.column, "-6 belongs to -f; the family of an address is known")
	}
	if byMark {
		n, ok := number(mark.value, 1, 1<<32-1)
		if signed, err := strconv.ParseInt(mark.value, 10, 32); err == nil && signed < 0 {
			n, ok = uint64(uint32(signed)), true // so "ipvsadm -S" prints a large one
		}
		if !ok {
			p.wrong(mark, "a firewall mark is a number from 1 to 4294967295")
			return
		}
		p.rule.Service.Key = pool.Key{FWMark: uint32(n), IPv6: ipv6}
		return
	}
	for name, protocol := range protocols {
		if g, ok := p.given[name]; ok {
			if ap, _, ok := p.addrPort(g, protocol); ok {
				p.rule.Service.Key = pool.KeyOf(protocol, ap)
			}
		}
	}
}

// named is whether the key is known; without it what depends on it is not looked
// at.
func (p *parser) named() bool { return p.rule.Service.Key != pool.Key{} }

// settings reads the settings of a service.
func (p *parser) settings() {
	v := &p.rule.Service
	v.Scheduler = defaultScheduler
	if g, ok := p.given["scheduler"]; ok {
		v.Scheduler = p.name(g, "scheduler", "wlc")
	}
	if g, ok := p.given["pe"]; ok {
		v.PersistenceEngine = p.name(g, "persistence engine", "sip")
	}
	if g, ok := p.given["sched-flags"]; ok {
		v.Flags |= p.schedulerFlags(g)
	}
	if g, ok := p.given["ops"]; ok {
		v.Flags |= pool.OnePacket
		if p.named() && v.FWMark == 0 && v.Protocol != pool.UDP {
			p.mistake(g.column, "-o is for UDP and for firewall marks")
		}
	}
	p.persistence()
	if p.named() && v.FWMark == 0 && v.Port == 0 && v.Flags&pool.Persistent == 0 {
		p.mistake(0, "a service at port 0, which is all ports, needs -p")
	}
}

func (p *parser) persistence() {
	v := &p.rule.Service
	full := uint8(32)
	if v.IPv6 {
		full = 128
	}
	g, persistent := p.given["persistent"]
	if persistent {
		v.Flags |= pool.Persistent
		v.PersistenceSeconds = defaultPersistence
		if n, ok := number(g.value, 1, persistenceMax); ok {
			v.PersistenceSeconds = uint32(n)
		} else if g.hasValue {
			p.wrong(g, fmt.Sprintf("a timeout is a number of seconds from 1 to %d", persistenceMax))
		}
	}
	prefix := full
	if g, ok := p.given["netmask"]; ok && p.named() {
		prefix = p.netmask(g)
	}
	// The kernel keeps a mask that has no effect; here it would make a difference
	// between equal services.
	if v.PersistencePrefix = full; persistent {
		v.PersistencePrefix = prefix
	}
}

// netmask reads a mask for IPv4, and a prefix length for IPv6.
func (p *parser) netmask(g given) uint8 {
	if p.rule.Service.IPv6 {
		n, ok := number(g.value, 1, 128)
		if !ok {
			p.wrong(g, "for IPv6 it is a prefix length from 1 to 128")
		}
		return uint8(n)
	}
	a, err := netip.ParseAddr(g.value)
	if err != nil || !a.Is4() {
		p.wrong(g, "for IPv4 it is a netmask, such as 255.255.255.0")
		return 0
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := bits.LeadingZeros32(^m)
	if n == 0 || m<<n != 0 {
		p.wrong(g, "only a netmask that is a prefix of at least one bit is supported, such as 255.255.255.0")
		return 0
	}
	return uint8(n)
}

var plainName = regexp.MustCompile(`^[a-z0-9_]+$`)

// name reads the kernel's name of something.
func (p *parser) name(g given, what, such string) string {
	if !plainName.MatchString(g.value) || len(g.value) > nameMax {
		p.wrong(g, fmt.Sprintf("the name of a %s has 1 to %d letters and digits, such as %s", what, nameMax, such))
	}
	return g.value
}

// schedulerFlag is a flag by its name; own names are for one scheduler.
type schedulerFlag struct {
	name, scheduler string
	flag            pool.Flags
}

var schedulerFlags = []schedulerFlag{
	{"sh-fallback", "sh", pool.Sched1},
	{"sh-port", "sh", pool.Sched2},
	{"mh-fallback", "mh", pool.Sched1},
	{"mh-port", "mh", pool.Sched2},
	{"flag-1", "", pool.Sched1},
	{"flag-2", "", pool.Sched2},
	{"flag-3", "", pool.Sched3},
}

func (p *parser) schedulerFlags(g given) (flags pool.Flags) {
	for name := range strings.SplitSeq(g.value, ",") {
		i := slices.IndexFunc(schedulerFlags, func(f schedulerFlag) bool { return f.name == name })
		if i < 0 {
			p.wrong(g, "scheduler flags are sh-fallback, sh-port, mh-fallback, mh-port, flag-1, flag-2 and flag-3, with a comma between")
			return 0
		}
		f := schedulerFlags[i]
		if f.scheduler != "" && f.scheduler != p.rule.Service.Scheduler {
			p.wrong(g, fmt.Sprintf("%s is a flag of the scheduler %s, not of %s", name, f.scheduler, p.rule.Service.Scheduler))
		}
		flags |= f.flag
	}
	return flags
}
