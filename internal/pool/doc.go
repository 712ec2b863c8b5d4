// Package pool decides which real servers a virtual service uses.
//
// It folds check verdicts, weights, quorum, the fallback server and the
// operator's wishes into one desired table of virtual services. It is pure: no
// IO, no goroutine, no clock. The same calls in the same order always give the
// same [Table].
package pool
