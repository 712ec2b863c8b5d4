// Package ipvs makes the kernel's virtual server table equal a desired one.
//
// A [Kernel] is one handle on the table of one network namespace: [Kernel.Dump]
// reads it with its counters, [Kernel.Write] changes it in batches, and each
// change fails or succeeds alone. A [Reconciler] compares the table with a
// [pool.Table] and writes the differences and nothing else; it adopts what it
// finds, never flushes, and leaves services of others alone.
//
//	k, err := ipvs.Open(ctx, ipvs.Options{})
//	r := ipvs.NewReconciler(k, ownedFromLastRun, log)
//	a, err := r.Apply(ctx, table)       // at a start, after a reload, at each resync
//	a, err = r.ApplyChange(ctx, table)  // at each verdict: no dump, only the change
//
// What is desired is described in the words of package pool; what was observed,
// with counters and connections, is a [Service]. The two never mix.
//
// The kernel's side of the conversation is defined by include/uapi/linux/ip_vs.h
// and implemented in net/netfilter/ipvs/ip_vs_ctl.c. Comments here that speak of
// D1 to D8 mean defects of github.com/moby/ipvs v1.1.0, which this package uses
// for what it does correctly and bypasses for the rest; they are listed in
// moby.go.
package ipvs
