// Package interop holds the tests of baton against another implementation of
// VRRP, Debian's keepalived: one of each is a pair of directors, in either role,
// over every kind of transport that both know. What a client saw, what the
// kernels hold and what crossed the wire is judged, and tshark, a third reader of
// the protocol, decodes it all.
//
// The differences that these tests show are those that docs/operating.md tells
// the users of a mixed pair.
package interop
