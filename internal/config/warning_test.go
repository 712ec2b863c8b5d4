package config

import (
	"fmt"
	"strings"
	"testing"
)

// An advert over IPv6 has room for 90 addresses in a packet of 1500 bytes: 40
// for the header, 8 for VRRP and 16 for each of them; for 89 with the 28 of a
// signature.
func TestLargeAdverts(t *testing.T) {
	for _, c := range []struct {
		addresses int
		keyed     bool
		warns     bool
	}{
		{90, false, false},
		{91, false, true},
		{89, true, false},
		{90, true, true},
		{255, true, true},
	} {
		t.Run(fmt.Sprintf("%d %v", c.addresses, c.keyed), func(t *testing.T) {
			var b strings.Builder
			b.WriteString("routers: [{name: a, interface: eth0, id: 1, addresses: [")
			for i := range c.addresses {
				fmt.Fprintf(&b, "'2001:db8::1:%x', ", i)
			}
			b.WriteString("]")
			if c.keyed {
				b.WriteString(", auth: {hmac: {key_id: 1, key_file: /keys/hex}}")
			}
			b.WriteString("}]")
			cfg, err := parse("x", []byte(b.String()), Options{ReadSecret: testSecret})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(cfg.Warnings) == 1 && strings.Contains(cfg.Warnings[0].Message, "does not fit the usual MTU"); got != c.warns {
				t.Errorf("warnings %v", cfg.Warnings)
			}
		})
	}
}

func TestSchedulingWarnings(t *testing.T) {
	for settings, want := range map[string]string{
		"scheduler: sh": "write scheduler_flags: [sh-fallback]",
		"scheduler: mh, scheduler_flags: [mh-port]":                                 "write scheduler_flags: [mh-fallback]",
		"scheduler: mh, scheduler_flags: [mh-fallback]":                             "",
		"protocol: udp, one_packet: true":                                           "answers reach the clients with the address of the server",
		"protocol: udp, one_packet: true, forward: dr":                              "",
		"protocol: udp, one_packet: true, persistence: {}, persistence_engine: sip": "",
	} {
		text := "services: [{name: a, address: 10.0.0.1:53, servers: [10.0.0.2, 10.0.0.3], " + settings + "}]"
		cfg, err := parse("x", []byte(text), Options{ReadSecret: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" && len(cfg.Warnings) > 0 || want != "" && (len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0].Message, want)) {
			t.Errorf("%s: warnings %v, not %q", settings, cfg.Warnings, want)
		}
	}
}

// Warnings are in the order of errors, and a file with errors has none.
func TestWarningsAreSorted(t *testing.T) {
	const text = `routers:
  - {name: b, interface: eth0, id: 2, version: 2, addresses: [10.0.0.2], auth: {password_file: /keys/password}}
  - {name: a, interface: eth0, id: 1, addresses: [10.0.0.1], auth: {hmac: {key_id: 1, key_file: /keys/open}}}
`
	cfg, err := parse("x", []byte(text), Options{ReadSecret: testSecret})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) != 2 || cfg.Warnings[0].Line != 2 || cfg.Warnings[1].Line != 3 {
		t.Errorf("%v", cfg.Warnings)
	}
	if got, want := cfg.Warnings[1].String(), "x:3:97: key_file: /keys/open is open to other users (mode 0640)"; !strings.HasPrefix(got, want) {
		t.Errorf("%s\nwant %s", got, want)
	}
	if cfg, err := parse("x", []byte(text+"node: a b\n"), Options{ReadSecret: testSecret}); cfg != nil || err == nil || strings.Contains(err.Error(), "/keys/open") {
		t.Errorf("%v, %v", cfg, err)
	}
}
