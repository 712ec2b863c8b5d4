package speaker

import (
	"time"

	"baton/internal/vrrp"
)

// group is a sync group at work.
type group struct {
	spec     SyncGroup
	election *vrrp.Group
	members  []*router
}

// dissolve ends all groups before a change; while there are none, no time passes.
func (s *Speaker) dissolve() {
	now := time.Now()
	for _, g := range s.groups {
		g.election.Dissolve(now)
		for _, r := range g.members {
			r.group = nil
			r.plan()
		}
	}
	s.groups = nil
}

// join makes the groups anew.
func (s *Speaker) join(specs []SyncGroup) {
	for _, spec := range specs {
		g := &group{spec: spec}
		elections := make([]*vrrp.Router, 0, len(spec.Routers))
		for _, name := range spec.Routers {
			if r := s.routers[name]; r != nil {
				r.group, r.member = g, len(g.members)
				g.members = append(g.members, r)
				elections = append(elections, r.election)
			}
		}
		g.election = vrrp.NewGroup(spec.Name, spec.Routers, elections)
		s.groups = append(s.groups, g)
	}
}

// together returns the routers that change their state with this one.
func (r *router) together() []*router {
	if r.group == nil {
		return []*router{r}
	}
	return r.group.members
}
