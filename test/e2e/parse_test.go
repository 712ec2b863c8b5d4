//go:build vm

package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"baton/test/scene"
)

func TestParseTable(t *testing.T) {
	const adm = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
UDP  10.0.0.100:53 rr
SCTP 10.0.0.100:99 rr
FWM  7 rr persistent 60
FWM  8 IPv6 dh
TCP  10.0.0.100:80 wrr persistent 300
  -> 10.0.1.12:80                 Tunnel  2      1          9         
  -> 10.0.1.11:80                 Masq    3      0          30        
TCP  [fd00:a::100]:80 sh
  -> [fd00:b::11]:8080            Route   1      0          0         
`
	const proc = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  [fd00:000a:0000:0000:0000:0000:0000:0100]:0050 sh 
  -> [fd00:000b:0000:0000:0000:0000:0000:0011]:1F90      Route   1      0          0         
UDP  0A000064:0035 rr 
TCP  0A000064:0050 wrr persistent 300 FFFFFFFF
  -> 0A00010C:0050      Tunnel  2      1          9         
  -> 0A00010B:0050      Masq    3      0          30        
`
	want := table{
		{Key: "tcp 10.0.0.100:80", Scheduler: "wrr", Servers: []server{
			{Address: "10.0.1.11:80", Forward: scene.NAT, Weight: 3, Inactive: 30},
			{Address: "10.0.1.12:80", Forward: scene.TUN, Weight: 2, Active: 1, Inactive: 9},
		}},
		{Key: "tcp [fd00:a::100]:80", Scheduler: "sh", Servers: []server{
			{Address: "[fd00:b::11]:8080", Forward: scene.DR, Weight: 1},
		}},
		{Key: "udp 10.0.0.100:53", Scheduler: "rr"},
	}
	others := table{
		{Key: "fwmark 7", Scheduler: "rr"},
		{Key: "fwmark 8 inet6", Scheduler: "dh"},
		{Key: "sctp 10.0.0.100:99", Scheduler: "rr"},
	}
	for name, text := range map[string]string{"ipvsadm": adm, "proc": proc} {
		want := want
		if name == "ipvsadm" {
			want = append(others, want...).sort()
		}
		got, err := parseTable(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for _, text := range []string{"TCP  10.0.0.100:x rr\n", "  -> 10.0.1.11:80 Masq 3 0 0\n", "something else\n"} {
		if got, err := parseTable(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
	if err := want.partOf(want[1:]); err == nil {
		t.Error("a missing service is not missed")
	}
	if err := want.partOf(table{{Key: want[0].Key, Servers: want[0].Servers[:1]}, want[1], want[2]}); err == nil {
		t.Error("a missing server is not missed")
	}
}
