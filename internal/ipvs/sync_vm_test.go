//go:build vm

package ipvs

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// daemons returns what ipvsadm says of the sync daemons, one a line.
func (h host) daemons() []string {
	h.t.Helper()
	out := strings.Split(strings.TrimSpace(h.ipvsadm("--list --daemon")), "\n")
	if out[0] == "" {
		return nil
	}
	return out
}

// newSyncHost returns a namespace with an interface for the sync daemon, and its
// table.
func newSyncHost(t *testing.T) (host, *Kernel) {
	t.Helper()
	h := newHost(t)
	h.run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "far")
	h.run("ip", "link", "set", "far", "up")
	h.run("ip", "link", "set", "eth1", "up")
	h.run("ip", "address", "add", "10.0.1.1/24", "dev", "eth1")
	h.run("ip", "address", "add", "fd00:b::1/64", "dev", "eth1", "nodad")
	return h, h.open(Options{})
}

func TestVMSyncRoles(t *testing.T) {
	h, k := newSyncHost(t)
	set := func(want SyncDaemon, changes bool, listed ...string) {
		t.Helper()
		changed, err := k.SetSync(t.Context(), want)
		if err != nil || changed != changes {
			t.Errorf("%s: changed %t, error %v", want.Role, changed, err)
		}
		if got := h.daemons(); !slices.Equal(got, listed) {
			t.Errorf("%s: ipvsadm lists %q, want %q", want.Role, got, listed)
		}
		if changed, err := k.SetSync(t.Context(), want); changed || err != nil {
			t.Errorf("%s again: changed %t, error %v", want.Role, changed, err)
		}
	}
	d := SyncDaemon{Interface: "eth1", ID: 51}
	as := func(role SyncRole) SyncDaemon {
		d.Role = role
		return d
	}
	const plain = "sync daemon (mcast=eth1, syncid=51, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)"
	set(SyncDaemon{}, false)
	set(as(SyncBackup), true, "backup "+plain)
	set(as(SyncMaster|SyncBackup), true, "master "+plain, "backup "+plain)
	set(as(SyncMaster), true, "master "+plain)
	set(as(SyncBackup), true, "backup "+plain)

	d.Group, d.Port, d.TTL, d.MaxLen = netip.MustParseAddr("239.1.2.3"), 9999, 5, 600
	const odd = "(mcast=eth1, syncid=51, maxlen=1024, group=239.1.2.3, port=9999, ttl=5)"
	set(as(SyncBackup), true, "backup sync daemon "+odd)
	set(as(SyncMaster), true, "master sync daemon "+strings.Replace(odd, "1024", "600", 1))
	d = SyncDaemon{Interface: "eth1", Group: netip.MustParseAddr("ff02::81")}
	set(as(SyncMaster|SyncBackup), true,
		"master sync daemon (mcast=eth1, syncid=0, maxlen=1452, group=ff02::81, port=8848, ttl=1)",
		"backup sync daemon (mcast=eth1, syncid=0, maxlen=1452, group=ff02::81, port=8848, ttl=1)")
	set(SyncDaemon{}, true)
}

// What somebody else starts and stops is found, and made what is wanted.
func TestVMSyncForeign(t *testing.T) {
	h, k := newSyncHost(t)
	want := SyncDaemon{Role: SyncBackup, Interface: "eth1", ID: 7}
	h.ipvsadm("--start-daemon backup --mcast-interface eth1 --syncid 7")
	if changed, err := k.SetSync(t.Context(), want); changed || err != nil {
		t.Errorf("one with our settings: changed %t, error %v", changed, err)
	}
	h.ipvsadm("--stop-daemon backup")
	h.ipvsadm("--start-daemon master --mcast-interface eth1 --syncid 8")
	if changed, err := k.SetSync(t.Context(), want); !changed || err != nil {
		t.Errorf("the other role: changed %t, error %v", changed, err)
	}
	if got := h.daemons(); len(got) != 1 || !strings.HasPrefix(got[0], "backup sync daemon (mcast=eth1, syncid=7,") {
		t.Errorf("ipvsadm lists %q", got)
	}
}

// A jumbo frame's length for the backup is the kernel's choice, too.
func TestVMSyncJumboFrames(t *testing.T) {
	h, k := newSyncHost(t)
	h.run("ip", "link", "set", "eth1", "mtu", "9000")
	want := SyncDaemon{Role: SyncMaster | SyncBackup, Interface: "eth1", ID: 7}
	for i := range 2 {
		if changed, err := k.SetSync(t.Context(), want); changed != (i == 0) || err != nil {
			t.Errorf("round %d: changed %t, error %v", i, changed, err)
		}
	}
	if got := strings.Join(h.daemons(), "\n"); !strings.Contains(got, "maxlen=1472") || !strings.Contains(got, "maxlen=8972") {
		t.Errorf("ipvsadm lists %s", got)
	}
}

func TestVMSyncErrors(t *testing.T) {
	h, k := newSyncHost(t)
	refused := func(what string, want SyncDaemon, errno syscall.Errno, says string) {
		t.Helper()
		changed, err := k.SetSync(t.Context(), want)
		if changed || !errors.Is(err, errno) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: changed %t, %v does not say %q", what, changed, err, says)
		}
		t.Logf("%s: %v", what, err)
	}
	refused("no interface", SyncDaemon{Role: SyncMaster, Interface: "eth9"}, syscall.ENODEV, "there is no such interface")
	h.run("ip", "link", "set", "eth1", "down")
	refused("an interface that is down", SyncDaemon{Role: SyncMaster, Interface: "eth1"}, syscall.ENETUNREACH, "set the interface up")
	h.run("ip", "link", "set", "eth1", "up")

	mixed := table(service("tcp 10.0.0.100:80 wlc", server("[2001:db8::1]:80 tun 1")))
	assertClean(t, mustApply(t, NewReconciler(k, nil, silent()), mixed))
	refused("a server of the other family", SyncDaemon{Role: SyncBackup, Interface: "eth1"}, syscall.EINVAL, "use one family in each service")
	h.ipvsadm("-C")
	if changed, err := k.SetSync(t.Context(), SyncDaemon{Role: SyncBackup, Interface: "eth1"}); !changed || err != nil {
		t.Errorf("changed %t, error %v", changed, err)
	}
	a := mustApply(t, NewReconciler(k, nil, silent()), mixed)
	for key, err := range a.Failed {
		t.Logf("%s: %v", key, err)
	}
	if len(a.Failed) != 1 {
		t.Errorf("a server of the other family beside the daemon: %d services failed", len(a.Failed))
	}
}
