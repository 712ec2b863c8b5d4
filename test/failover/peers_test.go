package failover

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"baton/test/lab"
)

// Routers that name each other as peers do the same by unicast.
func TestUnicastPair(t *testing.T) {
	p := build(t)
	wire := p.lab.Capture(p.b.host, "eth0", vrrpFilter)
	p.begin(fast, ", peers: [10.0.0.2]", ", peers: [10.0.0.1]")
	s := p.stream()
	p.a.signal(syscall.SIGTERM)
	must(t, p.a.proc.Wait())
	p.knows(p.b, time.Second)
	p.a.start()
	p.settled(p.a, p.b, 5*time.Second)
	lossless(t, s, "SIGTERM and return")

	killed := time.Now()
	p.a.signal(syscall.SIGKILL)
	got := p.held.await(p.b.host, vip, true, killed, 3*time.Second)
	if took, most := got.Sub(killed), skew(priorityB, fast)+margin; took > most {
		t.Errorf("b had the VIP after %v; want at most its skew and %v: %v", took, margin, most)
	}
	p.held.await(p.a.host, vip, false, killed, margin+time.Second)
	p.knows(p.b, time.Second)
	for _, a := range adverts(wire, netip.Addr{}) {
		if a.to.IsMulticast() {
			t.Errorf("an advert of %v went to %v", a.from, a.to)
		}
	}
	if len(adverts(wire, addrA)) == 0 || len(adverts(wire, addrB)) == 0 {
		t.Error("not both have sent adverts")
	}
}

// keepalived starts Debian's keepalived in place of a director.
func (d *director) keepalived(priority int) *lab.Process {
	d.pair.t.Helper()
	conf := filepath.Join(d.dir, "keepalived.conf")
	state := "BACKUP"
	if priority > priorityA {
		state = "MASTER"
	}
	must(d.pair.t, os.WriteFile(conf, fmt.Appendf(nil, `global_defs {
  vrrp_version 3
  enable_script_security
}
vrrp_instance web {
  state %s
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int 1
  virtual_ipaddress {
    10.0.0.100/24
  }
}
`, state, priority), 0o600))
	d.proc = d.host.Start(lab.Proc{Args: []string{
		"keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", conf,
		"--pid", filepath.Join(d.dir, "pid"), "--vrrp_pid", filepath.Join(d.dir, "vrrp.pid"),
	}})
	return d.proc
}

// A first taste of a pair with somebody else's router: both roles, and takeover
// on the stop of either side.
func TestPairWithKeepalived(t *testing.T) {
	for _, tt := range []struct {
		name       string
		keepalived int // its priority
	}{{"backup", 100}, {"master", 200}} {
		t.Run("keepalived-"+tt.name, func(t *testing.T) {
			p := build(t)
			p.a.configure(router(priorityA, second, ""))
			p.b.keepalived(tt.keepalived)
			p.a.start()
			owner, other := p.a, p.b
			if tt.keepalived > priorityA {
				owner, other = p.b, p.a
			}
			holds := func(d, not *director) func() error {
				return func() error {
					if !d.host.Has(vip.String()) || not.host.Has(vip.String()) {
						return fmt.Errorf("the VIP is not on %s alone\n%s", d.name, p.held)
					}
					return nil
				}
			}
			lab.Eventually(t, 10*time.Second, func() error {
				if other == p.a {
					if err := p.a.is("backup"); err != nil {
						return err
					}
				} else if err := p.a.is("master"); err != nil {
					return err
				}
				return holds(owner, other)()
			})
			must(t, p.dial().Close())

			s := p.stream()
			stopped := time.Now()
			owner.signal(syscall.SIGTERM)
			got := p.held.await(other.host, vip, true, stopped, 5*time.Second)
			if took, most := got.Sub(stopped), skew(priorityB, second)+margin; took > most {
				t.Errorf("%s had the VIP after %v; want at most its skew and %v: %v", other.name, took, margin, most)
			}
			must(t, owner.proc.Wait())
			p.knows(other, 2*time.Second)
			lab.Eventually(t, time.Second, holds(other, owner))
			if owner == p.a {
				lossless(t, s, "baton hands over to keepalived")
			} else {
				t.Logf("keepalived hands over to baton: %s", s.Stop())
			}

			// It comes back, and takes over by preemption.
			returned := time.Now()
			if owner == p.a {
				p.a.start()
			} else {
				p.b.keepalived(tt.keepalived)
			}
			p.held.await(owner.host, vip, true, returned, 8*time.Second)
			lab.Eventually(t, 3*time.Second, holds(owner, other))
			p.knows(owner, 2*time.Second)
			if r, err := p.a.status(); err != nil || len(r.Adverts.Rejected) > 0 || r.Stranger != "" {
				t.Errorf("baton does not believe keepalived: %+v, %v", r, err)
			}
		})
	}
}
