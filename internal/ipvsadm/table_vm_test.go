//go:build vm

package ipvsadm

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// everything is a table with every feature that ipvsadm can express, as it saves
// it, but for the thresholds, which it does not save.
const everything = `-A -t 10.0.0.100:0 -s ovf -p 300
-a -t 10.0.0.100:0 -r 10.0.0.11:0 -m -w 3
-A -t 10.0.0.100:80 -s wlc
-a -t 10.0.0.100:80 -r 10.0.0.11:8080 -m -w 5
-a -t 10.0.0.100:80 -r 10.0.0.12:80 -g -w 0
-a -t 10.0.0.100:80 -r 10.0.0.13:80 -i -w 1 --tun-type ipip
-a -t 10.0.0.100:80 -r [2001:db8::9]:80 -i -w 3 --tun-type ipip
-A -u 10.0.0.100:53 -s rr -p 60 -M 255.255.255.0 -o
-a -u 10.0.0.100:53 -r 10.0.0.14:53 -i -w 2147483647 --tun-type gue --tun-port 6080 --tun-csum
-a -u 10.0.0.100:53 -r 10.0.0.15:53 -i -w 2 --tun-type gue --tun-port 6081 --tun-remcsum
-a -u 10.0.0.100:53 -r 10.0.0.16:53 -i -w 2 --tun-type gue --tun-port 65535 --tun-nocsum
-a -u 10.0.0.100:53 -r 10.0.0.17:53 -i -w 2 --tun-type gre --tun-csum
-a -u 10.0.0.100:53 -r 10.0.0.18:53 -i -w 2 --tun-type gre --tun-nocsum
-A -u 10.0.0.100:5060 -s rr -p 40 --pe sip -o
-A --sctp-service 10.0.0.100:9899 -s mh -b mh-fallback,mh-port
-A -t [2001:db8::100]:443 -s sh -p 300 -M 64 -b sh-port
-a -t [2001:db8::100]:443 -r 10.0.0.1:443 -i -w 1 --tun-type ipip
-a -t [2001:db8::100]:443 -r [2001:db8::1]:8443 -m -w 1
-A -f 7 -s nq -p 360
-A -f 7 -6 -s sed -b flag-2,flag-3
-a -f 7 -6 -r [2001:db8::1]:0 -g -w 4
-A -f 2000000000 -s wrr -o
-a -f 2000000000 -r 10.0.0.11:81 -m -w 1
`

// withThresholds adds them to everything, where "baton ipvs save" prints them.
func withThresholds() string {
	return strings.Replace(everything, "-m -w 5\n", "-m -w 5 -x 1000 -y 800\n", 1)
}

// TestVMBothDirections: what one of the two saves, the other one restores.
func TestVMBothDirections(t *testing.T) {
	a, b := newHost(t), newHost(t)
	a.feed(withThresholds(), "ipvsadm -R")
	if d := cmp.Diff(everything, a.run("ipvsadm -Sn")); d != "" {
		t.Fatalf("ipvsadm does not have the table (-want +got):\n%s", d)
	}
	ours := a.run("baton ipvs save")
	if d := cmp.Diff(withThresholds(), ours); d != "" {
		t.Errorf("baton ipvs save (-want +got):\n%s", d)
	}

	b.feed(ours, "ipvsadm -R")
	sameTables(t, "baton ipvs save | ipvsadm -R", a, b)
	b.run("ipvsadm -C")
	b.feed(a.run("ipvsadm -Sn"), "baton ipvs restore")
	b.feed("-e -t 10.0.0.100:80 -r 10.0.0.11:8080 -m -w 5 -x 1000 -y 800", "baton ipvs restore -")
	sameTables(t, "ipvsadm -Sn | baton ipvs restore", a, b)

	b.run("ipvsadm -D -f 7")
	b.run("ipvsadm -A -t 10.0.0.200:80")
	b.run("ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.12:80 -g -w 77")
	b.feed(ours, "baton ipvs restore --flush")
	sameTables(t, "baton ipvs restore --flush", a, b)
}

