//go:build vm

package ipvs

import (
	"testing"
)

// The kernel's text has every kind of service under the name that a glance looks
// for, and a sample sees what ipvsadm changes at once.
func TestVMSampleSeesForeignChanges(t *testing.T) {
	h := newHost(t)
	k := h.open(Options{})
	k.glance = func() (g glance) {
		h.inside(func() error { g = Options{}.takeGlance(); return nil })
		return g
	}
	want := table(
		service("tcp 10.0.0.100:80 wlc", server("10.0.0.11:80 nat 1"), server("10.0.0.12:8080 nat 70000")),
		service("udp 10.0.0.100:53 rr", server("10.0.0.11:53 dr 1")),
		service("sctp 10.0.0.100:2905 rr", server("10.0.0.11:2905 nat 1")),
		service("tcp [2001:db8::64]:80 wlc", server("[2001:db8::b]:80 nat 1")),
		service("fwmark 7 inet wlc", server("10.0.0.11:0 dr 1")),
		service("fwmark 7 inet6 rr", server("[2001:db8::b]:0 dr 1")),
	)
	r := NewReconciler(k, nil, silent())
	assertClean(t, mustApply(t, r, want))
	if _, err := k.Sample(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for key, m := range k.memory.services {
		if m.digest == 0 {
			t.Errorf("%v is not in a glance as %q", key, m.name)
		}
	}
	h.ipvsadm("-e -t 10.0.0.100:80 -r 10.0.0.12:8080 -m -w 7")
	h.ipvsadm("-d -u 10.0.0.100:53 -r 10.0.0.11:53")
	h.ipvsadm("-a -t [2001:db8::64]:80 -r [2001:db8::c]:80 -m")
	h.ipvsadm("-e -f 7 -r 10.0.0.11:0 -i")
	list, err := k.Sample(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := Diff(list, want); len(d) != 4 {
		t.Errorf("a sample shows %v", d)
	}
}
