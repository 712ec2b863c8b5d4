package director

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"baton/internal/api"
	"baton/internal/balancer"
	"baton/internal/pool"
)

// absentLimit is how long an override waits for a server that no service has: a
// server that was taken out of the configuration by mistake, or by a discovery that
// lost sight of it, must not come back into service in the middle of its repair.
const absentLimit = 7 * 24 * time.Hour

// operator carries out what operators want of servers: it is kept on disk first,
// then the balancer is told.
type operator struct {
	store  store
	log    *slog.Logger
	event  func(api.Event)
	wish   func(context.Context, balancer.Wishes) error
	status func() balancer.Status

	mu     sync.Mutex // held during a command: one at a time
	list   []balancer.Override
	hold   func(*pool.Service, *pool.Server) string // nil: nothing is held
	absent atomic.Pointer[[]api.Absent]
}

// newOperator reads what an earlier run has left. problem says what was lost of it.
func newOperator(s store, log *slog.Logger, event func(api.Event), now time.Time) (o *operator, problem string) {
	list, err := s.loadOverrides(now)
	if err != nil {
		problem = fmt.Sprintf("operators' overrides were lost (%d are left): %v; say again what is to be drained, disabled or weighed", len(list), err)
		log.Error("operators' overrides of servers were lost; say again what is to be drained, disabled or weighed", "left", len(list), "error", err)
	}
	o = &operator{store: s, log: log, event: event, list: list}
	o.showAbsent()
	return o, problem
}

// wishes are what the balancer has to know; the caller holds the mutex, or is alone.
func (o *operator) wishes() balancer.Wishes {
	return balancer.Wishes{Overrides: o.list, Hold: o.hold}
}

// Override does what an operator wants of a server. What cannot be kept for the
// next start is not done.
func (d *Director) Override(ctx context.Context, c api.OverrideCommand) (api.OverrideDone, error) {
	done, err := d.operator.override(ctx, c, time.Now().Round(0))
	d.mu.Lock()
	peers := len(d.cfg.Routers) > 0
	d.mu.Unlock()
	if err == nil && done.Changed && peers {
		done.Notes = append(done.Notes, "this director's overrides are its own: say the same to its peer")
	}
	return done, err
}

func (o *operator) override(ctx context.Context, c api.OverrideCommand, now time.Time) (api.OverrideDone, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := slices.IndexFunc(o.list, func(have balancer.Override) bool { return have.Place() == c.Place })
	was := balancer.Override{Service: c.Service, Server: c.Server}
	if at >= 0 {
		was = o.list[at]
	}
	next := overrideWith(was, c, now)
	before := serviceOf(o.status(), c.Service)
	if reflect.DeepEqual(was, next) {
		return api.OverrideDone{Notes: unchangedNotes(was, serverOf(before, c.Server))}, nil
	}
	list := slices.Clone(o.list)
	if at >= 0 {
		list = slices.Delete(list, at, at+1)
	}
	if next.State != "" || next.Weight != nil {
		list = append(list, next)
	}
	slices.SortFunc(list, func(a, b balancer.Override) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), a.Server.Compare(b.Server))
	})
	if err := o.store.saveOverrides(list); err != nil {
		o.log.Warn("operator's command was refused: it could not be kept", "service", c.Service, "server", c.Server.String(), "by", c.By, "error", err)
		return api.OverrideDone{}, &api.NotSavedError{Err: err}
	}
	o.list = list
	o.showAbsent()
	o.tell(c, now)
	if err := o.wish(ctx, o.wishes()); err != nil {
		return api.OverrideDone{}, fmt.Errorf("it is kept for the next start, but could not be done now: %w", err)
	}
	return api.OverrideDone{Changed: true, Notes: changedNotes(c, before, serviceOf(o.status(), c.Service))}, nil
}

// tell logs a command and enters it as an event; what comes of it follows.
func (o *operator) tell(c api.OverrideCommand, now time.Time) {
	did := verb(c)
	why := "by " + c.By
	if c.Reason != "" {
		why += ": " + c.Reason
	}
	o.log.Info("operator's command", "action", did, "service", c.Service, "server", c.Server.String(), "by", c.By, "reason", c.Reason)
	o.event(api.Event{At: now, Kind: api.KindServer, Name: c.Service, Server: c.Server.String(), To: did, Reason: why})
}

