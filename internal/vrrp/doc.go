// Package vrrp is the Virtual Router Redundancy Protocol: the packet format and
// the election of RFC 9568.
//
// The election is a pure state machine. [Router.Step] takes the time and an
// event and returns what has to be done; [Router.Deadline] says when to come
// back. There is no IO, no goroutine and no clock in this package, so that every
// course of events can be replayed and simulated.
//
// RFC 9568 calls the owner of the addresses Active; this package, like operators
// and other implementations, calls it master.
package vrrp
