// Package check finds out whether a real server works.
//
// A probe is one function with a deadline ([Probe]); there is one file per kind.
// A [Runner] runs probes on their schedule, counts successes and failures, and
// says when a target went up or down.
package check
