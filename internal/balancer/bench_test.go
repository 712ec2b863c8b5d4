package balancer

import (
	"context"
	"fmt"
	"testing"

	"baton/internal/check"
	"baton/internal/pool"
)

// BenchmarkEngine measures what the balancer itself costs with 10,000 servers:
// per verdict, per command of an operator, and per second for the snapshot and the comparison.
func BenchmarkEngine(b *testing.B) {
	spec := webSpec(0)
	for n := range 100 {
		s := webService(fmt.Sprintf("s%d", n), fmt.Sprintf("10.0.0.100:%d", 1000+n))
		for m := range 100 {
			addServer(&spec, &s, fmt.Sprintf("10.1.%d.%d", n, m))
		}
		spec.Services = append(spec.Services, s)
	}
	kernel := newFakeKernel()
	bal := New(Options{
		Open:   func(context.Context) (Kernel, error) { return kernel, nil },
		Runner: check.NewRunner(check.Options{}),
	}, spec)
	ctx := context.Background()
	bal.begin(ctx)
	id := string(spec.Services[50].Servers[50].Checks[0])
	for sid := range spec.Jobs {
		bal.hear([]check.Verdict{{ID: string(sid), Up: true, Changed: true}})
	}
	bal.apply(ctx, true)
	b.Run("verdict", func(b *testing.B) {
		for i := range b.N {
			bal.hear([]check.Verdict{{ID: id, Up: i%2 == 0, Changed: true}})
			bal.apply(ctx, false)
		}
	})
	b.Run("wish", func(b *testing.B) {
		svc := spec.Services[50]
		for i := range b.N {
			w := Wishes{Hold: func(*pool.Service, *pool.Server) string { return "" }}
			if i%2 == 0 {
				w.Overrides = []Override{{Service: svc.Name, Server: svc.Servers[50].AddrPort(), State: Draining}}
			}
			bal.wish(ctx, w)
		}
	})
	b.Run("publish", func(b *testing.B) {
		for range b.N {
			bal.publish(true)
		}
	})
	b.Run("resync", func(b *testing.B) {
		for range b.N {
			bal.apply(ctx, true)
		}
	})
}
