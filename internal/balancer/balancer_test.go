package balancer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"baton/internal/check"
	"baton/internal/ipvs"
	"baton/internal/pool"
)

func TestVerdictsReachTheKernel(t *testing.T) {
	run(t, webSpec(2), newFakeKernel(), func(r *rig) {
		after(50 * time.Millisecond)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
		const up = `web 10.0.0.1:80: checking -> up: its check passes: connected to 10.0.0.1:80
web 10.0.0.2:80: checking -> up: its check passes: connected to 10.0.0.2:80
web: down -> up: live weight 2 of a quorum of 1`
		if got := r.seen(); got != up {
			t.Errorf("transitions\n%s\nwant\n%s", got, up)
		}

		r.targets.set(true, "10.0.0.1")
		after(3 * time.Second) // fails at 2 s and 3 s
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
		after(time.Second + 10*time.Millisecond) // and for the third time at 4 s
		r.want("tcp 10.0.0.100:80: 10.0.0.2:80*1")
		if got, want := r.seen(), "web 10.0.0.1:80: up -> down: its check is failing: connection refused by 10.0.0.1:80"; got != want {
			t.Errorf("transitions\n%s\nwant\n%s", got, want)
		}

		r.targets.set(false, "10.0.0.1")
		after(4 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
	})
}

func TestManyVerdictsAreOneWrite(t *testing.T) {
	run(t, webSpec(40), newFakeKernel(), func(r *rig) {
		after(time.Second)
		before := r.kernel.batches
		down := make([]string, 40)
		for i := range down {
			down[i] = fmt.Sprintf("10.0.0.%d", i+1)
		}
		r.targets.set(true, down...)
		after(5 * time.Second)
		r.want("tcp 10.0.0.100:80:")
		if got := r.kernel.batches - before; got != 1 {
			t.Errorf("%d batches were written, want 1", got)
		}
	})
}

func TestDriftIsRepaired(t *testing.T) {
	run(t, webSpec(1), newFakeKernel(), func(r *rig) {
		after(100 * time.Millisecond)
		r.kernel.do(func() { clear(r.kernel.services) })
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
		if got := r.Status().Drift; got == 0 {
			t.Error("the drift was not counted")
		}
	})
}

func TestAdoption(t *testing.T) {
	t.Run("of what works writes nothing", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1", "10.0.0.2")), func(r *rig) {
			after(10 * time.Second)
			if n := r.kernel.written(); n != 0 {
				t.Errorf("%d changes were written: %v", n, r.kernel.ops)
			}
			if got := r.seen(); got != "" {
				t.Errorf("transitions\n%s", got)
			}
			if s := r.Status().Services[0]; !s.Up || s.Servers[0].State != Up || !s.Servers[0].InKernel {
				t.Errorf("status %+v", s)
			}
		})
	})
	t.Run("is taken back after fall failures", func(t *testing.T) {
		run(t, webSpec(1), newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1")), func(r *rig) {
			r.targets.set(true, "10.0.0.1")
			after(1900 * time.Millisecond) // fails at 0 s and 1 s
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
			after(200 * time.Millisecond) // and at 2 s
			r.want("tcp 10.0.0.100:80:")
		})
	})
	t.Run("does not help a server that was not in service", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1")), func(r *rig) {
			r.targets.set(true, "10.0.0.2")
			after(50 * time.Millisecond)
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
			if got := r.Status().Services[0].Servers[1].State; got != Down {
				t.Errorf("the other server is %s, want down", got)
			}
		})
	})
}

func TestOwnership(t *testing.T) {
	kernel := newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.1"), inKernel("10.0.0.100:81", "10.0.0.1"), inKernel("10.0.0.100:82", "10.0.0.1"))
	run(t, webSpec(1), kernel, func(r *rig) {
		after(100 * time.Millisecond)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\ntcp 10.0.0.100:82: 10.0.0.1:80*1")
		if got, want := r.Owned(), []pool.Key{key("10.0.0.100:80")}; !slices.Equal(got, want) {
			t.Errorf("owned %v, want %v", got, want)
		}
		if got := r.Status().Foreign; len(got) != 1 || got[0].Key != key("10.0.0.100:82") || got[0].Servers != 1 {
			t.Errorf("foreign %+v, want the service at port 82", got)
		}
		spec := webSpec(1)
		spec.RemoveForeign = true
		r.reload(spec)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
	}, func(_ *rig, o *Options) { o.Owned = []pool.Key{key("10.0.0.100:81")} })
}

