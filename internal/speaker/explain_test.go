package speaker

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
)

// explainNow is when the routers of TestExplain are looked at.
var explainNow = time.Date(2026, 1, 31, 4, 5, 6, 0, time.UTC)

// explained is a router of the tests in a state, after changes.
func explained(state vrrp.State, reason string, change ...func(*RouterStatus)) RouterStatus {
	s := RouterStatus{
		Spec: Router{
			Name: "web", Interface: "eth0", ID: 51, Version: 3, Priority: 150, Interval: time.Second, Preempt: true,
			Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}},
		},
		Election: vrrp.Status{
			State: state, Since: explainNow.Add(-192 * time.Minute), Reason: reason, Priority: 150, Interval: time.Second,
		},
		Source: netip.MustParseAddr("10.0.0.1"), Held: state == vrrp.Master, Sent: 11520, Received: 12,
	}
	if state == vrrp.Master {
		s.Election.Owner, s.Election.OwnerPriority = s.Source, 150
	}
	for _, c := range change {
		c(&s)
	}
	s.Election.DownInterval = vrrp.DownInterval(s.Election.Priority, s.Election.Interval)
	return s
}

// hears makes a backup hear a master.
func hears(priority uint8) func(*RouterStatus) {
	return func(s *RouterStatus) {
		e := &s.Election
		e.Owner, e.OwnerPriority = netip.MustParseAddr("10.0.0.2"), priority
		e.LastHeard, e.MasterDown = explainNow.Add(-300*time.Millisecond), explainNow.Add(3*time.Second)
	}
}

