package speaker

import (
	"fmt"
	"slices"

	"baton/internal/vrrp"
)

func (s RouterStatus) explainRejected() []string {
	reasons := make([]string, 0, len(s.Rejected))
	for r, n := range s.Rejected {
		if n > 0 {
			reasons = append(reasons, r)
		}
	}
	slices.Sort(reasons)
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%s not believed (%s): %s.", wereWas(s.Rejected[r], "packet"), r, s.cause(vrrp.Reject(r)))
	}
	return reasons
}

// cause names the likely cause of a rejection and its remedy.
func (s RouterStatus) cause(r vrrp.Reject) string {
	switch r {
	case vrrp.RejectLength:
		return "longer or shorter than the number of addresses in it says; a peer with authentication (keepalived: auth_type, auth_hmac) or a damaged packet"
	case vrrp.RejectVersion:
		return fmt.Sprintf("a peer speaks another version than %d; keepalived needs vrrp_version %d", s.Spec.Version, s.Spec.Version)
	case vrrp.RejectType:
		return "no advertisement; VRRP has no other packets, so something else uses protocol 112 (CARP does)"
	case vrrp.RejectChecksum:
		return "the checksum is wrong in all of its forms; damaged on the way, or something else uses protocol 112 (CARP does)"
	case vrrp.RejectInterval:
		return "it announces an interval of 0; the sender is broken"
	case vrrp.RejectIntervalMismatch:
		return fmt.Sprintf("in version 2 all routers must have the same advert_interval, here %s; make them equal", span(s.Spec.Interval))
	case vrrp.RejectCount:
		return "it names no address; configure the addresses on the peer, too"
	case vrrp.RejectTTL:
		return "its TTL is not 255, so it crossed a router; routers that share addresses must be on one link, or name each other as peers"
	case vrrp.RejectPeer:
		if len(s.Spec.Peers) == 0 {
			return "it came by unicast, and this router uses multicast; name peers on both sides, or on none"
		}
		return fmt.Sprintf("it came from none of the peers %s, or by multicast; correct peers here, or the sender's source and peers", join(s.Spec.Peers))
	case vrrp.RejectSelf:
		return fmt.Sprintf("it came from our own address %s; another host has the same address, or the switch has a loop", source(s.Source))
	case vrrp.RejectUnknown:
		return "it is for another id than is configured here"
	}
	return s.causeAuth(r)
}

// causeAuth is cause for adverts that did not prove where they came from.
func (s RouterStatus) causeAuth(r vrrp.Reject) string {
	switch r {
	case vrrp.RejectAuthMissing:
		return "it has no HMAC, and this router asks for one; give all directors the same auth.hmac"
	case vrrp.RejectAuthType:
		return "it is authenticated in another way than is configured here; make auth the same on all directors"
	case vrrp.RejectAuthKey:
		return "its HMAC is by a key id that is not configured here; add that key to auth.hmac, or the new one on the sender"
	case vrrp.RejectAuth:
		return "a wrong password or key, or a forged packet; compare the files of auth on all directors"
	case vrrp.RejectClock:
		return "authentic, but its clock differs too much from ours; have NTP on all directors"
	case vrrp.RejectReplay:
		return "authentic, but sent before: somebody repeats packets, the network duplicates them, or the sender's clock was set back"
	}
	return "for a reason that this version cannot explain"
}
