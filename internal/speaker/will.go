package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"baton/internal/network"
	"baton/internal/vrrp"
)

// Will is what is to be done for the routers of a process that died: tell the
// peers, so that one takes over after its skew instead of three adverts, and take
// the addresses off the interfaces, so that there are not two owners.
type Will struct {
	Adverts   []WillAdvert      `json:"adverts,omitempty"`
	Addresses []network.Address `json:"addresses,omitempty"`
}

// WillAdvert is an encoded advert with priority 0.
type WillAdvert struct {
	Interface string     `json:"interface"`
	Source    netip.Addr `json:"source"`
	Dest      netip.Addr `json:"dest"`
	Payload   []byte     `json:"payload"`
}

// Empty reports whether there is nothing to be done.
func (w Will) Empty() bool { return len(w.Adverts) == 0 && len(w.Addresses) == 0 }

// Will returns what would have to be done if this process died now. It changes
// with every change of ownership.
func (s *Speaker) Will(ctx context.Context) (Will, error) {
	var w Will
	err := s.call(ctx, func() {
		for _, r := range s.routers {
			w.Addresses = append(w.Addresses, r.mayHold()...)
			if r.election.State() != vrrp.Master {
				continue
			}
			r.eachDest(func(dst netip.Addr) {
				w.Adverts = append(w.Adverts, WillAdvert{
					Interface: r.spec.Interface, Source: r.source, Dest: dst,
					Payload: r.encode(nil, 0, dst),
				})
			})
		}
	})
	return w, err
}

// mayHold returns the addresses that may be on an interface because of this
// router: wanted, or not yet released.
func (r *router) mayHold() []network.Address {
	if r.wantHeld || r.held {
		return r.spec.Addresses
	}
	return nil
}

// Remover deletes addresses that carry our mark.
type Remover interface {
	Remove(ctx context.Context, addresses []network.Address) error
}

// Execute carries out a will. The adverts go first: the peers' clocks run while
// the addresses are removed. One failure does not stop the rest.
func (w Will) Execute(ctx context.Context, open func(ifname string) (Conn, error), remover Remover) error {
	var errs []error
	conns := map[string]Conn{}
	for _, a := range w.Adverts {
		conn := conns[a.Interface]
		if conn == nil {
			var err error
			if conn, err = open(a.Interface); err != nil {
				errs = append(errs, fmt.Errorf("open a VRRP socket on %s: %w", a.Interface, err))
				continue
			}
			conns[a.Interface] = conn
			defer conn.Close() //nolint:errcheck // the process is about to end
		}
		if err := conn.Send(a.Payload, a.Source, a.Dest); err != nil {
			errs = append(errs, fmt.Errorf("send priority 0 on %s: %w", a.Interface, err))
		}
	}
	if len(w.Addresses) > 0 {
		errs = append(errs, remover.Remove(ctx, w.Addresses))
	}
	return errors.Join(errs...)
}