func TestExplain(t *testing.T) {
	const (
		masterHead = "Router web (id 51 on eth0) is master since 2026-01-31 00:53:06, for 3h12m: no master heard for 3.41s."
		owns       = "This director owns 10.0.0.100/24 and says so with priority 150 from 10.0.0.1 every 1s, by multicast."
		ends       = `It ends when a router with a priority above 150 (or the same and an address above 10.0.0.1) speaks, when eth0 fails, or with "baton failover web".`
		backupHead = "Router web (id 51 on eth0) is backup since 2026-01-31 00:53:06, for 3h12m: listening for a master."
		takesOver  = "It takes over when nothing is heard of the master for 3.4s, or at once when the master gives up."
	)
	master := func(change ...func(*RouterStatus)) RouterStatus {
		return explained(vrrp.Master, "no master heard for 3.41s", change...)
	}
	backup := func(change ...func(*RouterStatus)) RouterStatus {
		return explained(vrrp.Backup, "listening for a master", change...)
	}
	hearsText := func(priority string) string {
		return "10.0.0.2 owns 10.0.0.100/24, with priority " + priority + "; its last advert came 300ms ago."
	}
	for _, tt := range []struct {
		name   string
		router RouterStatus
		want   []string
	}{
		{"master", master(), []string{masterHead, owns, ends}},
		{"master of priority 255", master(func(s *RouterStatus) { s.Spec.Priority, s.Election.Priority = 255, 255 }), []string{
			masterHead,
			"This director owns 10.0.0.100/24 and says so with priority 255 from 10.0.0.1 every 1s, by multicast.",
			`Nobody can have a higher priority than 255. It ends when eth0 fails, or with "baton failover web".`,
		}},
		{"master that never heard anybody", master(func(s *RouterStatus) { s.Received = 0 }), []string{
			masterHead, owns, ends,
			"No advert of another router was ever accepted (sent 11520, received 0). As long as the others are backups that is as it should be. " +
				"If a peer is master too: is IP protocol 112 let through by the firewalls of both, and does the switch pass multicast to 224.0.0.18?",
		}},
		{"master that never heard its peers", master(func(s *RouterStatus) {
			s.Received, s.Spec.Peers = 0, []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")}
		}), []string{
			masterHead,
			"This director owns 10.0.0.100/24 and says so with priority 150 from 10.0.0.1 every 1s, to 10.0.0.2, 10.0.0.3.",
			ends,
			"No advert of another router was ever accepted (sent 11520, received 0). As long as the others are backups that is as it should be. " +
				"If one of 10.0.0.2, 10.0.0.3 is master too: is IP protocol 112 let through by the firewalls of both, and does the switch pass packets between 10.0.0.1 and 10.0.0.2, 10.0.0.3?",
		}},
		{"master that believes nobody", master(func(s *RouterStatus) {
			s.Received, s.Rejected = 0, map[string]uint64{"version": 40, "ttl": 1, "type": 0}
		}), []string{
			masterHead, owns, ends,
			"No advert of another router was ever accepted (sent 11520, received 0).",
			"1 packet was not believed (ttl): its TTL is not 255, so it crossed a router; routers that share addresses must be on one link, or name each other as peers.",
			"40 packets were not believed (version): a peer speaks another version than 3; keepalived needs vrrp_version 3.",
		}},
		{"master with a rival", master(func(s *RouterStatus) {
			s.Rivals, s.Election.LastHeard = 7, explainNow.Add(-90*time.Second)
		}), []string{
			masterHead, owns,
			"7 adverts of another router that believed to be master came meanwhile, the last one 1m30s ago: for a time both were. " +
				"Usually adverts pass in one direction only: look at the firewalls and the switch between them.",
			ends,
		}},
		{"master that leaves", master(func(s *RouterStatus) { s.Election.HandsOver = true }), []string{
			masterHead, owns,
			"A planned hand-over is in progress: it gave up being master, and keeps the addresses until the advert of another router is heard.",
		}},
		{"master just now", master(func(s *RouterStatus) { s.Held = false }), []string{
			masterHead, owns, "The addresses are just being put on the interface.", ends,
		}},
		{"master without addresses", master(func(s *RouterStatus) { s.Held, s.Problem = false, "address 10.0.0.100: permission denied" }), []string{
			masterHead, owns, ends, "Problem: address 10.0.0.100: permission denied",
		}},
		{"master that stands back", master(func(s *RouterStatus) { s.Election.Resigned, s.Election.Priority = true, 1 }), []string{
			masterHead,
			"This director owns 10.0.0.100/24 and says so with priority 1 from 10.0.0.1 every 1s, by multicast.",
			`It ends when a router with a priority above 1 (or the same and an address above 10.0.0.1) speaks, when eth0 fails, or with "baton failover web".`,
			`It stands back after "baton failover": it takes part with priority 1 instead of 150, so as to serve only when nobody else is left. So it is now.`,
			`"baton resume web" lets it take part again as configured.`,
		}},
		{"backup of a higher master", backup(hears(200)), []string{
			backupHead, hearsText("200"), takesOver,
			"Its own priority 150 is lower than the master's 200: only a higher one would take over from it.",
		}},
		{"backup of an equal", backup(hears(150)), []string{
			backupHead, hearsText("150"), takesOver,
			"Its own priority is 150 as well: between equals the master stays.",
		}},
		{"backup of a lower master, without preempt", backup(hears(100), func(s *RouterStatus) { s.Spec.Preempt = false }), []string{
			backupHead, hearsText("100"), takesOver,
			`Its own priority 150 is higher than the master's 100, but preempt is false: it leaves the addresses where they work. "baton failover" on the master moves them.`,
		}},
		{"backup that waits for its delay", backup(hears(100), func(s *RouterStatus) {
			s.Spec.PreemptDelay, s.Election.PreemptAt = 5*time.Minute, explainNow.Add(2*time.Minute)
		}), []string{
			backupHead, hearsText("100"), takesOver,
			"Its own priority 150 is higher than the master's 100: it takes over when its preempt_delay of 5m ends, in 2m.",
		}},
		{"backup about to take over", backup(hears(100)), []string{
			backupHead, hearsText("100"), takesOver,
			"Its own priority 150 is higher than the master's 100: it takes over in 3s.",
		}},
		{"backup that has heard nobody", backup(func(s *RouterStatus) { s.Election.MasterDown = explainNow.Add(1500 * time.Millisecond) }), []string{
			backupHead, "No master has been heard yet. It takes over in 1.5s, unless one is heard before.",
		}},
		{"backup of one that gave up", backup(hears(0), func(s *RouterStatus) { s.Election.MasterDown = explainNow }), []string{
			backupHead, "10.0.0.2 was master and gave it up 300ms ago. It takes over at any moment, unless another router does so before.",
		}},
		{"backup that stands back", backup(hears(100), func(s *RouterStatus) { s.Election.Resigned, s.Election.Priority = true, 1 }), []string{
			backupHead, hearsText("100"),
			"It takes over when nothing is heard of the master for 4s, or at once when the master gives up.",
			`It stands back after "baton failover": it takes part with priority 1 instead of 150, so as to serve only when nobody else is left.`,
			`"baton resume web" lets it take part again as configured.`,
		}},
		{"backup with a stranger", backup(hears(200), func(s *RouterStatus) {
			s.Stranger = "10.0.0.9 uses virtual router id 51 on eth0 for [10.0.0.77], this router has [10.0.0.100]: make the configurations equal, or give one of them another id"
		}), []string{
			backupHead, hearsText("200"), takesOver,
			"Its own priority 150 is lower than the master's 200: only a higher one would take over from it.",
			"Conflict: 10.0.0.9 uses virtual router id 51 on eth0 for [10.0.0.77], this router has [10.0.0.100]: make the configurations equal, or give one of them another id. " +
				"Any id from 1 to 255 that nobody else on this link uses will do.",
		}},
		{"fault", explained(vrrp.Fault, "interface eth0 is down or has no carrier"), []string{
			"Router web (id 51 on eth0) is in state fault since 2026-01-31 00:53:06, for 3h12m: interface eth0 is down or has no carrier.",
			"While that lasts it takes no part in the election, and 10.0.0.100/24 is not on this director: a peer that hears no master takes over.",
			`It takes part again by itself as soon as that is repaired. "ip -br addr show dev eth0" shows the interface.`,
		}},
		{"fault of a tracked object", explained(vrrp.Fault, "tracked ping 10.0.0.254: no answer within 1s"), []string{
			"Router web (id 51 on eth0) is in state fault since 2026-01-31 00:53:06, for 3h12m: tracked ping 10.0.0.254: no answer within 1s.",
			"While that lasts it takes no part in the election, and 10.0.0.100/24 is not on this director: a peer that hears no master takes over.",
			"It takes part again by itself as soon as that is repaired.",
		}},
		{"backup that its group holds up", backup(func(s *RouterStatus) {
			s.Election.Wants, s.Group, s.GroupWaitsFor = true, "edge", []string{"lan", "dmz"}
		}), []string{
			backupHead, "It hears no master that it would leave alone, but the routers of sync group edge become master together, " +
				`and it waits for lan, dmz: "baton explain router lan" says why.`,
		}},
		{"backup that waits for its connections", backup(hears(100), func(s *RouterStatus) {
			s.Spec.PreemptAfterSync = 30 * time.Second
			s.Election.Unsynced, s.Election.PreemptAt = true, explainNow.Add(20*time.Second)
		}), []string{
			backupHead, hearsText("100"), takesOver,
			"Its own priority 150 is higher than the master's 100: it takes over when its connection table has caught up " +
				"with the master's, or in 20s at the latest (preempt_after_sync 30s, preempt_delay 0s).",
		}},
		{"master with a weight, a conflict and heartbeats", master(func(s *RouterStatus) {
			s.Election.Priority = 90
			s.Tracks = []TrackState{
				{Name: "script /uplink.sh", Known: true, Weight: -60, Detail: "exit status 1"},
				{Name: "ping 10.0.0.254"},
				{Name: "interface eth1", Known: true, Up: true},
			}
			s.Conflicts, s.LastConflict = 3, "02:00:00:00:00:09 announced 10.0.0.100 on eth0 by arp reply"
			s.Heartbeats = []HeartbeatStatus{
				{Interface: "eth1", Problem: "interface eth1 is down or has no carrier"},
				{Interface: "eth2", LastHeard: explainNow.Add(-2 * time.Second)},
			}
		}), []string{
			masterHead, strings.Replace(owns, "150", "90", 1),
			"Somebody else announced one of its addresses 3 times, the last time: 02:00:00:00:00:09 announced 10.0.0.100 on eth0 by arp reply. " +
				"Each time it was announced again from here. Look for a host with the same address: the switch knows the port of that hardware address.",
			strings.Replace(ends, "150", "90", 1),
			"Tracked script /uplink.sh changes the priority by -60: exit status 1.",
			"Tracked ping 10.0.0.254: no result yet.",
			"So its priority is 90 instead of 150.",
			"Heartbeat path on eth1 does not work: interface eth1 is down or has no carrier.",
			"Heartbeat path on eth2 works; the last advert came 2s ago.",
		}},
		{"init", explained(vrrp.Init, "not started", func(s *RouterStatus) {
			s.Spec.Addresses = append(s.Spec.Addresses, network.Address{Prefix: netip.MustParsePrefix("10.0.0.101/24")})
		}), []string{
			"Router web (id 51 on eth0) is in state init since 2026-01-31 00:53:06, for 3h12m: not started.",
			"It takes no part in the election, and 10.0.0.100/24, 10.0.0.101/24 are not on this director.",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.router.Explain(explainNow); !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// TestExplainRejected: every reason has a cause.
func TestExplainRejected(t *testing.T) {
	all := []vrrp.Reject{
		vrrp.RejectLength, vrrp.RejectVersion, vrrp.RejectType, vrrp.RejectChecksum, vrrp.RejectInterval,
		vrrp.RejectCount, vrrp.RejectTTL, vrrp.RejectPeer, vrrp.RejectSelf, vrrp.RejectUnknown,
		vrrp.RejectIntervalMismatch, vrrp.RejectAuthMissing, vrrp.RejectAuthType, vrrp.RejectAuthKey,
		vrrp.RejectAuth, vrrp.RejectClock, vrrp.RejectReplay,
	}
	s := explained(vrrp.Backup, "started")
	for _, r := range all {
		if cause := s.cause(r); cause == s.cause("something new") {
			t.Errorf("%s is not explained", string(r))
		}
	}
	multicast := s.cause(vrrp.RejectPeer)
	s.Spec.Peers = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	if unicast := s.cause(vrrp.RejectPeer); unicast == multicast || !strings.Contains(unicast, "10.0.0.2") {
		t.Errorf("with peers: %s; without: %s", unicast, multicast)
	}
}

// TestExplainNothing: the emptiest status has words, too.
func TestExplainNothing(t *testing.T) {
	for state := range vrrp.Fault + 1 {
		s := RouterStatus{Election: vrrp.Status{State: state}}
		for _, line := range s.Explain(explainNow) {
			if strings.Contains(line, "invalid IP") || strings.Contains(line, "%!") {
				t.Errorf("%v: %s", state, line)
			}
		}
	}
}
