// Package link is the connection between the two processes: pulse, which runs
// the routers, and its child, the director, which knows everything else.
//
// It is a socketpair that carries framed messages: four bytes of length, most
// significant first, then one JSON document. Both ends are the same program, but
// after an upgrade of the file on disk a new director may meet an old pulse;
// [Version] tells.
package link
