package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// ip runs ip(8) on the host.
func ip(t testing.TB, h *lab.Host, args string) string {
	t.Helper()
	out, err := h.Run(context.Background(), "ip", strings.Fields(args)...)
	must(t, err)
	return out
}

// ipRoute is a route as ip(8) sees it.
type ipRoute struct {
	Dst, Gateway, Dev, Prefsrc, Protocol, Scope, Table string
	Metric                                             uint32
	Family                                             string
}

// routesOf lists routes by a reader that is not ours. marked: with our protocol
// number only.
func routesOf(t testing.TB, h *lab.Host, marked bool) []string {
	t.Helper()
	var out []string
	for _, family := range []string{"-4", "-6"} {
		var list []ipRoute
		text := ip(t, h, "-j "+family+" route show table all")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		for _, r := range list {
			if (marked && r.Protocol != "66") || (!marked && r.Protocol == "kernel") {
				continue
			}
			out = append(out, r.text(family))
		}
	}
	slices.Sort(out)
	return out
}

// text writes the route as Route.String does.
func (r ipRoute) text(family string) string {
	switch {
	case r.Dst == "default" && family == "-6":
		r.Dst = "::/0"
	case r.Dst == "default":
		r.Dst = "0.0.0.0/0"
	case !strings.Contains(r.Dst, "/") && family == "-6":
		r.Dst += "/128"
	case !strings.Contains(r.Dst, "/"):
		r.Dst += "/32"
	}
	s := r.Dst
	if r.Gateway != "" {
		s += " via " + r.Gateway
	}
	s += " dev " + r.Dev
	if r.Prefsrc != "" {
		s += " src " + r.Prefsrc
	}
	if r.Table != "" && r.Table != "main" {
		s += " table " + r.Table
	}
	if r.Metric != 0 && (family != "-6" || r.Metric != 1024) {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	return s
}

// rulesOf lists rules in the same way, those of the kernel left out.
func rulesOf(t testing.TB, h *lab.Host, marked bool) []string {
	t.Helper()
	var out []string
	for _, family := range []string{"-4", "-6"} {
		var list []struct {
			Priority        uint32
			Src, Dst, IIF   string
			Srclen, Dstlen  int
			FWMark          string
			Table, Protocol string
		}
		text := ip(t, h, "-j -d "+family+" rule show")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		for _, r := range list {
			if (marked && r.Protocol != "66") || (!marked && r.Protocol == "kernel") {
				continue
			}
			s := ""
			if family == "-6" {
				s = "-6 "
			}
			s += fmt.Sprintf("priority %d from %s", r.Priority, withLength(r.Src, r.Srclen, family))
			if r.Dst != "" {
				s += " to " + withLength(r.Dst, r.Dstlen, family)
			}
			if r.IIF != "" {
				s += " iif " + r.IIF
			}
			if r.FWMark != "" {
				s += " fwmark " + r.FWMark
			}
			if r.Table == "main" {
				r.Table = "254"
			}
			out = append(out, s+" table "+r.Table)
		}
	}
	slices.Sort(out)
	return out
}

func withLength(a string, bits int, family string) string {
	switch {
	case a == "all":
		return a
	case bits == 0 && family == "-6":
		bits = 128
	case bits == 0:
		bits = 32
	}
	return fmt.Sprintf("%s/%d", a, bits)
}

func wantList(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// route reads "10.9.0.0/16 via 10.0.0.254 dev eth0 src 10.0.0.100 table 100
// metric 5 scope link".
func route(s string) Route {
	f := strings.Fields(s)
	r := Route{To: netip.MustParsePrefix(f[0])}
	for i := 1; i+1 < len(f); i += 2 {
		switch f[i] {
		case "via":
			r.Via = netip.MustParseAddr(f[i+1])
		case "dev":
			r.Interface = f[i+1]
		case "src":
			r.Source = netip.MustParseAddr(f[i+1])
		case "table":
			_, _ = fmt.Sscan(f[i+1], &r.Table)
		case "metric":
			_, _ = fmt.Sscan(f[i+1], &r.Metric)
		case "scope":
			r.Scope = f[i+1]
		}
	}
	return r
}

// rule reads "-6 priority 5 from 10.0.0.0/8 to … iif eth0 fwmark 0x7 table 100".
func rule(s string) Rule {
	var r Rule
	f := strings.Fields(s)
	if f[0] == "-6" {
		r.IPv6, f = true, f[1:]
	}
	for i := 0; i+1 < len(f); i += 2 {
		switch f[i] {
		case "from":
			if f[i+1] != "all" {
				r.From = netip.MustParsePrefix(f[i+1])
			}
		case "to":
			r.To = netip.MustParsePrefix(f[i+1])
		case "iif":
			r.IIF = f[i+1]
		case "fwmark":
			_, _ = fmt.Sscan(f[i+1], &r.FWMark)
		case "table":
			_, _ = fmt.Sscan(f[i+1], &r.Table)
		case "priority":
			_, _ = fmt.Sscan(f[i+1], &r.Priority)
		}
	}
	return r
}

// full adds routes and rules to a state.
func full(s State, routes, rules []string) State {
	for _, r := range routes {
		s.Routes = append(s.Routes, route(r))
	}
	for _, r := range rules {
		s.Rules = append(s.Rules, rule(r))
	}
	return s
}

// vips are the addresses that the gateways and sources below belong to.
const vips = "10.0.0.100/24 fd00::100/64"

var someRoutes = []string{
	"10.9.0.0/16 via 10.0.0.254 dev eth0",
	"0.0.0.0/0 via 10.0.0.254 dev eth0 src 10.0.0.100 table 100 metric 7",
	"10.8.0.0/16 dev eth1 metric 3",
	"0.0.0.0/0 via 10.0.0.253 dev eth0",
	"fd09::/64 via fd00::254 dev eth0",
	"::/0 via fd00::254 dev eth0 src fd00::100 table 1000 metric 7",
	"fd08::/64 dev eth1",
	"::/0 via fd00::253 dev eth0",
}

var someRules = []string{
	"priority 500 from 10.0.0.0/24 table 100",
	"priority 500 from 10.0.0.0/24 to 10.8.0.0/16 iif eth1 fwmark 0x7 table 1000",
	"priority 501 from all iif eth0 table 100",
	"-6 priority 500 from fd00::/64 table 1000",
	"-6 priority 502 from all to fd08::1/128 fwmark 0xff table 254",
}

// writes counts the changes that ip monitor shows.
func writes(t testing.TB, h *lab.Host) (count func() int) {
	t.Helper()
	p := h.Start(lab.Proc{Args: []string{"ip", "-t", "monitor", "all"}})
	probe := func() int {
		before := strings.Count(p.Output(), "Timestamp")
		for {
			time.Sleep(150 * time.Millisecond)
			n := strings.Count(p.Output(), "Timestamp")
			if n == before {
				return n
			}
			before = n
		}
	}
	// It listens when it shows something that we do now.
	lab.Eventually(t, 5*time.Second, func() error {
		ip(t, h, "link set lo alias "+fmt.Sprint(time.Now().UnixNano()))
		if !strings.Contains(p.Output(), "lo:") {
			return errors.New("ip monitor shows nothing")
		}
		return nil
	})
	base := probe()
	return func() int { return probe() - base }
}
