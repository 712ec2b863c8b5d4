// Package pulse is the process that must never be late: it runs the VRRP
// routers and keeps its child, the director, alive.
//
// It reads nothing but packets and the director's messages, so that nothing that
// a file, a check or a user does can delay an advert.
package pulse
