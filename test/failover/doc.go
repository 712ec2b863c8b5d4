// Package failover holds the tests that need two whole directors: baton runs on
// hosts made of network namespaces, something dies, and what a client, the
// kernels and the wire saw is judged.
//
// The figures are those that docs/operating.md promises. Times of packets are
// the kernel's, times of addresses are those of its reports, so that a busy
// machine delays only the judge.
package failover
