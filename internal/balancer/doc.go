// Package balancer keeps the kernel's virtual server table equal to what the
// configuration and the checks ask for.
//
// It feeds the verdicts of [check.Runner] into a [pool.Pool] and the pool's
// table into [ipvs.Reconciler], and publishes what it did as [Status].
package balancer
