package link

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"baton/internal/network"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	a, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b, err := FromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	a, b := pair(t)
	want := []Message{
		{Hello: &Hello{Version: Version, Restarts: 3, LastExit: "killed"}},
		{Configure: &Configure{Routers: []speaker.Router{{
			Name: "web", Interface: "eth0", ID: 51, Version: 3, Priority: 150, Interval: time.Second,
			Peers:     []netip.Addr{netip.MustParseAddr("10.0.0.2")},
			Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}},
			Lease:     3 * time.Second, Checksum: vrrp.NoPseudoHeader,
			Heartbeats: []speaker.Heartbeat{{Interface: "eth1"}},
			Extra:      []network.Address{{Prefix: netip.MustParsePrefix("2001:db8::100/64"), Interface: "eth1", Label: "eth1:v"}},
			Routes:     []network.Route{{To: netip.MustParsePrefix("::/0"), Interface: "eth1", Table: 99}},
			Rules:      []network.Rule{{From: netip.MustParsePrefix("10.0.0.100/32"), Table: 99, Priority: 7}},
			Auth:       vrrp.Auth{Keys: []vrrp.Key{{ID: 1, Secret: vrrp.Secret("not for the log")}}},
			Track:      []speaker.Track{{Name: "interface eth1", Kind: speaker.TrackInterface, Weight: -3, UpDelay: time.Second}},
		}}, Groups: []speaker.SyncGroup{{Name: "edge", Routers: []string{"web", "lan"}}}}},
		{Tracked: &Tracked{Router: "web", Tracks: []speaker.TrackState{{Name: "script /x", Known: true, Weight: -60, Detail: "why"}}}},
		{Synced: &Synced{Router: "web"}},
		{Notice: &speaker.Notice{Router: "web", From: "priority 150", To: "priority 90", Reason: "why"}},
		{Transition: &speaker.Transition{Router: "web", From: vrrp.Backup, To: vrrp.Master, Reason: "why"}},
		{Will: &speaker.Will{
			Adverts: []speaker.WillAdvert{{
				Interface: "eth0", MAC: &[6]byte{0, 0, 0x5e, 0, 1, 51}, Source: netip.MustParseAddr("10.0.0.1"), Dest: vrrp.GroupIPv4,
				Codec:  vrrp.CodecOptions{VRID: 51, Version: 3, Interval: time.Second},
				Advert: vrrp.Advert{VRID: 51, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100")}},
			}},
			States: []network.State{{Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.100/24"), Interface: "eth0"}}}},
		}},
		{Order: OrderStop},
	}
	for _, m := range want {
		if err := a.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range want {
		got, err := b.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("message changed on its way:\n%s", diff)
		}
	}
}

func TestDeathOfThePeerIsEOF(t *testing.T) {
	a, b := pair(t)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("Receive after the peer's end: %v, want EOF", err)
	}
}

func TestOversizedMessageIsRefusedBeforeItIsRead(t *testing.T) {
	a, b := pair(t)
	if _, err := a.conn.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Receive(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("Receive of a giant message: %v, want a refusal", err)
	}
}

func TestSendToAProcessThatDoesNotReadIsBounded(t *testing.T) {
	a, _ := pair(t)
	big := Message{Will: &speaker.Will{Adverts: []speaker.WillAdvert{{Interface: strings.Repeat("x", 4<<20)}}}}
	start := time.Now()
	if err := a.Send(big); err == nil {
		t.Error("Send of 4 MiB to a peer that does not read succeeded")
	}
	if took := time.Since(start); took > 10*writeTimeout {
		t.Errorf("Send took %s", took)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0, 0, 0, 9, '{', '"', 'h'})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, file, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		b, err := FromFile(file)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		go func() {
			_, _ = a.conn.Write(data)
			_ = a.Close()
		}()
		for {
			if _, err := b.Receive(); err != nil {
				return
			}
		}
	})
}