// verb names what a command does, as the command line does.
func verb(c api.OverrideCommand) string {
	var did []string
	if c.Reset {
		did = append(did, "reset")
	}
	switch c.State {
	case api.ServerDraining:
		did = append(did, "drain")
	case api.ServerDisabled:
		did = append(did, "disable")
	case api.ServerEnabled:
		did = append(did, "enable")
	}
	if c.Weight != nil {
		did = append(did, fmt.Sprintf("weight %d", *c.Weight))
	}
	return strings.Join(did, ", ")
}

// overrideWith is an override after a command. Who says again what holds already,
// and gives no other reason, changes nothing.
func overrideWith(o balancer.Override, c api.OverrideCommand, now time.Time) balancer.Override {
	note := balancer.Note{By: c.By, At: now, Reason: c.Reason}
	news := func(was balancer.Note) bool { return c.Reason != "" && c.Reason != was.Reason }
	if c.Reset {
		o = balancer.Override{Service: o.Service, Server: o.Server, Absent: o.Absent}
	}
	switch state := balancer.ServerState(c.State); c.State {
	case api.ServerEnabled:
		o.State, o.Stated = "", balancer.Note{}
	case api.ServerDraining, api.ServerDisabled:
		if o.State != state || news(o.Stated) {
			o.State, o.Stated = state, note
		}
	}
	if c.Weight != nil && (o.Weight == nil || *o.Weight != *c.Weight || news(o.Weighed)) {
		o.Weight, o.Weighed = c.Weight, note
	}
	return o
}

// again has the balancer ask again who is held.
func (o *operator) again(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.wish(ctx, o.wishes())
}

// run looks now and then whether overrides have lost their servers. Not at once: a
// discovery may have to find them first.
func (o *operator) run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		o.review(ctx, time.Now().Round(0))
	}
}

// review takes note of overrides whose servers are in no service, and forgets
// those that have waited for too long.
func (o *operator) review(ctx context.Context, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	services := o.status().Services
	if len(services) == 0 { // perhaps not known yet
		return
	}
	there := make(map[pool.Place]bool)
	for i := range services {
		for n := range services[i].Servers {
			there[pool.Place{Service: services[i].Name, Server: services[i].Servers[n].Address}] = true
		}
	}
	list := make([]balancer.Override, 0, len(o.list))
	for _, have := range o.list {
		switch {
		case there[have.Place()]:
			have.Absent = time.Time{}
		case have.Absent.IsZero():
			have.Absent = now
			o.log.Info("an override waits for a server that is in no service any more", "service", have.Service,
				"server", have.Server.String(), "override", have.String(), "forgotten", now.Add(absentLimit).Format(time.RFC3339))
		case now.Sub(have.Absent) >= absentLimit:
			o.forgotten(have, now)
			continue
		}
		list = append(list, have)
	}
	changed := !reflect.DeepEqual(list, o.list) && len(list)+len(o.list) > 0
	if o.list = list; changed {
		if err := o.store.saveOverrides(list); err != nil {
			o.log.Warn("which overrides wait for their servers could not be kept; after a restart their time begins anew", "error", err)
		}
		_ = o.wish(ctx, o.wishes()) // at our own end it does not matter any more
	}
	o.showAbsent()
}

func (o *operator) forgotten(have balancer.Override, now time.Time) {
	why := fmt.Sprintf("its server has been in no service for %s; it was: %s", now.Sub(have.Absent).Round(time.Hour), have)
	o.log.Info("an override is forgotten", "service", have.Service, "server", have.Server.String(), "reason", why)
	o.event(api.Event{At: now, Kind: api.KindServer, Name: have.Service, Server: have.Server.String(), To: "override forgotten", Reason: why})
}

// showAbsent renews what is shown of overrides without a server; the caller holds
// the mutex.
func (o *operator) showAbsent() {
	var out []api.Absent
	for _, have := range o.list {
		if !have.Absent.IsZero() {
			out = append(out, api.Absent{Override: have, Until: have.Absent.Add(absentLimit)})
		}
	}
	o.absent.Store(&out)
}

// shown are the overrides whose servers are in no service.
func (o *operator) shown() []api.Absent {
	if p := o.absent.Load(); p != nil {
		return *p
	}
	return nil
}
