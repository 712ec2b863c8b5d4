package ipvs

import (
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"baton/internal/pool"
)

// reportEvery is how often the same service, or drift, is written to the log at
// most. A table is compared about once a second.
const reportEvery = time.Minute

// reports writes to the log what an administrator should know, not too often.
// The zero value is ready.
type reports struct {
	failing  map[pool.Key]time.Time // when the failure was last written; kept for a minute after it ended
	broken   map[pool.Key]bool      // what fails now
	drifted  time.Time
	withheld int // differences since then
}

// failures logs the services that are not as wanted and those that are again.
func (r *reports) failures(log *slog.Logger, failed map[pool.Key]error) {
	if r.failing == nil {
		r.failing, r.broken = make(map[pool.Key]time.Time), make(map[pool.Key]bool)
	}
	t := time.Now()
	for _, k := range slices.SortedFunc(maps.Keys(failed), pool.Key.Compare) {
		r.broken[k] = true
		if last, ok := r.failing[k]; !ok || t.Sub(last) >= reportEvery {
			r.failing[k] = t
			log.Warn("a virtual service is not in the kernel as wanted; trying again", "service", k.String(), "error", failed[k])
		}
	}
	for k := range r.broken {
		if failed[k] == nil {
			delete(r.broken, k)
			log.Info("a virtual service is in the kernel as wanted again", "service", k.String())
		}
	}
	maps.DeleteFunc(r.failing, func(k pool.Key, last time.Time) bool { return !r.broken[k] && t.Sub(last) >= reportEvery })
}

// drift logs that somebody else has changed our services.
func (r *reports) drift(log *slog.Logger, list []Difference) {
	if len(list) == 0 {
		return
	}
	r.withheld += len(list)
	if t := time.Now(); r.drifted.IsZero() || t.Sub(r.drifted) >= reportEvery {
		log.Warn("somebody else changed our virtual services in the kernel; changed them back",
			"differences", r.withheld, "first", list[0].String())
		r.drifted, r.withheld = t, 0
	}
}

// plural counts things in words.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}