func sameTables(t *testing.T, what string, a, b host) {
	t.Helper()
	for _, line := range []string{"ipvsadm -Sn", "ipvsadm -Ln --thresholds"} {
		if d := cmp.Diff(a.run(line), b.run(line)); d != "" {
			t.Errorf("%s: %s (-want +got):\n%s", what, line, d)
		}
	}
}

// TestVMRestore: nothing is done with mistakes; what the kernel refuses is named
// by its line, and the rest is done.
func TestVMRestore(t *testing.T) {
	h := newHost(t)
	h.run("ipvsadm -A -t 10.0.0.100:80")
	rules := `# comments and empty lines are allowed

ipvsadm -A -t 10.0.0.100:80 -s rr
-A -u 10.0.0.100:53 -s rr
-a -u 10.0.0.100:53 -r 224.0.0.9 -m
-a -u 10.0.0.100:53 -r 10.0.0.11 -m
-a -t 10.0.0.100:81 -r 10.0.0.11 -m
-E -t 10.0.0.100:80 -s nosuch
--set 0 7 0
-Z -u 10.0.0.100:53
`
	o := h.fails(2, "line 3, column 30: -w does not belong to --add-service", strings.Replace(rules, "-s rr", "-w 1", 1), "baton ipvs restore")
	if !strings.Contains(o.errors, "nothing was changed") {
		t.Error(o.errors)
	}
	if got := h.run("ipvsadm -Sn"); got != "-A -t 10.0.0.100:80 -s wlc\n" {
		t.Errorf("with a mistake the table is %s", got)
	}
	o = h.fails(1, "4 rules failed", rules, "baton ipvs restore")
	for _, want := range []string{
		"line 3: add service tcp 10.0.0.100:80: the kernel has this service already",
		"line 5: add server 224.0.0.9:53 to udp 10.0.0.100:53: the kernel takes only unicast",
		"line 7: add server 10.0.0.11:81 to tcp 10.0.0.100:81: the kernel has no such service",
		"line 8: change service tcp 10.0.0.100:80: the kernel has no scheduler \"nosuch\"",
	} {
		if !strings.Contains(o.errors, want) {
			t.Errorf("%q is not said:\n%s", want, o.errors)
		}
	}
	if got := h.run("ipvsadm -Sn"); got != "-A -t 10.0.0.100:80 -s wlc\n-A -u 10.0.0.100:53 -s rr\n-a -u 10.0.0.100:53 -r 10.0.0.11:53 -m -w 1\n" {
		t.Errorf("the table is %s", got)
	}
	if got := h.run("baton ipvs timeouts"); got != "Timeout (tcp tcpfin udp): 900 7 300\n" || got != h.run("ipvsadm -L --timeout") {
		t.Errorf("timeouts: %s", got)
	}
	h.fails(1, "line 2: add server 224.0.0.9:53", "-A -u 10.0.0.100:53 -s rr\n-a -u 10.0.0.100:53 -r 224.0.0.9 -m\n-a -u 10.0.0.100:53 -r 10.0.0.11 -m -w 1\n", "baton ipvs restore --flush")
	if got := h.run("ipvsadm -Sn"); got != "-A -u 10.0.0.100:53 -s rr\n-a -u 10.0.0.100:53 -r 10.0.0.11:53 -m -w 1\n" {
		t.Errorf("after --flush the table is %s", got)
	}
	h.feed("-C\n-A -f 9\n", "baton ipvs restore")
	if got := h.run("ipvsadm -Sn"); got != "-A -f 9 -s wlc\n" {
		t.Errorf("after -C the table is %s", got)
	}
	// A mask that no rule of ours can express must not vanish.
	h.run("ipvsadm -A -t 10.0.0.1:80 -p 9 -M 255.0.255.0")
	o = h.fails(1, "tcp 10.0.0.1:80 cannot be written as rules of ipvsadm: its persistence netmask is no prefix", "", "baton ipvs save")
	if o.out != "-A -f 9 -s wlc\n" {
		t.Errorf("the others: %s", o.out)
	}
}
