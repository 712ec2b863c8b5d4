package balancer

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"baton/internal/check"
	"baton/internal/pool"
)

// BenchmarkEngine measures what the balancer itself costs with 10,000 servers:
// per verdict, per command of an operator, and per second for the snapshot and the comparison;
// and what it holds in memory for each server, its check and its spec with it.
func BenchmarkEngine(b *testing.B) {
	before := heap()
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
	bal.publish(true)
	held := heap() - before
	b.Run("held", func(b *testing.B) {
		b.ReportMetric(float64(held)/10_000, "B/server")
		b.ReportMetric(0, "ns/op") // it does nothing
	})
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

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