func (r *rig) reload(s Spec) {
	r.Helper()
	if err := r.Reload(context.Background(), s); err != nil {
		r.Errorf("reload: %v", err)
	}
}

func TestReload(t *testing.T) {
	t.Run("with an equal spec writes nothing", func(t *testing.T) {
		run(t, webSpec(3), newFakeKernel(), func(r *rig) {
			after(time.Second)
			before := r.kernel.written()
			r.reload(webSpec(3))
			after(10 * time.Second)
			if n := r.kernel.written() - before; n != 0 {
				t.Errorf("%d changes were written", n)
			}
		})
	})
	t.Run("with another check interrupts nothing", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(), func(r *rig) {
			after(time.Second)
			before := r.kernel.written()
			spec := webSpec(0)
			for _, address := range []string{"10.0.0.1", "10.0.0.2"} {
				addServer(&spec, &spec.Services[0], address)
			}
			for i := range spec.Services[0].Servers {
				changeCheck(&spec, &spec.Services[0].Servers[i])
			}
			r.targets.set(true, "10.0.0.2") // just now
			r.reload(spec)
			after(10 * time.Millisecond)
			if n := r.kernel.written() - before; n != 0 {
				t.Errorf("%d changes were written", n)
			}
			after(4 * time.Second)
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
		})
	})
	t.Run("adds and removes what is different", func(t *testing.T) {
		run(t, webSpec(2), newFakeKernel(), func(r *rig) {
			after(time.Second)
			r.kernel.do(func() { r.kernel.ops = nil })
			spec := webSpec(1)
			spec.Services = append(spec.Services, webService("other", "10.0.0.100:81"))
			spec.Services[1].Servers = spec.Services[0].Servers
			r.reload(spec)
			after(2 * time.Second)
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\ntcp 10.0.0.100:81: 10.0.0.1:80*1")
			if n := r.kernel.written(); n != 4 { // the server that goes is drained first
				t.Errorf("%d changes were written, want 4: %v", n, r.kernel.ops)
			}
			spec.Services = spec.Services[1:]
			r.reload(spec)
			r.want("tcp 10.0.0.100:81: 10.0.0.1:80*1")
			if got, want := r.Owned(), []pool.Key{key("10.0.0.100:81")}; !slices.Equal(got, want) {
				t.Errorf("owned %v, want %v", got, want)
			}
		})
	})
	t.Run("knows the verdict of a check that nobody had", func(t *testing.T) {
		spec := webSpec(2)
		spec.Services[0].Servers = spec.Services[0].Servers[:1]
		run(t, spec, newFakeKernel(), func(r *rig) {
			after(time.Second)
			r.reload(webSpec(2))
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1")
		})
	})
	t.Run("adopts a service that was foreign", func(t *testing.T) {
		run(t, webSpec(1), newFakeKernel(inKernel("10.0.0.100:81", "10.0.0.7")), func(r *rig) {
			after(time.Second)
			r.targets.set(true, "10.0.0.7")
			spec := webSpec(1)
			spec.Services = append(spec.Services, webService("other", "10.0.0.100:81"))
			addServer(&spec, &spec.Services[1], "10.0.0.7")
			r.reload(spec)
			after(time.Second)
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\ntcp 10.0.0.100:81: 10.0.0.7:80*1")
			after(2 * time.Second)
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\ntcp 10.0.0.100:81:")
		})
	})
}

// changeCheck gives a server another check.
func changeCheck(spec *Spec, s *pool.Server) {
	job := spec.Jobs[s.Checks[0]]
	delete(spec.Jobs, s.Checks[0])
	job.Spec.Timeout /= 2
	id := pool.CheckID(job.ID())
	spec.Jobs[id] = job
	s.Checks = []pool.CheckID{id}
}

