package ipvsadm

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

func at2(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// someConnections are of all kinds.
var someConnections = []ipvs.Connection{
	{Protocol: 6, Client: at2("192.0.2.7:1024"), Virtual: at2("10.0.0.100:80"), Server: at2("10.0.0.11:8080"), State: "ESTABLISHED", Expires: 15*time.Minute - time.Second, Origin: ipvs.Synced},
	{Protocol: 17, Client: at2("[2001:db8::2]:53"), Virtual: at2("[2001:db8::100]:5353"), Server: at2("10.0.0.11:5353"), State: "UDP", Expires: 100 * time.Hour},
	{Protocol: 6, Client: at2("192.0.2.0:0"), Virtual: at2("10.0.0.100:80"), Server: at2("10.0.0.12:80"), State: "NONE", Expires: time.Second},
	{Client: at2("192.0.2.0:0"), Virtual: at2("0.0.0.7:0"), Server: at2("10.0.0.12:0"), State: "ASSURED"},
	{Protocol: 17, Client: at2("192.0.2.9:0"), Virtual: at2("10.0.0.100:5060"), Server: at2("10.0.0.11:5060"), State: "NONE", Engine: "sip", EngineData: "call@host"},
}

// series yields them, with a line that is not understood in between.
func series(yield func(ipvs.Connection, error) bool) {
	for i, c := range someConnections {
		if i == 1 && !yield(ipvs.Connection{}, errors.New("bad line")) || !yield(c, nil) {
			return
		}
	}
}

func write(t *testing.T, f Filter, form Form) (string, int, []error) {
	t.Helper()
	var out strings.Builder
	var bad []error
	n, err := WriteConnections(&out, series, f, form, func(err error) { bad = append(bad, err) })
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), n, bad
}

func TestWriteConnections(t *testing.T) {
	got, n, bad := write(t, Filter{}, Form{Engine: true})
	const want = `IPVS connection entries
pro expire state       source             virtual            destination        pe name          pe_data
TCP 14:59  ESTABLISHED 192.0.2.7:1024     10.0.0.100:80      10.0.0.11:8080
UDP 6000:00 UDP         [2001:db8::2]:53   [2001:db8::100]:5353 10.0.0.11:5353
TCP 00:01  NONE        192.0.2.0:0        10.0.0.100:80      10.0.0.12:80
IP  00:00  ASSURED     192.0.2.0:0        0.0.0.7:0          10.0.0.12:0
UDP 00:00  NONE        192.0.2.9:0        10.0.0.100:5060    10.0.0.11:5060   sip                call@host
`
	if got != want || n != 5 || len(bad) != 1 {
		t.Errorf("%d, mistakes %v:\n%s", n, bad, got)
	}
	got, n, bad = write(t, Filter{}, Form{Origin: true, Limit: 1})
	if line := "TCP 14:59  ESTABLISHED 192.0.2.7:1024     10.0.0.100:80      10.0.0.11:8080     SYNC\n"; !strings.HasSuffix(got, "        origin\n"+line) || n != 1 || len(bad) != 0 {
		t.Errorf("%d, mistakes %v:\n%s", n, bad, got)
	}
	got, _, _ = write(t, Filter{}, Form{JSON: true, Limit: 1})
	if want := `{"protocol":"tcp","state":"ESTABLISHED","client":"192.0.2.7:1024","virtual":"10.0.0.100:80","server":"10.0.0.11:8080","expires_seconds":899,"persistent":false,"origin":"sync"}` + "\n"; got != want {
		t.Errorf("JSON %s", got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWriteConnectionsToAFullDisk(t *testing.T) {
	if _, err := WriteConnections(broken{}, series, Filter{}, Form{}, func(error) {}); err == nil {
		t.Error("no error")
	}
}

func TestFilter(t *testing.T) {
	web := pool.KeyOf(pool.TCP, at2("10.0.0.100:80"))
	for _, tt := range []struct {
		filter Filter
		want   []int
	}{
		{Filter{}, []int{0, 1, 2, 3, 4}},
		{Filter{Protocol: "tcp"}, []int{0, 2}},
		{Filter{Protocol: "fwmark"}, []int{3}},
		{Filter{Client: netip.MustParsePrefix("192.0.2.0/29")}, []int{0, 2, 3}},
		{Filter{Client: netip.MustParsePrefix("::/0")}, []int{1}},
		{Filter{Service: web}, []int{0, 2}},
		{Filter{Service: pool.Key{Protocol: pool.UDP, Address: web.Address}}, []int{4}},
		{Filter{Server: netip.MustParseAddr("10.0.0.11")}, []int{0, 1, 4}},
		{Filter{Server: netip.MustParseAddr("10.0.0.11"), ServerPort: 8080}, []int{0}},
		{Filter{State: "established"}, []int{0}},
		{Filter{Persistent: true}, []int{2, 3, 4}},
		{Filter{Synced: true}, []int{0}},
		{Filter{Synced: true, Persistent: true}, nil},
	} {
		var got []int
		for i, c := range someConnections {
			if tt.filter.Match(c) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v, want %v", tt.filter, got, tt.want)
		}
	}
}

func TestLargeNumbers(t *testing.T) {
	for _, tt := range []struct {
		n           uint64
		short, full string
	}{
		{0, "        0", "        0"},
		{99999999, " 99999999", " 99999999"},
		{100000000, "  100000K", " 100000000"},
		{999999999, "  999999K", " 999999999"},
		{1e9, "    1000M", " 1000000000"},
		{99999999999, "   99999M", " 99999999999"},
		{1e11, "     100G", " 100000000000"},
		{1e14, "     100T", " 100000000000000"},
		{1<<64 - 1, "18446744T", " 18446744073709551615"},
	} {
		if got := (Listing{}).large(tt.n); got != tt.short {
			t.Errorf("%d is %q, want %q", tt.n, got, tt.short)
		}
		if got := (Listing{Exact: true}).large(tt.n); got != tt.full {
			t.Errorf("%d is %q in full, want %q", tt.n, got, tt.full)
		}
	}
}

func TestParseKey(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.100:80":         "tcp 10.0.0.100:80",
		"tcp 10.0.0.100:80":     "tcp 10.0.0.100:80",
		"UDP/[2001:db8::1]:53":  "udp [2001:db8::1]:53",
		"sctp 10.0.0.100:0":     "sctp 10.0.0.100:0",
		"fwmark 7":              "fwmark 7",
		"fwmark/4294967295":     "fwmark 4294967295",
		"fwmark 7 inet6":        "fwmark 7 inet6",
		"":                      "",
		"10.0.0.100":            "",
		"icmp 10.0.0.100:80":    "",
		"fwmark":                "",
		"fwmark 0":              "",
		"fwmark 7 inet4":        "",
		"tcp 10.0.0.100:80 now": "",
		"tcp [fe80::1%eth0]:80": "",
	} {
		got, err := ParseKey(text)
		if (err != nil) != (want == "") || err == nil && got.String() != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}
