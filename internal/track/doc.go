// Package track watches what VRRP routers track beside interfaces: scripts,
// pings, files, processes and the quorum of services.
//
// Scripts and pings run through [check.Runner], so that equal ones of several
// routers are run once. Files are watched with inotify, processes by /proc and
// pidfds. A [Tracker] makes states of it and tells them router by router.
package track
