package director

import (
	"slices"
	"testing"
	"time"

	"baton/internal/link"
	"baton/internal/speaker"
	"baton/internal/vrrp"
)

// The services come with the transition and go after the addresses.
func TestOwners(t *testing.T) {
	var status *link.Status
	var told [][]string
	o := newOwners(func() *link.Status { return status }, func(routers []string) { told = append(told, routers) })
	start := time.Now()
	now := start
	report := func(state vrrp.State, held bool) {
		r := speaker.RouterStatus{Spec: speaker.Router{Name: "web"}, Held: held}
		r.Election.State = state
		status = &link.Status{At: now, Routers: speaker.Status{Routers: []speaker.RouterStatus{r}}}
	}
	want := func(what string, want ...[]string) {
		t.Helper()
		o.look(now)
		if !slices.EqualFunc(told, want, slices.Equal) {
			t.Errorf("%s: told %q, want %q", what, told, want)
		}
		told = nil
	}
	want("nothing is known")
	report(vrrp.Backup, false)
	want("backup", nil)
	now = now.Add(time.Second)
	o.transition(speaker.Transition{At: now, Router: "web", From: vrrp.Backup, To: vrrp.Master})
	want("a transition that the status does not have yet", []string{"web"})
	now = now.Add(time.Second)
	report(vrrp.Master, true)
	want("its status")
	now = now.Add(time.Minute)
	o.transition(speaker.Transition{At: now, Router: "web", From: vrrp.Master, To: vrrp.Backup})
	want("handed over")
	now = now.Add(time.Second)
	report(vrrp.Backup, true)
	want("not yet released")
	now = now.Add(time.Second)
	report(vrrp.Backup, false)
	want("released")
	now = now.Add(ownersLinger - 1100*time.Millisecond)
	want("a little later")
	now = now.Add(200 * time.Millisecond)
	want("and at last", nil)
	o.transition(speaker.Transition{At: now, Router: "web", From: vrrp.Backup, To: vrrp.Master})
	want("taken back", []string{"web"})
}
