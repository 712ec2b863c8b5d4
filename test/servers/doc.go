// Package servers holds the kinds of checks against the servers that people run:
// those of Debian's packages, each with a configuration of the test's own, in the
// foreground, on a host of its own. Each is asked while it works, with wrong
// expectations, while it stands still, and when it is gone.
package servers
