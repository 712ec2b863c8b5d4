package ipvs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"pgregory.net/rapid"
)

// The bytes of a start, taken apart by hand against include/uapi/linux/ip_vs.h on
// a little-endian machine.
func TestSyncBytes(t *testing.T) {
	if !strings.Contains("amd64 arm64 riscv64 386 loong64 ppc64le", runtime.GOARCH) {
		t.Log("big-endian machine: the bytes are others; the round trip below covers it")
		return
	}
	got := encodeSync(SyncDaemon{
		Role: SyncBackup, Interface: "eth1", ID: 51,
		Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 2, MaxLen: 1400,
	})
	want := strings.ReplaceAll(strings.Join([]string{
		"4000 0380",                  // nested IPVS_CMD_ATTR_DAEMON
		"0800 0100 02000000",         // STATE: IP_VS_STATE_BACKUP
		"0900 0200 6574683100000000", // MCAST_IFN
		"0800 0300 33000000",         // SYNC_ID
		"0600 0400 7805 0000",        // SYNC_MAXLEN
		"0800 0500 e0000051",         // MCAST_GROUP
		"0600 0700 9022 0000",        // MCAST_PORT, not big-endian
		"0500 0800 02000000",         // MCAST_TTL
	}, ""), " ", "")
	if hex.EncodeToString(got) != want {
		t.Errorf("got  %x\nwant %s", got, want)
	}
}

func drawSync(t *rapid.T) SyncDaemon {
	d := SyncDaemon{
		Role:      rapid.SampledFrom(syncRoles[:]).Draw(t, "role"),
		Interface: rapid.StringMatching(`[a-z][a-z0-9.]{0,14}`).Draw(t, "interface"),
		ID:        rapid.Byte().Draw(t, "id"),
		Port:      rapid.Uint16Min(1).Draw(t, "port"),
		TTL:       rapid.ByteMin(1).Draw(t, "ttl"),
		MaxLen:    rapid.Uint16().Draw(t, "maxlen"),
	}
	d.Group = drawAddress(t)
	return d
}

func TestSyncEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := drawSync(t)
		if got, err := decodeSync(encodeSync(d)); err != nil || got != d {
			t.Fatalf("%+v came back as %+v, %v", d, got, err)
		}
	})
}

func TestSyncDecodeErrors(t *testing.T) {
	for name, f := range map[string]func(*writer){
		"no role":     func(*writer) {},
		"odd role":    func(w *writer) { w.u32(daemonState, 3) },
		"large role":  func(w *writer) { w.u32(daemonState, 0x101) },
		"short role":  func(w *writer) { w.u16(daemonState, 1) },
		"short group": func(w *writer) { w.u32(daemonState, 1); w.u16(daemonGroup, 1) },
		"long group":  func(w *writer) { w.u32(daemonState, 1); w.bytes(daemonGroup6, make([]byte, 17)) },
		"short port":  func(w *writer) { w.u32(daemonState, 1); w.u8(daemonPort, 1) },
	} {
		if d, err := decodeSync(answer(attrDaemon, f)); err == nil {
			t.Errorf("%s: decoded as %+v", name, d)
		}
	}
	if _, err := decodeSync(nil); !errors.Is(err, errForm) {
		t.Errorf("an empty answer: %v", err)
	}
}

