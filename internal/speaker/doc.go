// Package speaker runs the VRRP routers: it carries packets and the time to the
// elections of package vrrp, and their actions to the network.
//
// One goroutine owns all elections and never waits: adverts go out inline, and
// kernel writes and announcements go to ordered workers.
package speaker
