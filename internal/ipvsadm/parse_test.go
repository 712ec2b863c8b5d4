package ipvsadm

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// names knows a few names, and remembers that it was asked.
type names struct{ asked []string }

func (n *names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.asked = append(n.asked, network+" "+host)
	if host == "web1" {
		return []netip.Addr{netip.MustParseAddr("10.0.0.11")}, nil
	}
	return nil, errors.New("no such host")
}

func (n *names) LookupPort(_ context.Context, network, service string) (int, error) {
	n.asked = append(n.asked, network+" "+service)
	if service == "http" {
		return 80, nil
	}
	return 0, errors.New("unknown port")
}

func parse(text string) ([]Rule, error) {
	return Parse(context.Background(), strings.NewReader(text), Options{Resolver: &names{}})
}

// equateAddrs makes cmp compare addresses by their value.
var equateAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// What people write is the same as what ipvsadm saves.
func TestParseForms(t *testing.T) {
	for _, tt := range []struct{ written, saved string }{
		{"-A -t 10.0.0.1:80", "-A -t 10.0.0.1:80 -s wlc"},
		{"-At 10.0.0.1:http -s=rr", "-A -t 10.0.0.1:80 -s rr"},
		{"/sbin/ipvsadm --add-service --tcp-service=10.0.0.1:80 --scheduler rr", "-A -t 10.0.0.1:80 -s rr"},
		{"  -A\t-u web1:53   # the name server\r", "-A -u 10.0.0.11:53 -s wlc"},
		{"-A -t 10.0.0.1:80 -p -s rr", "-A -t 10.0.0.1:80 -s rr -p 360"},
		{"-A -t 10.0.0.1:80 -p300 -M 255.255.255.0", "-A -t 10.0.0.1:80 -s wlc -p 300 -M 255.255.255.0"},
		{"-A -t 10.0.0.1:80 -p=300", "-A -t 10.0.0.1:80 -s wlc -p 300"},
		{"-A -t 10.0.0.1:80 --persistent=300 -M 255.255.255.255", "-A -t 10.0.0.1:80 -s wlc -p 300"},
		{"-A -t 10.0.0.1:80 -M 255.0.0.0", "-A -t 10.0.0.1:80 -s wlc"},
		{"-A -t 10.0.0.1 -p", "-A -t 10.0.0.1:0 -s wlc -p 360"},
		{"-A -t 2001:db8::1 -p 9 -M 64", "-A -t [2001:db8::1]:0 -s wlc -p 9 -M 64"},
		{"-A -f 007 -6", "-A -f 7 -6 -s wlc"},
		{"-A -f -294967296", "-A -f 4000000000 -s wlc"},
		{"-A -6 -f 7 -o", "-A -f 7 -6 -s wlc -o"},
		{"-A --sctp-service 10.0.0.1:9 -b mh-port,flag-1,flag-3 -s mh", "-A --sctp-service 10.0.0.1:9 -s mh -b mh-fallback,mh-port,flag-3"},
		{"-A -u 10.0.0.1:5060 --pe sip -p 9 --ops", "-A -u 10.0.0.1:5060 -s wlc -p 9 --pe sip -o"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -g -w 1"},
		{"-a -t 10.0.0.1:80 -r web1:8080", "-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 07", "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 7"},
		{"-amt 10.0.0.1:80 -r 10.0.0.2 -x 9 -y 8", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 1 -x 9 -y 8"},
		{"-a -f 7 -r 10.0.0.2 -i", "-a -f 7 -r 10.0.0.2:0 -i -w 1 --tun-type ipip"},
		{"-a -f 7 -r 10.0.0.2:81 -g", "-a -f 7 -r 10.0.0.2:81 -g -w 1"},
		{"-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i", "-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -i -w 1 --tun-type ipip"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue --tun-port 6080", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue --tun-port 1 --tun-remcsum", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gue --tun-port 1 --tun-remcsum"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-csum", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -i -w 1 --tun-type gre --tun-csum"},
	} {
		rules, err := parse("# first\n\n" + tt.written + "\n")
		if err != nil || len(rules) != 1 || rules[0].Line != 3 {
			t.Errorf("%s: %v, %v", tt.written, rules, err)
			continue
		}
		r := rules[0]
		got := "-A " + keyOptions(r.Service.Key) + settingsText(r.Service)
		if r.Command == AddServer {
			got = "-a " + keyOptions(r.Service.Key) + " -r " + r.Server.AddrPort().String() + serverText(r.Server)
		}
		if got != tt.saved {
			t.Errorf("%s\nis  %s\nnot %s", tt.written, got, tt.saved)
		}
	}
}

func TestParseCommands(t *testing.T) {
	rules, err := parse(`-C
-E -t 10.0.0.1:80 -s rr
-D -u 10.0.0.1:80
-e -f 7 -6 -r [2001:db8::1]:80 -w 0
-d -t 10.0.0.1:80 -r 10.0.0.2:8080
-Z
--zero -f 7 -6
--set 900 0 300
--start-daemon=master --mcast-interface eth1 --syncid 51 --mcast-group ff02::81 --mcast-port 9 --mcast-ttl 2 --sync-maxlen 600
--start-daemon backup
--stop-daemon backup --syncid 51`)
	if err != nil {
		t.Fatal(err)
	}
	web := pool.VirtualService{Key: pool.KeyOf(pool.TCP, netip.MustParseAddrPort("10.0.0.1:80"))}
	edited := web
	edited.Scheduler, edited.PersistencePrefix = "rr", 32
	mark := pool.VirtualService{Key: pool.Key{FWMark: 7, IPv6: true}}
	want := []Rule{
		{Command: Clear},
		{Command: EditService, Service: edited},
		{Command: DeleteService, Service: pool.VirtualService{Key: pool.KeyOf(pool.UDP, netip.MustParseAddrPort("10.0.0.1:80"))}},
		{Command: EditServer, Service: mark, Server: pool.RealServer{Address: netip.MustParseAddr("2001:db8::1"), Port: 80, Forward: pool.DR}},
		{Command: DeleteServer, Service: web, Server: pool.RealServer{Address: netip.MustParseAddr("10.0.0.2"), Port: 8080}},
		{Command: Zero},
		{Command: Zero, Service: mark},
		{Command: SetTimeouts, Timeouts: ipvs.Timeouts{TCP: 15 * time.Minute, UDP: 5 * time.Minute}},
		{Command: StartDaemon, Sync: ipvs.SyncDaemon{
			Role: ipvs.SyncMaster, Interface: "eth1", ID: 51, Group: netip.MustParseAddr("ff02::81"), Port: 9, TTL: 2, MaxLen: 600,
		}},
		{Command: StartDaemon, Sync: ipvs.SyncDaemon{Role: ipvs.SyncBackup, Interface: "eth0"}},
		{Command: StopDaemon, Sync: ipvs.SyncDaemon{Role: ipvs.SyncBackup}},
	}
	for i := range want {
		want[i].Line = i + 1
	}
	if d := cmp.Diff(want, rules, equateAddrs); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseMistakes(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		column int
		says   string
	}{
		{"foo", 1, "no command; a line begins with one of -A"},
		{"-t 10.0.0.1:80 -A", 1, "no command"},
		{"-L -n", 1, "it lists"},
		{"-R", 1, "another one"},
		{"-A", 1, "--add-service needs -t, -u, -f or --sctp-service"},
		{"-a -t 10.0.0.1:80", 1, "--add-server needs -r"},
		{"-A -t 10.0.0.1:80 -D", 20, "a second command"},
		{"-A -t 10.0.0.1:80 --zero", 19, "a second command"},
		{"-A -t 10.0.0.1:80 -q", 20, "there is no option -q"},
		{"-A -t 10.0.0.1:80 --shed rr", 19, "there is no option --shed"},
		{"-A -t 10.0.0.1:80 -w 5", 20, "-w does not belong to --add-service"},
		{"-A -t 10.0.0.1:80 -s", 20, "-s needs a value"},
		{"-A -t 10.0.0.1:80 -s rr -s wlc", 26, "-s is given twice"},
		{"-A -t 10.0.0.1:80 -u 10.0.0.1:80", 20, "-u beside -t"},
		{"-A -t 10.0.0.1:80 rr", 19, `"rr" belongs to no option`},
		{"-A -t 10.0.0.1:80 -p rr", 22, "a timeout is a number of seconds from 1 to 2678400"},
		{"-A -t 10.0.0.1:80 -p 0", 22, "a timeout"},
		{"-A -t 10.0.0.1:80 -p 9 -M 24", 27, "for IPv4 it is a netmask"},
		{"-A -t 10.0.0.1:80 -p 9 -M 255.0.255.0", 27, "a prefix of at least one bit"},
		{"-A -t 10.0.0.1:80 -p 9 -M 0.0.0.0", 27, "a prefix of at least one bit"},
		{"-A -f 7 -6 -M 129", 15, "from 1 to 128"},
		{"-A -t 10.0.0.1:80 -6", 20, "-6 belongs to -f"},
		{"-A -t 10.0.0.1:80 -o", 20, "-o is for UDP"},
		{"-A -t 10.0.0.1", 0, "needs -p"},
		{"-A -f 0", 7, "a firewall mark is"},
		{"-A -f 0x10", 7, "a firewall mark is"},
		{"-A -t 10.1:80", 7, "four numbers"},
		{"-A -t 10.0.0.256:80", 7, "four numbers"},
		{"-A -t web9:80", 7, "the host web9 is not known"},
		{"-A -t 10.0.0.1:www", 7, "the service www is not known"},
		{"-A -t 10.0.0.1:65536", 7, "a port is"},
		{"-A -t 10.0.0.1:", 7, "it is an address with a port"},
		{"-A -t [10.0.0.1]:80", 7, "it is an address with a port"},
		{"-A -t [fe80::1%eth0]:80", 7, "without a zone"},
		{"-A -t [::ffff:10.0.0.1]:80", 7, "without IPv4 inside of IPv6"},
		{"-A -t 10.0.0.1:80 -s WLC", 22, "the name of a scheduler"},
		{"-A -t 10.0.0.1:80 -b sh-port", 22, "a flag of the scheduler sh, not of wlc"},
		{"-A -t 10.0.0.1:80 -b port", 22, "scheduler flags are"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -g -m", 35, "-m beside -g"},
		{"-a -t 10.0.0.1:80 -r [2001:db8::2]:80 -m", 22, "only a tunnel"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -w 2147483648", 34, "from 0 to 2147483647"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -w -1", 34, "from 0 to 2147483647"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -y 5", 34, "must not be above the upper one"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -m --tun-type gue --tun-port 1", 34, "--tun-type needs -i"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type vxlan", 45, "a tunnel is ipip, gue or gre"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gue", 34, "needs --tun-port"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-csum", 34, "does not belong to a tunnel of the type ipip"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-remcsum", 49, "does not belong to a tunnel of the type gre"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-type gre --tun-csum --tun-nocsum", 49, "--tun-csum beside --tun-nocsum"},
		{"-C -t 10.0.0.1:80", 5, "-t does not belong to --clear"},
		{"--set 1 2", 1, "three numbers"},
		{"--set 1 2 x", 11, "a timeout is"},
		{"--start-daemon", 1, "needs master or backup"},
		{"--start-daemon slave", 16, "is master or backup"},
		{"--start-daemon master --mcast-group 10.0.0.1", 37, "a multicast address"},
		{strings.Repeat("x", longestLine+1), 0, "bytes in one line"},
	} {
		_, err := parse("-C\n" + tt.rule)
		var got Mistakes
		if !errors.As(err, &got) || len(got) == 0 || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.60s: %v does not say %q", tt.rule, err, tt.says)
			continue
		}
		if i := slices.IndexFunc(got, func(m Mistake) bool { return m.Column == tt.column && m.Line == 2 }); i < 0 {
			t.Errorf("%.60s: no mistake at column %d: %v", tt.rule, tt.column, err)
		}
	}
	// All mistakes at once.
	_, err := parse("-A -t 10.0.0.256:80 -p x\n-C\nfoo\n")
	var got Mistakes
	if !errors.As(err, &got) || len(got) != 3 || got[2].Line != 3 {
		t.Errorf("mistakes %v", err)
	}
}

// Numbers are never looked up.
func TestParseAsksForNamesOnly(t *testing.T) {
	var n names
	_, err := Parse(t.Context(), strings.NewReader("-A -t 10.0.0.1:80\n-a -u web1:http -r [2001:db8::1]:53 -i\n"), Options{Resolver: &n})
	if want := []string{"ip4 web1", "udp http"}; err != nil || !slices.Equal(n.asked, want) {
		t.Errorf("asked for %q, want %q; %v", n.asked, want, err)
	}
}

func TestTableMistakes(t *testing.T) {
	for _, tt := range []struct{ rules, table, check string }{
		{"-A -t 10.0.0.1:80\n-A -t 10.0.0.1:80", "line 2: the service tcp 10.0.0.1:80 is there already, by line 1", "line 2: the service"},
		{"-a -t 10.0.0.1:80 -r 10.0.0.2", "line 1: there is no service tcp 10.0.0.1:80", ""},
		{"-E -t 10.0.0.1:80 -s rr\n-Z -f 7\n-D -f 8", "line 1: there is no service", ""},
		{"-D -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.0.0.2", "line 1: there is no", "line 2: there is no service"},
		{"-C\n-a -t 10.0.0.1:80 -r 10.0.0.2", "line 2", "line 2"},
		{"-A -t 10.0.0.1:80\n-a -t 10.0.0.1:80 -r 10.0.0.2\n-a -t 10.0.0.1:80 -r 10.0.0.2 -w 2", "line 3: the server", "line 3: the server"},
		{"-A -t 10.0.0.1:80\n-d -t 10.0.0.1:80 -r 10.0.0.2", "line 2: there is no server", "line 2: there is no server"},
		{"-A -t 10.0.0.1:80\n-D -t 10.0.0.1:80\n-A -t 10.0.0.1:80\n-C\n-A -t 10.0.0.1:80\n-Z\n--set 1 1 1", "", ""},
	} {
		rules, err := parse(tt.rules)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Table(rules)
		for what, got := range map[string]struct {
			err  error
			says string
		}{"table": {err, tt.table}, "check": {Check(rules), tt.check}} {
			if (got.err == nil) != (got.says == "") || got.err != nil && !strings.Contains(got.err.Error(), got.says) {
				t.Errorf("%s: %q: %v, want %q", what, tt.rules, got.err, got.says)
			}
		}
	}
}

// TestTable plays all commands of services and servers.
func TestTable(t *testing.T) {
	rules, err := parse(`-A -t 10.0.0.1:80
-a -t 10.0.0.1:80 -r 10.0.0.3 -m
-a -t 10.0.0.1:80 -r 10.0.0.2 -m
-E -t 10.0.0.1:80 -s rr
-e -t 10.0.0.1:80 -r 10.0.0.2 -m -w 9
-d -t 10.0.0.1:80 -r 10.0.0.3
-A -f 7`)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Table(rules)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range table {
		lines, err := Rules(v)
		if err != nil {
			t.Error(err)
		}
		got = append(got, lines...)
	}
	want := []string{"-A -t 10.0.0.1:80 -s rr", "-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m -w 9", "-A -f 7 -s wlc"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