func FuzzDecodeSync(f *testing.F) {
	f.Add(encodeSync(SyncDaemon{Role: SyncMaster, Interface: "eth1", ID: 51}.normal()))
	f.Add(encodeSync(SyncDaemon{Role: SyncBackup, Interface: "eth1", Group: netip.MustParseAddr("ff02::81"), MaxLen: 9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeSync(b)
		if err != nil {
			return
		}
		if again, err := decodeSync(encodeSync(d)); err != nil || again != d {
			t.Fatalf("%+v became %+v, %v", d, again, err)
		}
	})
}

// What the kernel settles on when it is asked for a length, by start_sync_thread.
func TestSyncLength(t *testing.T) {
	v6 := netip.MustParseAddr("ff02::81")
	for _, tt := range []struct {
		asked uint16
		group netip.Addr
		role  SyncRole
		has   uint16
		want  bool
	}{
		{0, syncGroup, SyncMaster, 1472, true},
		{0, syncGroup, SyncMaster, 1000, false},
		{0, syncGroup, SyncBackup, 1472, true},
		{0, syncGroup, SyncBackup, 8972, true}, // with jumbo frames
		{0, syncGroup, SyncBackup, 1024, false},
		{0, v6, SyncMaster, 1452, true},
		{0, v6, SyncMaster, 1472, false},
		{500, syncGroup, SyncMaster, 500, true},
		{500, syncGroup, SyncBackup, 1024, true},
		{500, syncGroup, SyncBackup, 500, false},
		{1400, syncGroup, SyncMaster, 1472, false},
		{65507, syncGroup, SyncBackup, 65507, true},
		{65507, v6, SyncBackup, 65487, true},
		{65507, v6, SyncBackup, 65507, false},
	} {
		d := SyncDaemon{Group: tt.group, MaxLen: tt.asked}.normal()
		if got := d.takes(tt.has, tt.role); got != tt.want {
			t.Errorf("asked for %d to %s, the %s has %d: %t", tt.asked, tt.group, tt.role, tt.has, got)
		}
	}
}

// syncWorld is a kernel's sync daemons; it follows start_sync_thread and
// stop_sync_thread.
type syncWorld struct {
	*fakeWorld
	running map[SyncRole]SyncDaemon
	did     []string
	answers map[string]syscall.Errno // by what is asked for
}

func newSyncWorld(running ...SyncDaemon) *syncWorld {
	w := &syncWorld{fakeWorld: newWorld(), running: map[SyncRole]SyncDaemon{}, answers: map[string]syscall.Errno{}}
	for _, d := range running {
		w.running[d.Role] = d.settled()
	}
	w.answer = w.sync
	return w
}

// settled is what the kernel makes of the settings.
func (d SyncDaemon) settled() SyncDaemon {
	d = d.normal()
	switch {
	case d.MaxLen == 0:
		d.MaxLen = 1472
	case d.Role == SyncBackup:
		d.MaxLen = max(d.MaxLen, 1024)
	}
	return d
}

func (w *syncWorld) sync(m netlink.Message, g genetlink.Message) ([][]netlink.Message, bool) {
	if g.Header.Command == cmdGetDaemon {
		var out [][]byte
		for _, role := range syncRoles {
			if d, ok := w.running[role]; ok {
				out = append(out, encodeSync(d))
			}
		}
		return w.dump(m, out), true
	}
	verb := map[uint8]string{cmdNewDaemon: "start", cmdDelDaemon: "stop"}[g.Header.Command]
	if verb == "" {
		return nil, false
	}
	d, err := decodeSync(g.Data)
	if err != nil {
		return ack(m, syscall.EINVAL), true
	}
	what := fmt.Sprintf("%s %s", verb, d.Role)
	w.did = append(w.did, what)
	_, runs := w.running[d.Role]
	switch {
	case w.answers[what] != 0:
		return ack(m, w.answers[what]), true
	case verb == "start" && runs:
		return ack(m, syscall.EEXIST), true
	case verb == "stop" && !runs:
		return ack(m, syscall.ESRCH), true
	case verb == "start":
		w.running[d.Role] = d.settled()
	default:
		delete(w.running, d.Role)
	}
	return ack(m, 0), true
}

func TestSetSync(t *testing.T) {
	daemon := func(role SyncRole) SyncDaemon { return SyncDaemon{Role: role, Interface: "eth1", ID: 51} }
	other := func(role SyncRole, f func(*SyncDaemon)) SyncDaemon {
		d := daemon(role)
		f(&d)
		return d
	}
	long := other(SyncMaster|SyncBackup, func(d *SyncDaemon) { d.MaxLen = 100 })
	const both = SyncMaster | SyncBackup
	for _, tt := range []struct {
		name    string
		running []SyncDaemon
		want    SyncDaemon
		did     []string
	}{
		{"nothing from nothing", nil, SyncDaemon{}, nil},
		{"first start", nil, daemon(SyncBackup), []string{"start backup"}},
		{"again", []SyncDaemon{daemon(SyncBackup)}, daemon(SyncBackup), nil},
		{"takeover", []SyncDaemon{daemon(SyncBackup)}, daemon(SyncMaster), []string{"start master", "stop backup"}},
		{"takeover, both for a time", []SyncDaemon{daemon(SyncBackup)}, daemon(both), []string{"start master"}},
		{"end of it", []SyncDaemon{daemon(SyncMaster), daemon(SyncBackup)}, daemon(SyncMaster), []string{"stop backup"}},
		{"off", []SyncDaemon{daemon(SyncMaster), daemon(SyncBackup)}, SyncDaemon{}, []string{"stop master", "stop backup"}},
		{"another interface", []SyncDaemon{other(SyncMaster, func(d *SyncDaemon) { d.Interface = "eth0" })}, daemon(SyncMaster), []string{"stop master", "start master"}},
		{"another id", []SyncDaemon{other(SyncBackup, func(d *SyncDaemon) { d.ID = 0 })}, daemon(SyncBackup), []string{"stop backup", "start backup"}},
		{"another group", []SyncDaemon{other(SyncBackup, func(d *SyncDaemon) { d.Group = netip.MustParseAddr("224.0.0.82") })}, daemon(SyncBackup), []string{"stop backup", "start backup"}},
		{"another port", []SyncDaemon{other(SyncBackup, func(d *SyncDaemon) { d.Port = 1 })}, daemon(SyncBackup), []string{"stop backup", "start backup"}},
		{"another TTL", []SyncDaemon{other(SyncBackup, func(d *SyncDaemon) { d.TTL = 9 })}, daemon(SyncBackup), []string{"stop backup", "start backup"}},
		{"another length", []SyncDaemon{daemon(SyncMaster)}, long, []string{"stop master", "start master", "start backup"}},
		{"the same length", []SyncDaemon{other(SyncMaster, func(d *SyncDaemon) { d.MaxLen = 100 }), other(SyncBackup, func(d *SyncDaemon) { d.MaxLen = 100 })}, long, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newSyncWorld(tt.running...)
			k := w.open(t, noModules())
			changed, err := k.SetSync(t.Context(), tt.want)
			if err != nil || changed != (tt.did != nil) || !slices.Equal(w.did, tt.did) {
				t.Errorf("changed %t, did %q, want %q, error %v", changed, w.did, tt.did, err)
			}
			w.did = nil
			if changed, err := k.SetSync(t.Context(), tt.want); changed || err != nil || w.did != nil {
				t.Errorf("again: changed %t, did %q, error %v", changed, w.did, err)
			}
			got, err := k.SyncDaemons(t.Context())
			var roles SyncRole
			for _, d := range got {
				roles |= d.Role
				if !tt.want.normal().is(d) {
					t.Errorf("%+v runs", d)
				}
			}
			if err != nil || roles != tt.want.Role {
				t.Errorf("%s runs, want %s, error %v", roles, tt.want.Role, err)
			}
		})
	}
}