func TestKernelWithoutIPVS(t *testing.T) {
	run(t, webSpec(1), newFakeKernel(), func(r *rig) {
		after(500 * time.Millisecond)
		s := r.Status()
		if s.Problem != errNoKernel.Error() {
			t.Errorf("problem %q, want %q", s.Problem, errNoKernel)
		}
		if srv := s.Services[0].Servers[0]; srv.State != Up || srv.InKernel || len(s.Checks) == 0 {
			t.Errorf("checks should go on: %+v", srv)
		}
		after(6 * time.Second) // tried again after 1 s, 2 s more, 4 s more
		if r.opened != 3 {
			t.Errorf("opened %d times, want 3", r.opened)
		}
		r.mu.Lock()
		r.openErr = nil
		r.mu.Unlock()
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1")
		if got := r.Status().Problem; got != "" {
			t.Errorf("problem %q after it is gone", got)
		}
	}, func(r *rig, _ *Options) { r.openErr = errNoKernel })
}

func TestKernelThatCannotBeRead(t *testing.T) {
	run(t, webSpec(1), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.kernel.do(func() { r.kernel.dumpErr = errors.New("dump: no buffer space available") })
		after(time.Second)
		if got := r.Status(); got.Problem == "" || !got.Services[0].Servers[0].InKernel {
			t.Errorf("problem %q", got.Problem)
		}
		r.kernel.do(func() { r.kernel.dumpErr = nil })
		after(time.Second)
		if got := r.Status().Problem; got != "" {
			t.Errorf("problem %q after it is gone", got)
		}
	})
}

func TestARefusedServiceAffectsNoOther(t *testing.T) {
	spec := webSpec(1)
	spec.Services = append(spec.Services, webService("other", "10.0.0.100:81"))
	spec.Services[1].Servers = spec.Services[0].Servers
	kernel := newFakeKernel()
	kernel.refuse[key("10.0.0.100:80")] = fmt.Errorf("scheduler wlc is not available: %w", syscall.ENOENT)
	run(t, spec, kernel, func(r *rig) {
		after(100 * time.Millisecond)
		r.want("tcp 10.0.0.100:81: 10.0.0.1:80*1")
		s := r.Status()
		if !strings.Contains(s.Services[0].Problem, "scheduler wlc") || s.Services[1].Problem != "" {
			t.Errorf("problems %q and %q", s.Services[0].Problem, s.Services[1].Problem)
		}
		if s.Services[0].Servers[0].InKernel || !s.Services[1].Servers[0].InKernel {
			t.Error("in the kernel: the refused service is, or the other is not")
		}
		r.kernel.do(func() { clear(r.kernel.refuse) })
		after(3 * time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1\ntcp 10.0.0.100:81: 10.0.0.1:80*1")
	})
}

func TestTimeouts(t *testing.T) {
	spec := webSpec(1, func(s *Spec) { s.Timeouts = Timeouts{TCP: 15 * time.Minute} })
	kernel := newFakeKernel()
	kernel.timeouts = ipvs.Timeouts{TCP: time.Minute}
	run(t, spec, kernel, func(r *rig) {
		after(10 * time.Second)
		if kernel.settings != 1 || kernel.timeouts.TCP != 15*time.Minute {
			t.Errorf("set %d times to %v", kernel.settings, kernel.timeouts)
		}
		kernel.do(func() { kernel.timeouts.TCP = time.Second })
		after(time.Second)
		if kernel.settings != 2 || kernel.timeouts.TCP != 15*time.Minute {
			t.Errorf("after a change by somebody else: set %d times to %v", kernel.settings, kernel.timeouts)
		}
	})
}

func TestStop(t *testing.T) {
	const foreign, all = "tcp 10.0.0.100:82: 10.0.0.7:80*1", "tcp 10.0.0.100:80: 10.0.0.1:80*1\ntcp 10.0.0.100:82: 10.0.0.7:80*1"
	withdraw := func(s *Spec) { s.Withdraw = true }
	for _, tt := range []struct {
		name string
		edit []func(*Spec)
		end  func(r *rig)
		want string
	}{
		{"withdraw", []func(*Spec){withdraw}, func(r *rig) { r.stop() }, foreign},
		{"keep", nil, func(r *rig) { r.stop() }, all},
		{"the context ends", []func(*Spec){withdraw}, func(r *rig) { r.cancel(); <-r.ended }, all},
		{"stop after the context ended", []func(*Spec){withdraw}, func(r *rig) { r.cancel(); <-r.ended; r.stop() }, foreign},
		{"stop twice", []func(*Spec){withdraw}, func(r *rig) { r.stop(); r.stop() }, foreign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kernel := newFakeKernel(inKernel("10.0.0.100:82", "10.0.0.7"))
			run(t, webSpec(1, tt.edit...), kernel, func(r *rig) {
				after(time.Second)
				r.want(all)
				tt.end(r)
				<-r.ended
				r.want(tt.want)
				if want := tt.want == all; want != (len(r.told) == 1) {
					t.Errorf("told that %v are ours", r.told)
				}
				if kernel.closed != r.opened {
					t.Errorf("opened %d times, closed %d times", r.opened, kernel.closed)
				}
				if err := r.Reload(context.Background(), webSpec(1)); err == nil {
					t.Error("a reload after the end says nothing")
				}
			})
		})
	}
}

