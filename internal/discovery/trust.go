package discovery

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// KeepPercent is the share of a source's servers that an answer has to leave
	// to be believed at once, where the service does not say otherwise.
	KeepPercent = 50
	// ConfirmAnswers is in how many answers in a row a server has to be missing, if
	// they leave fewer, until it is given up.
	ConfirmAnswers = 3
	// ConfirmTime is how long ago the first of them has to be.
	ConfirmTime = 30 * time.Second
	// recheck is how soon a source is asked again while an answer waits for that.
	recheck = 10 * time.Second
)

// trust makes the servers that are in force out of a source's answers. New servers
// and new settings are taken from every answer: the checks decide whether a server
// is used. What an answer no longer names is given up at once if it is the smaller
// part, and never because of an empty answer.
type trust struct {
	keep    int      // percent that an answer has to leave
	servers []Server // in force, sorted
	missing map[netip.AddrPort]absence
}

// absence is that of a server from answers in a row.
type absence struct {
	since   time.Time
	answers int
}

// diff is what an answer has changed.
type diff struct{ added, removed, changed []Server }

func (d diff) empty() bool { return len(d.added)+len(d.removed)+len(d.changed) == 0 }

// held returns how many servers are in force that the source does not name.
func (t *trust) held() int { return len(t.missing) }

// fold takes an answer, sorted and without duplicates. It came now; with the zero
// time it is one that was taken before and is judged anew, which confirms nothing.
func (t *trust) fold(answer []Server, now time.Time) diff {
	var d diff
	next := slices.Clone(answer)
	var gone []Server
	for _, was := range t.servers {
		i, found := slices.BinarySearchFunc(answer, was, Server.Compare)
		switch {
		case !found:
			gone = append(gone, was)
		case !answer[i].Equal(was):
			d.changed = append(d.changed, answer[i])
		}
	}
	for _, is := range answer {
		if _, found := slices.BinarySearchFunc(t.servers, is, Server.Compare); !found {
			d.added = append(d.added, is)
		}
	}
	t.doubt(answer, gone, now)
	for _, was := range gone {
		if _, held := t.missing[was.AddrPort()]; held {
			next = append(next, was)
			continue
		}
		d.removed = append(d.removed, was)
	}
	slices.SortFunc(next, Server.Compare)
	t.servers = next
	return d
}

// doubt decides which of the servers that an answer lacks stay in force, and takes
// note of how long they have been missing.
func (t *trust) doubt(answer, gone []Server, now time.Time) {
	before := t.missing
	t.missing = make(map[netip.AddrPort]absence, len(gone))
	left := len(t.servers) - len(gone)
	if len(answer) > 0 && left*100 >= t.keep*len(t.servers) {
		return // believed
	}
	proves := len(answer) > 0 && !now.IsZero()
	for _, s := range gone {
		a := before[s.AddrPort()]
		if proves {
			if a.answers == 0 {
				a.since = now
			}
			a.answers++
		}
		if proves && a.answers >= ConfirmAnswers && now.Sub(a.since) >= ConfirmTime {
			continue
		}
		t.missing[s.AddrPort()] = a
	}
}
