package api

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"baton/internal/pool"
)

// UndoesServices says, in sentences for people, what the daemon undoes of changes
// that somebody else makes to these services of the kernel, or to all there are.
// There are none where it leaves them alone.
func (s Status) UndoesServices(keys []pool.Key, all bool) (notes []string) {
	var kept []string
	others := all
	for _, svc := range s.Services {
		has := all
		for _, k := range keys {
			has = has || svc.has(k)
		}
		if has {
			kept = append(kept, svc.Name)
		}
	}
	for _, k := range keys {
		others = others || !s.names(k)
	}
	if len(kept) > 0 {
		notes = append(notes, fmt.Sprintf("the daemon keeps these services as its configuration says, and puts them back within %v: %s",
			s.Keeps.every(), strings.Join(kept, ", ")))
	}
	if others && s.Keeps.RemoveForeign {
		notes = append(notes, fmt.Sprintf("the daemon removes services that its configuration does not name (ipvs: foreign: remove), within %v", s.Keeps.every()))
	}
	return notes
}

// UndoesTimeouts is UndoesServices for the idle timeouts of connections.
func (s Status) UndoesTimeouts() []string {
	if !s.Keeps.Timeouts {
		return nil
	}
	return []string{fmt.Sprintf("the daemon sets the timeouts that its configuration names (ipvs: timeouts), again within %v", s.Keeps.every())}
}

// syncWatch is how soon the director notices a sync daemon that was stopped or
// changed.
const syncWatch = 3 * time.Second

// UndoesSync is UndoesServices for the connection sync daemons.
func (s Status) UndoesSync() (notes []string) {
	for _, r := range s.Routers {
		if r.ConnectionSync != nil {
			notes = append(notes, fmt.Sprintf("the daemon keeps the connection sync of router %s on %s, and restores it within %v",
				r.Name, r.ConnectionSync.Interface, syncWatch))
		}
	}
	return notes
}

func (k Keeps) every() time.Duration { return time.Duration(k.EveryMS) * time.Millisecond }

func (s Status) names(k pool.Key) bool {
	for _, svc := range s.Services {
		if svc.has(k) {
			return true
		}
	}
	return false
}

// has reports whether the kernel's service k stands for this one: its inverse is
// describeKeys.
func (s Service) has(k pool.Key) bool {
	if s.Protocol != k.Protocol.String() {
		return false
	}
	for place := range strings.SplitSeq(s.Address, ",") {
		if k.FWMark != 0 {
			if place == k.String() {
				return true
			}
			continue
		}
		place, last, isRange := strings.Cut(place, "-")
		first, err := netip.ParseAddrPort(place)
		if err != nil || first.Addr() != k.Address {
			continue
		}
		end := uint64(first.Port())
		if isRange {
			if end, err = strconv.ParseUint(last, 10, 16); err != nil {
				continue
			}
		}
		if k.Port >= first.Port() && uint64(k.Port) <= end {
			return true
		}
	}
	return false
}
