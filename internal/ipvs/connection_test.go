package ipvs

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	engineHeader = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
	originHeader = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n"
)

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// readAll collects what a table yields, mistakes as text.
func readAll(r io.Reader, c Columns) (list []Connection, mistakes []string) {
	for conn, err := range ReadConnections(r, c) {
		if err != nil {
			mistakes = append(mistakes, err.Error())
			continue
		}
		list = append(list, conn)
	}
	return list, mistakes
}

func TestReadConnections(t *testing.T) {
	table := engineHeader +
		"TCP 0A000002 3039 0A000064 0050 0A00000B 1F90 ESTABLISHED     899\n" +
		"UDP 20010db8000000000000000000000002 0000 x\n" +
		"IP  C0A80000 0000 00000007 0000 0A00000B 0000 NONE            300\n" +
		"UDP 2001:0db8:0000:0000:0000:0000:0000:0002 C000 2001:0db8:0000:0000:0000:0000:0000:0064 0035 0A00000B 0035 UDP             4294967295\n" +
		"UDP 0A000002 0000 0A000064 13C4 0A00000B 13C4 NONE             40 sip a b@10.0.0.2\n" +
		"IP_89 0A000002 0001 0A000064 0001 0A00000B 0001 ERR!              1\n"
	got, mistakes := readAll(iotest.OneByteReader(strings.NewReader(table)), WithEngine)
	want := []Connection{
		{Protocol: 6, Client: at("10.0.0.2:12345"), Virtual: at("10.0.0.100:80"), Server: at("10.0.0.11:8080"), State: "ESTABLISHED", Expires: 899 * time.Second},
		{Client: at("192.168.0.0:0"), Virtual: at("0.0.0.7:0"), Server: at("10.0.0.11:0"), State: "NONE", Expires: 300 * time.Second},
		{Protocol: 17, Client: at("[2001:db8::2]:49152"), Virtual: at("[2001:db8::64]:53"), Server: at("10.0.0.11:53"), State: "UDP", Expires: 4294967295 * time.Second},
		{Protocol: 17, Client: at("10.0.0.2:0"), Virtual: at("10.0.0.100:5060"), Server: at("10.0.0.11:5060"), State: "NONE", Expires: 40 * time.Second, Engine: "sip", EngineData: "a b@10.0.0.2"},
		{Protocol: 89, Client: at("10.0.0.2:1"), Virtual: at("10.0.0.100:1"), Server: at("10.0.0.11:1"), State: "ERR!", Expires: time.Second},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if len(mistakes) != 1 || !strings.Contains(mistakes[0], `line 3: the client "20010db8000000000000000000000002" is no address`) {
		t.Errorf("mistakes %q", mistakes)
	}
	for i, template := range []bool{false, true, false, true, false} {
		if got[i].Template() != template {
			t.Errorf("entry %d: template %t", i, !template)
		}
	}

	got, mistakes = readAll(strings.NewReader(originHeader+
		"TCP 0A000002 3039 0A000064 0050 0A00000B 1F90 TIME_WAIT   SYNC       119\n"+
		"SCTP 0A000002 3039 0A000064 0050 0A00000B 1F90 SHUTDOWN_ACK_SENT LOCAL        0\n"), WithOrigin)
	if len(mistakes) > 0 || len(got) != 2 || got[0].Origin != Synced || got[1].Origin != Local || got[1].State != "SHUTDOWN_ACK_SENT" {
		t.Errorf("%v, mistakes %q", got, mistakes)
	}
}

func TestReadConnectionsMistakes(t *testing.T) {
	const good = "TCP 0A000002 3039 0A000064 0050 0A00000B 1F90 ESTABLISHED     899"
	for _, tt := range []struct{ old, new, says string }{
		{"TCP", "TCPX", "is no protocol"},
		{"TCP", "IP_99999", "is no protocol"},
		{"0A000002", "0A00000", "is no address"},
		{"0A000064", "0A00006G", "is no address"},
		{"0A00000B", "2001:db8::1", "is no address"},
		{"0A000002", "2001:0db8:0000:0000:0000:0000:0000:0002", "two families"},
		{"3039", "303", "hexadecimal"},
		{"1F90", "1F9O", "hexadecimal"},
		{"ESTABLISHED", "established", "is no state"},
		{"ESTABLISHED", strings.Repeat("A", 33), "is no state"},
		{"ESTABLISHED     899", "ESTABLISHED", "seconds"},
		{"899", "-1", "seconds"},
		{"899", "4294967296", "seconds"},
		{"899", "899 Sip! x", "persistence engine"},
	} {
		line := strings.Replace(good, tt.old, tt.new, 1)
		list, mistakes := readAll(strings.NewReader(engineHeader+line+"\n"+good+"\n"), WithEngine)
		if len(list) != 1 || len(mistakes) != 1 || !strings.Contains(mistakes[0], tt.says) || !strings.Contains(mistakes[0], "line 2") {
			t.Errorf("%s: %d entries, mistakes %q", line, len(list), mistakes)
		}
	}
	for _, tt := range []struct{ text, says string }{
		{"", "no header"},
		{originHeader, "the columns are not"},
		{engineHeader + good, "unexpected EOF"},
		{engineHeader + strings.Repeat("x", connectionBuffer) + "\n", "a line of more than"},
	} {
		if list, mistakes := readAll(strings.NewReader(tt.text), WithEngine); len(list) != 0 || len(mistakes) != 1 || !strings.Contains(mistakes[0], tt.says) {
			t.Errorf("%.20q: %d entries, mistakes %q, want %q", tt.text, len(list), mistakes, tt.says)
		}
	}
}

// A million entries take no more memory than one.
func TestReadConnectionsAllocatesNothing(t *testing.T) {
	text := engineHeader + strings.Repeat("TCP 0A000002 3039 0A000064 0050 0A00000B 1F90 ESTABLISHED     899\n", 10000)
	n := 0
	allocs := testing.AllocsPerRun(3, func() {
		for _, err := range ReadConnections(strings.NewReader(text), WithEngine) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	})
	if n != 40000 || allocs > 20 {
		t.Errorf("%v allocations for 10000 entries, %d in all", allocs, n)
	}
}

// FuzzReadConnections holds that no table breaks the reader, and that it names
// the line of what it does not understand.
func FuzzReadConnections(f *testing.F) {
	f.Add("TCP 0A000002 3039 0A000064 0050 0A00000B 1F90 ESTABLISHED     899", true)
	f.Add("UDP 2001:0db8:0000:0000:0000:0000:0000:0002 C000 2001:0db8:0000:0000:0000:0000:0000:0064 0035 0A00000B 0035 UDP         LOCAL  30", false)
	f.Add("UDP 0A000002 0000 0A000064 13C4 0A00000B 13C4 NONE             40 sip a@10.0.0.2", true)
	f.Fuzz(func(t *testing.T, line string, engine bool) {
		c, header := WithOrigin, originHeader
		if engine {
			c, header = WithEngine, engineHeader
		}
		lines := strings.Count(line, "\n") + 1
		n := 0
		for conn, err := range ReadConnections(strings.NewReader(header+line+"\n"), c) {
			var mistake *LineError
			switch n++; {
			case errors.As(err, &mistake) && (mistake.Line < 2 || mistake.Line > lines+1):
				t.Errorf("line %d of %d", mistake.Line, lines)
			case err != nil:
			case !conn.Client.IsValid() || !conn.Virtual.IsValid() || !conn.Server.IsValid() || conn.State == "":
				t.Errorf("%q gives %+v", line, conn)
			}
		}
		if n > lines {
			t.Errorf("%d entries of %d lines", n, lines)
		}
	})
}

func TestParseTotals(t *testing.T) {
	const text = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
      1A       FF        0 FFFFFFFFFFFFFFFF                2

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       3        4        5                6                7
`
	got, err := parseTotals(strings.NewReader(text))
	want := Stats{
		Connections: 26, PacketsIn: 255, BytesIn: 1<<64 - 1, BytesOut: 2,
		ConnectionRate: 3, PacketRateIn: 4, PacketRateOut: 5, ByteRateIn: 6, ByteRateOut: 7,
	}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", strings.Replace(text, "1A", "1G", 1), strings.Replace(text, "1A", "", 1), text[:200]} {
		if _, err := parseTotals(strings.NewReader(bad)); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