// One that is gone when it is to be stopped, or that cannot be started, does not
// keep the other from being changed.
func TestSetSyncGoesOn(t *testing.T) {
	backup, master := SyncDaemon{Role: SyncBackup, Interface: "eth1"}, SyncDaemon{Role: SyncMaster, Interface: "eth1"}
	w := newSyncWorld(backup)
	w.answers["stop backup"] = syscall.ESRCH
	k := w.open(t, noModules())
	if changed, err := k.SetSync(t.Context(), master); !changed || err != nil {
		t.Errorf("changed %t, error %v", changed, err)
	}
	w = newSyncWorld(backup)
	w.answers["start master"] = syscall.EINVAL
	k = w.open(t, noModules())
	changed, err := k.SetSync(t.Context(), master)
	if !changed || !errors.Is(err, syscall.EINVAL) || !slices.Equal(w.did, []string{"start master", "stop backup"}) {
		t.Errorf("changed %t, did %q, error %v", changed, w.did, err)
	}
	if want := "start the connection sync master on eth1: the kernel refuses to synchronise while a service"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
	w = newSyncWorld(master)
	w.answers["stop master"] = syscall.EPERM
	k = w.open(t, noModules())
	if changed, err := k.SetSync(t.Context(), SyncDaemon{}); changed || !errors.Is(err, syscall.EPERM) {
		t.Errorf("changed %t, error %v", changed, err)
	}
}

func TestSyncErrorsSayWhatToDo(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENODEV:       "there is no such interface",
		syscall.EINVAL:       "use one family in each service",
		syscall.EEXIST:       "somebody else has started one",
		syscall.ENETUNREACH:  "set the interface up",
		syscall.EADDRINUSE:   "UDP port 8848",
		syscall.EAFNOSUPPORT: "use an IPv4 group",
		syscall.ENOMEM:       "no memory",
		syscall.EPERM:        "CAP_NET_ADMIN",
		syscall.EIO:          "start the connection sync backup on eth1",
	} {
		w := newSyncWorld()
		w.answers["start backup"] = errno
		_, err := w.open(t, noModules()).SetSync(t.Context(), SyncDaemon{Role: SyncBackup, Interface: "eth1"})
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v does not say %q", errno, err, want)
		}
	}
}
