package interop

import "testing"

// A master that was cut off and never noticed that another one took over
// meanwhile does not know that the clients have to be led back, unless the other
// one says something when it yields. Where it does not (keepalived, without
// vrrp_higher_prio_send_advert), the refresh of the announcements leads them back.
func TestRefreshLeadsBack(t *testing.T) {
	t.Parallel()
	for _, role := range roles {
		t.Run(role.name(), func(t *testing.T) {
			t.Parallel()
			m := multicast4
			m.baton = []string{"garp: {refresh: 1s, delay: 1s}"}
			m.keepalived = []string{"vrrp_garp_master_refresh 1"}
			p := build(t, m)
			master := role.master(p)
			p.begin(master)
			cable := master.host.Link("eth0")
			p.masterLost(master, cable.Cut, cable.Mend)
			p.believed()
		})
	}
}
