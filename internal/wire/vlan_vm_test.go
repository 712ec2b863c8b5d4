//go:build vm

package wire

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ethernet"
)

// A packet socket of an interface is also given what its VLAN interfaces
// receive, without the tag: an address in use there is no conflict here.
func TestConflictsOfAVLANAreItsOwn(t *testing.T) {
	_, a, b := pair(t)
	for _, command := range []string{"link add link eth0 name eth0.7 type vlan id 7", "link set eth0.7 up"} {
		_, err := a.Run(t.Context(), "ip", strings.Fields(command)...)
		must(t, err)
	}
	in := injectorOn(t, b)
	lan := alarms(watchOn(t, a, nil, vip4, vip6))
	var w *ConflictWatch
	must(t, a.Do(func() (err error) {
		w, err = OpenConflictWatch("eth0.7")
		return err
	}))
	t.Cleanup(func() { _ = w.Close() })
	must(t, w.Watch([]netip.Addr{vip4, vip6}, nil))
	vlan := alarms(w)
	for _, frame := range [][]byte{
		arpClaim(ethernet.Broadcast, 1, strangerMAC, vip4, vip4), naClaim(strangerMAC, vip6, nil),
	} {
		in.send(t, tagged(frame, 7))
		must(t, awaitAlarm(t, vlan).err)
		select {
		case got := <-lan:
			t.Errorf("reported on the untagged network: %+v", got)
		case <-time.After(200 * time.Millisecond):
		}
		in.send(t, frame)
		must(t, awaitAlarm(t, lan).err)
		select {
		case got := <-vlan:
			t.Errorf("reported in the VLAN: %+v", got)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
