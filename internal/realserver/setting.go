package realserver

import (
	"slices"
	"strconv"
	"strings"
)

// setting is a kernel setting that a VIP needs.
//
//   - arp_ignore 1: an interface answers ARP only for its own addresses, and so
//     not for the VIP, which is on another one. 2 and 8 are stricter; 3 spares
//     addresses of scope host, which is the VIP's.
//   - arp_announce 2: an ARP request names an address of the interface that it
//     leaves by as its sender, never the VIP, from which neighbours and routers
//     would learn that it lives here.
//   - rp_filter 2 or 0 on the device that unwraps packets: they come in by it and
//     their answers go out by another one, which 1 would not let pass. 2 suffices,
//     because the way to the client is looked up among all interfaces; so no
//     check is given up on the others.
//
// The kernel takes the higher one of an interface's value and of that of "all"
// (IN_DEV_MAXCONF in linux/inetdevice.h). Hence arp_ignore and arp_announce are set
// for "all": it holds for interfaces that come later, too. lo, which the guides
// set as well, never receives ARP. IPv6 has no such settings and needs none: a
// neighbour solicitation is answered only for an address of the very interface that
// it came in by (ndisc_recv_ns in net/ipv6/ndisc.c), and names as its source
// only one of the interface that it leaves by.
type setting struct {
	iface string // all, or an interface
	leaf  string
	want  string
	good  []int // values in effect that do
	why   string
}

func (s setting) key() string { return confKey(s.iface, s.leaf) }

// upper is the setting that counts as well.
func (s setting) upper() string { return confKey("all", s.leaf) }

func confKey(iface, leaf string) string { return "net/ipv4/conf/" + iface + "/" + leaf }

const ipv6Key = "net/ipv6/conf/%s/disable_ipv6"

// inEffect is the value that the kernel goes by, or -1 if there is none.
func (s setting) inEffect(values map[string]string) int {
	own, err := strconv.Atoi(values[s.key()])
	all, errAll := strconv.Atoi(values[s.upper()])
	if err != nil || errAll != nil {
		return -1
	}
	return max(own, all)
}

func (s setting) right(values map[string]string) bool {
	return slices.Contains(s.good, s.inEffect(values))
}

// settings are those that a VIP needs, in the order in which they are set.
func (s Spec) settings() []setting {
	if s.VIP.Is6() {
		return nil
	}
	where := s.Interfaces
	if len(where) == 0 {
		where = []string{"all"}
	}
	var out []setting
	for _, name := range where {
		out = append(out,
			setting{name, "arp_ignore", "1", []int{1, 2, 3, 8}, "this host must not answer ARP for the VIP"},
			setting{name, "arp_announce", "2", []int{2}, "this host must not name the VIP in ARP requests"})
	}
	if s.Forward == TUN {
		out = append(out, setting{s.Device, "rp_filter", "2", []int{0, 2}, "unwrapped packets are answered through another interface"})
	}
	return out
}

// keys are the files of all settings that have to be looked at for specs.
func keys(specs []Spec, more ...string) []string {
	out := slices.Clone(more)
	for _, s := range specs {
		for _, k := range s.settings() {
			out = append(out, k.key(), k.upper(), confKey("default", k.leaf))
		}
		if s.VIP.Is6() {
			out = append(out, disableKey(s.Device), disableKey("default"))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func disableKey(iface string) string { return strings.Replace(ipv6Key, "%s", iface, 1) }

// spell is a setting's name as sysctl(8) takes it: with dots, where no interface's
// name has one.
func spell(key string) string {
	if strings.Contains(key, ".") {
		return key
	}
	return strings.ReplaceAll(key, "/", ".")
}

// leafOf is the last part of a setting's name.
func leafOf(key string) string { return key[strings.LastIndex(key, "/")+1:] }
