package director

import (
	"fmt"
	"net/netip"

	"baton/internal/api"
	"baton/internal/balancer"
)

// changedNotes say what an operator should know of what a command did to a service.
func changedNotes(c api.OverrideCommand, before, after balancer.ServiceStatus) (notes []string) {
	was, is := serverOf(before, c.Server), serverOf(after, c.Server)
	if is == nil {
		return nil
	}
	open := uint32(0)
	if was != nil && was.InKernel {
		open = was.Active + was.Inactive
	}
	switch {
	case c.State == api.ServerDisabled && open > 0:
		notes = append(notes, fmt.Sprintf("the %d connections that it had are cut", open))
	case c.State == api.ServerDraining && open > 0 && !is.InKernel && after.Scheduler == "dh":
		notes = append(notes, fmt.Sprintf("with the scheduler dh a server without new clients cannot keep its place: the %d connections that it had are cut", open))
	}
	if back := c.State == api.ServerEnabled || c.Reset && c.State == ""; back && is.State != balancer.Up {
		notes = append(notes, fmt.Sprintf("it is %s all the same: %s", is.State, is.Reason))
	}
	if o := is.Override; c.State == api.ServerEnabled && o != nil && o.Weight != nil && c.Weight == nil {
		notes = append(notes, fmt.Sprintf("its weight is still %d instead of %d; \"baton server reset\" takes that back, too", *o.Weight, is.ConfiguredWeight))
	}
	if c.Weight != nil && is.State != balancer.Up {
		notes = append(notes, fmt.Sprintf("the weight counts when it is up; now it is %s", is.State))
	}
	if c.Weight != nil && *c.Weight == 0 && after.Scheduler == "dh" {
		notes = append(notes, "with the scheduler dh the clients of a server of weight 0 are refused, not sent to others; \"baton server drain\" takes it out")
	}
	if lost := lostNote(before, after); lost != "" {
		notes = append(notes, lost)
	}
	return notes
}

// lostNote says what a service has lost.
func lostNote(before, after balancer.ServiceStatus) string {
	var what string
	switch {
	case before.Weight > 0 && after.Weight == 0:
		what = fmt.Sprintf("it was the last live server of service %s", after.Name)
	case before.Up && !after.Up:
		what = fmt.Sprintf("service %s has lost its quorum by it (%d of %d)", after.Name, after.Weight, max(after.Quorum.Min, 1))
	default:
		return ""
	}
	switch {
	case after.FallbackActive:
		return fmt.Sprintf("%s: the fallback %s serves now", what, after.Fallback)
	case after.Weight > 0:
		return what + ": the servers that are left serve on"
	}
	return what + ": nobody serves now"
}

// unchangedNotes say how a server is that is as it was wanted.
func unchangedNotes(o balancer.Override, srv *balancer.ServerStatus) (notes []string) {
	if text := o.String(); text != "" {
		notes = append(notes, "it was so before: "+text)
	}
	if srv != nil && o.State == "" && srv.State != balancer.Up {
		notes = append(notes, fmt.Sprintf("it is %s: %s", srv.State, srv.Reason))
	}
	return notes
}

func serviceOf(s balancer.Status, name string) balancer.ServiceStatus {
	for i := range s.Services {
		if s.Services[i].Name == name {
			return s.Services[i]
		}
	}
	return balancer.ServiceStatus{Name: name}
}

// serverOf returns a server of a service; nil: it has none there.
func serverOf(s balancer.ServiceStatus, at netip.AddrPort) *balancer.ServerStatus {
	for i := range s.Servers {
		if s.Servers[i].Address == at {
			return &s.Servers[i]
		}
	}
	return nil
}