func (r *rig) stop() {
	r.Helper()
	if err := r.Stop(context.Background()); err != nil {
		r.Errorf("stop: %v", err)
	}
}

func TestStopSaysWhatCouldNotBeRemoved(t *testing.T) {
	run(t, webSpec(1, func(s *Spec) { s.Withdraw = true }), newFakeKernel(), func(r *rig) {
		after(time.Second)
		r.kernel.do(func() { r.kernel.refuse[key("10.0.0.100:80")] = fmt.Errorf("del: %w", syscall.EPERM) })
		if err := r.Stop(context.Background()); err == nil {
			t.Error("no error")
		}
		if got := r.Owned(); len(got) != 1 {
			t.Errorf("owned %v, want the service that is still there", got)
		}
	})
}

func TestFallbackAndCounters(t *testing.T) {
	spec := webSpec(1)
	spec.Services[0].Fallback = &pool.Server{Address: spec.Services[0].Servers[0].Address.Next(), Port: 80, Weight: 1}
	run(t, spec, newFakeKernel(), func(r *rig) {
		r.targets.set(true, "10.0.0.1")
		after(time.Second)
		r.want("tcp 10.0.0.100:80: 10.0.0.2:80*1")
		s := r.Status().Services[0]
		if !s.FallbackActive || !s.FallbackServer.InKernel || s.Fallback.String() != "10.0.0.2:80" {
			t.Errorf("fallback %+v", s.FallbackServer)
		}
		r.targets.set(false, "10.0.0.1")
		after(5 * time.Second)
		r.kernel.do(func() {
			srv := &r.kernel.services[key("10.0.0.100:80")].Servers[0]
			srv.Active, srv.Stats.Connections, srv.Stats.PacketsIn = 3, 7, 70
		})
		after(1100 * time.Millisecond)
		srv := r.Status().Services[0].Servers[0]
		if srv.Active != 3 || srv.Stats.Connections != 7 || srv.Stats.InPackets != 70 || srv.Weight != 1 {
			t.Errorf("counters %+v", srv)
		}
		if c := srv.Checks[0]; c.Kind() != "tcp" || !c.Up || !c.Known || c.Last.Code != check.L4OK || c.Subject() != "10.0.0.1:80" {
			t.Errorf("check %+v", c)
		}
	})
}

// Whatever happens, in the end the kernel has what the pool wants. The seeds are
// fixed: a failure can be repeated.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		run(t, webSpec(4), newFakeKernel(inKernel("10.0.0.100:80", "10.0.0.2", "10.0.0.9")), func(r *rig) {
			for range 60 {
				address := fmt.Sprintf("10.0.0.%d", rng.IntN(4)+1)
				switch rng.IntN(6) {
				case 0, 1:
					r.targets.set(rng.IntN(2) == 0, address)
				case 2:
					r.reload(webSpec(rng.IntN(5)))
				case 3:
					r.kernel.do(func() { clear(r.kernel.services) })
				case 4:
					r.kernel.do(func() {
						for _, s := range r.kernel.services {
							s.Servers = s.Servers[:len(s.Servers)/2]
						}
					})
				}
				after(time.Duration(rng.IntN(1500)) * time.Millisecond)
			}
			r.targets.set(false, "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
			r.reload(webSpec(4))
			after(20 * time.Second)
			r.want("tcp 10.0.0.100:80: 10.0.0.1:80*1 10.0.0.2:80*1 10.0.0.3:80*1 10.0.0.4:80*1")
			for _, s := range r.Status().Services[0].Servers {
				if s.State != Up || !s.InKernel || s.Weight != 1 {
					t.Errorf("seed %d: %+v", seed, s)
				}
			}
		})
	}
}
