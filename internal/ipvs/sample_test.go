package ipvs

import (
	"strings"
	"testing"

	"baton/internal/pool"
)

// glanced is what Linux 6.12 writes to /proc/net/ip_vs.
const glanced = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
FWM  00000007 wlc 
  -> 0A00000B:0050      Route   1      0          0         
FWM  00000007 rr 
  -> [2001:0db8:0000:0000:0000:0000:0000:0001]:0050      Masq    1      0          0         
TCP  0A000064:01BB wrr  persistent 300 FFFFFFFF
TCP  [2001:0db8:0000:0000:0000:0000:0000:0064]:0050 wlc 
  -> [2001:0db8:0000:0000:0000:0000:0000:000b]:0050      Masq    1      3          4         
UDP  0A000064:0035 wlc ops 
  -> 0A00000C:0035      Masq    1      0          12        
  -> 0A00000B:0035      Tunnel  70000  0          0         
SCTP  0A000064:0B59 rr  
  -> 0A00000B:0B59      Masq    1      0          0         
`

func TestGlance(t *testing.T) {
	g, err := readGlance(strings.NewReader(glanced))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{ // and whether it has servers
		"fwmark 7 inet wlc": true, "fwmark 7 inet6 rr": true, "tcp 10.0.0.100:443 wrr": false,
		"tcp [2001:db8::64]:80 wlc": true, "udp 10.0.0.100:53 wlc": true, "sctp 10.0.0.100:2905 rr": true,
	}
	for text, servers := range keys {
		digest, ok := g[nameInGlance(service(text).Key)]
		if !ok || (digest != 0) != servers {
			t.Errorf("%s: %d, %t, in %v", text, digest, ok, g)
		}
	}
	// What a glance tells apart, and what it does not.
	for _, tt := range []struct {
		from, to string
		changed  string // the service, or none
	}{
		{"3          4 ", "999        1 ", ""},
		{"wlc ops ", "rr  ops ", ""}, // settings are read anyway
		{"Masq    1      0          12 ", "Masq    0      0          12 ", "udp 10.0.0.100:53 wlc"},
		{"Tunnel  70000", "Route   70000", "udp 10.0.0.100:53 wlc"},
		{"0A00000B:0B59", "0A00000C:0B59", "sctp 10.0.0.100:2905 rr"},
		{"  -> 0A00000B:0B59      Masq    1      0          0         \n", "", "sctp 10.0.0.100:2905 rr"},
		{"[2001:0db8:0000:0000:0000:0000:0000:0001]:0050", "[2001:0db8:0000:0000:0000:0000:0000:0001]:0051", "fwmark 7 inet wlc"},
	} {
		if !strings.Contains(glanced, tt.from) {
			t.Fatalf("there is no %q", tt.from)
		}
		h, err := readGlance(strings.NewReader(strings.Replace(glanced, tt.from, tt.to, 1)))
		if err != nil {
			t.Fatal(err)
		}
		var changed []string
		for name, digest := range g {
			if h[name] != digest {
				changed = append(changed, name)
			}
		}
		want := ""
		if tt.changed != "" {
			want = nameInGlance(service(tt.changed).Key)
		}
		if strings.Join(changed, ", ") != want {
			t.Errorf("%q instead of %q changes %q, want %q", tt.to, tt.from, changed, want)
		}
	}
}

// A sample reads the services, what is known to have changed, and of the rest a
// part in turn.
func TestSample(t *testing.T) {
	w := newWorld()
	k := w.open(t, noModules())
	seen := make(glance)
	k.glance = func() glance { return seen }
	want := many(90, 2)
	mustApply(t, NewReconciler(k, nil, silent()), want)
	const turn = 90 / sampleRounds
	sample := func(what string, exchanges int) pool.Table {
		t.Helper()
		w.sends = 0
		list, err := k.Sample(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if w.sends != exchanges {
			t.Errorf("%s: %d exchanges, want %d", what, w.sends, exchanges)
		}
		var plain pool.Table
		for _, s := range list {
			plain = append(plain, s.Plain())
		}
		return plain
	}
	sample("after a write", 1+90)
	if got := sample("nothing changed", 1+turn); !got.Equal(want) {
		t.Errorf("the table of a sample:\n%s", print(got))
	}
	v := want[40]
	if errs := k.Write(t.Context(), []Op{{Kind: DelServer, Service: v, Server: v.Servers[0]}}); errs[0] != nil {
		t.Fatal(errs)
	}
	if got := sample("after a write of ours", 1+1+turn); len(got[40].Servers) != 1 {
		t.Errorf("after a write of ours: %+v", got[40])
	}
	seen[nameInGlance(want[20].Key)]++
	w.kernel.set(service("tcp 10.9.9.9:1 wlc", server("10.0.0.1:1 nat 1")))
	if got := sample("one looks different, another is new", 1+2+turn+1); len(got) != 91 {
		t.Errorf("%d services", len(got))
	}
	// A limit is not in a glance: its service's turn comes.
	changed := want[70]
	changed.Servers = append([]pool.RealServer(nil), changed.Servers...)
	changed.Servers[1].Upper = 77
	w.kernel.set(changed)
	for n := 1; ; n++ {
		if got := sample("in turn", 1+(91+sampleRounds-1)/sampleRounds); got.Find(changed.Key).Servers[1].Upper == 77 {
			break
		}
		if n == sampleRounds {
			t.Fatalf("a changed limit was not seen in %d samples", n)
		}
	}
	w.sends = 0
	if _, err := k.Sample(t.Context(), 1<<40); err != nil || w.sends != 1+91 {
		t.Errorf("with time enough: %d exchanges, %v", w.sends, err)
	}
}
