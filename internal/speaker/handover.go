package speaker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"baton/internal/vrrp"
)

// Failover hands the addresses of a router to a peer without loss and makes the
// router stand back until [Speaker.Resume]. It returns when a peer has taken
// over and the addresses are gone here, or an error that says why not; then the router stays master.
// The routers of a sync group go together.
func (s *Speaker) Failover(ctx context.Context, name string) error {
	var names []string
	if err := s.call(ctx, func() {
		if r := s.routers[name]; r != nil {
			for _, m := range r.together() {
				names = append(names, m.spec.Name)
			}
		}
	}); err != nil {
		return err
	}
	if len(names) == 0 {
		return unknownRouter(name)
	}
	if err := s.settleAll(ctx, names, vrrp.Resign); err != nil {
		return err
	}
	return s.released(ctx)
}

// settleAll delivers an event to several routers and waits for all of them.
func (s *Speaker) settleAll(ctx context.Context, names []string, kind vrrp.EventKind) error {
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = s.settle(ctx, name, kind) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Resume makes a router take part again after [Speaker.Failover].
func (s *Speaker) Resume(ctx context.Context, name string) error {
	var err error
	called := s.call(ctx, func() {
		r := s.routers[name]
		if r == nil {
			err = unknownRouter(name)
			return
		}
		for _, m := range r.together() {
			m.step(vrrp.Event{Kind: vrrp.Resume})
		}
	})
	return errors.Join(called, err)
}

// Synced tells a router that its connection table has caught up with the
// master's: it need not wait any longer before it preempts.
func (s *Speaker) Synced(name string) {
	s.post(func() {
		if r := s.routers[name]; r != nil {
			for _, m := range r.together() {
				m.step(vrrp.Event{Kind: vrrp.Synced})
			}
		}
	})
}

// Stop hands everything over and lets go. It returns when all routers have
// ended and their addresses are gone, or when ctx ends.
func (s *Speaker) Stop(ctx context.Context) error {
	var names []string
	if err := s.call(ctx, func() {
		for name := range s.routers {
			names = append(names, name)
		}
	}); err != nil {
		return err
	}
	return errors.Join(s.settleAll(ctx, names, vrrp.Shutdown), s.released(ctx))
}

// settle delivers an event and waits for the end of what it began.
func (s *Speaker) settle(ctx context.Context, name string, kind vrrp.EventKind) error {
	settled := make(chan string, 1)
	var err error
	called := s.call(ctx, func() {
		r := s.routers[name]
		if r == nil {
			err = unknownRouter(name)
			return
		}
		r.waiters = append(r.waiters, settled)
		r.stopped = r.stopped || kind == vrrp.Shutdown
		r.step(vrrp.Event{Kind: kind})
	})
	if err := errors.Join(called, err); err != nil {
		return err
	}
	select {
	case reason := <-settled:
		if reason != "" {
			return fmt.Errorf("router %s: %s", name, reason)
		}
		return nil
	case <-s.done:
		return errStopped
	case <-ctx.Done():
		return fmt.Errorf("router %s: hand-over not finished: %w", name, ctx.Err())
	}
}

// released waits until every holder has carried out what it was told.
func (s *Speaker) released(ctx context.Context) error {
	var holders []*holder
	if err := s.call(ctx, func() {
		for _, r := range s.routers {
			holders = append(holders, r.holder)
		}
	}); err != nil {
		return err
	}
	for _, h := range holders {
		if err := h.idle(ctx); err != nil {
			return err
		}
	}
	return nil
}

func unknownRouter(name string) error {
	return fmt.Errorf("no router is called %q", name)
}
