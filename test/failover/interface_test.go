package failover

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"baton/test/lab"
)

// says waits until a director's router is in a state for a reason that has the
// text.
func (p *pair) says(d *director, state, reason string) {
	p.t.Helper()
	lab.Eventually(p.t, 5*time.Second, func() error {
		r, err := d.status()
		if err == nil && (r.State != state || !strings.Contains(r.Reason, reason)) {
			err = fmt.Errorf("%s is %s: %s", d.name, r.State, r.Reason)
		}
		return err
	})
}

// An interface that is renamed, set down, or loses its own address costs its
// director the VIP, with the reason in words; and gives it back.
func TestInterfaceChangesUnderTheOwner(t *testing.T) {
	p := start(t, fast)
	back := func() {
		t.Helper()
		lab.Eventually(t, 5*time.Second, func() error { return errors.Join(p.a.is("master"), p.b.is("backup")) })
		must(t, p.dial().Close())
	}

	p.ip(p.a.host, "link", "set", "eth0", "down")
	p.says(p.a, "fault", "interface eth0 is down")
	lab.Eventually(t, 3*time.Second, func() error { return p.b.is("master") })
	p.ip(p.a.host, "link", "set", "eth0", "up")
	back()

	p.ip(p.a.host, "link", "set", "eth0", "down")
	p.ip(p.a.host, "link", "set", "eth0", "name", "lan0", "up")
	p.says(p.a, "fault", "no interface of that name")
	lab.Eventually(t, 3*time.Second, func() error { return p.b.is("master") })
	p.ip(p.a.host, "link", "set", "lan0", "down")
	p.ip(p.a.host, "link", "set", "lan0", "name", "eth0", "up")
	back()

	p.ip(p.a.host, "addr", "del", addrA.String()+"/24", "dev", "eth0")
	p.says(p.a, "fault", "no IPv4 address of its own")
	lab.Eventually(t, 3*time.Second, func() error { return p.b.is("master") })
	p.ip(p.a.host, "addr", "add", addrA.String()+"/24", "dev", "eth0")
	back()
	p.settled(p.a, p.b, 3*time.Second)
}
