package ipvsadm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// Rules returns the rules that make a service and its servers, in the form in
// which "ipvsadm -Sn" prints them, and with the thresholds (-x, -y), which it
// leaves out. The error says what of the service the language cannot express;
// then there are no rules.
func Rules(v pool.VirtualService) ([]string, error) {
	lines := make([]string, 0, 1+len(v.Servers))
	lines = append(lines, "-A "+keyOptions(v.Key)+settingsText(v))
	for _, s := range v.Servers {
		lines = append(lines, "-a "+keyOptions(v.Key)+" -r "+s.AddrPort().String()+serverText(s))
	}
	if err := faithful(v, lines); err != nil {
		return nil, fmt.Errorf("%v cannot be written as rules of ipvsadm: %w", v.Key, err)
	}
	return lines, nil
}

// Save returns the rules of all services, and of those that the language cannot
// express the errors.
func Save(services []ipvs.Service) (lines []string, lost []error) {
	lines = []string{}
	for _, s := range services {
		more, err := Rules(s.Plain())
		if err != nil {
			lost = append(lost, err)
		}
		lines = append(lines, more...)
	}
	return lines, lost
}

// faithful reads the rules again: what they do not say must not be lost in
// silence.
func faithful(v pool.VirtualService, lines []string) error {
	if v.Flags&pool.Persistent != 0 && v.PersistencePrefix == 0 {
		return errors.New("its persistence netmask is no prefix")
	}
	rules, err := Parse(context.Background(), strings.NewReader(strings.Join(lines, "\n")), Options{Resolver: nobody{}})
	if err != nil {
		return err
	}
	t, err := Table(rules)
	if err != nil {
		return err
	}
	want := pool.Table{v}
	want[0].Servers = append([]pool.RealServer(nil), v.Servers...)
	for i := range want[0].Servers {
		// Local is what the kernel makes of its own addresses, with any method.
		if s := &want[0].Servers[i]; s.Forward == pool.Local {
			s.Forward = pool.DR
		}
	}
	want.Sort()
	if v.Flags&pool.Persistent == 0 {
		want[0].PersistenceSeconds, want[0].PersistencePrefix = 0, t[0].PersistencePrefix
	}
	switch {
	case !want[0].EqualSettings(t[0]):
		return errors.New("it has settings that ipvsadm does not know")
	case !want.Equal(t):
		return errors.New("a server has settings that ipvsadm does not know")
	}
	return nil
}

// nobody knows no names: the rules that are written have none.
type nobody struct{}

func (nobody) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no names are looked up")
}

func (nobody) LookupPort(context.Context, string, string) (int, error) {
	return 0, errors.New("no names are looked up")
}

// keyOptions names a service.
func keyOptions(k pool.Key) string {
	if k.FWMark != 0 {
		text := "-f " + strconv.FormatUint(uint64(k.FWMark), 10)
		if k.IPv6 {
			text += " -6"
		}
		return text
	}
	option := "--sctp-service"
	switch k.Protocol {
	case pool.TCP:
		option = "-t"
	case pool.UDP:
		option = "-u"
	}
	return option + " " + netip.AddrPortFrom(k.Address, k.Port).String()
}

func settingsText(v pool.VirtualService) string {
	text := " -s " + v.Scheduler
	if v.Flags&pool.Persistent != 0 {
		text += " -p " + strconv.FormatUint(uint64(v.PersistenceSeconds), 10)
		if mask := maskText(v); mask != "" {
			text += " -M " + mask
		}
	}
	if v.PersistenceEngine != "" {
		text += " --pe " + v.PersistenceEngine
	}
	if v.Flags&pool.OnePacket != 0 {
		text += " -o"
	}
	if flags := flagNames(v.Scheduler, v.Flags); len(flags) > 0 {
		text += " -b " + strings.Join(flags, ",")
	}
	return text
}

// maskText is the persistence netmask, or nothing where it is the default.
func maskText(v pool.VirtualService) string {
	switch {
	case v.IPv6 && v.PersistencePrefix == 128, !v.IPv6 && v.PersistencePrefix == 32:
		return ""
	case v.IPv6:
		return strconv.Itoa(int(v.PersistencePrefix))
	}
	m := ^uint32(0) << (32 - min(v.PersistencePrefix, 32))
	return netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}).String()
}

// flagNames are the scheduler's flags by their names. ipvsadm never prints the
// third flag of sh and mh, but reads it.
func flagNames(scheduler string, flags pool.Flags) (names []string) {
	for _, flag := range []pool.Flags{pool.Sched1, pool.Sched2, pool.Sched3} {
		if flags&flag == 0 {
			continue
		}
		generic := ""
		for _, f := range schedulerFlags {
			if f.flag == flag && f.scheduler == scheduler {
				names, generic = append(names, f.name), ""
				break
			}
			if f.flag == flag && f.scheduler == "" {
				generic = f.name
			}
		}
		if generic != "" {
			names = append(names, generic)
		}
	}
	return names
}

func serverText(s pool.RealServer) string {
	text := " " + forwardOption(s.Forward) + " -w " + strconv.FormatUint(uint64(s.Weight), 10)
	if s.Upper != 0 {
		text += " -x " + strconv.FormatUint(uint64(s.Upper), 10)
	}
	if s.Lower != 0 {
		text += " -y " + strconv.FormatUint(uint64(s.Lower), 10)
	}
	if s.Forward != pool.TUN {
		return text
	}
	sum := ""
	if int(s.Tunnel.Flags) < len(checksums) {
		sum = " --" + checksums[s.Tunnel.Flags]
	}
	switch s.Tunnel.Type {
	case pool.GUE:
		return text + " --tun-type gue --tun-port " + strconv.Itoa(int(s.Tunnel.Port)) + sum
	case pool.GRE:
		return text + " --tun-type gre" + sum
	}
	return text + " --tun-type ipip"
}

func forwardOption(f pool.Forward) string {
	switch f {
	case pool.NAT:
		return "-m"
	case pool.TUN:
		return "-i"
	}
	return "-g"
}
