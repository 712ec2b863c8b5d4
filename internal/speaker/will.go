package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"baton/internal/network"
	"baton/internal/vrrp"
	"baton/internal/wire"
)

// Will is what is to be done for the routers of a process that died: tell the
// peers, so that one takes over after its skew instead of three adverts, and take
// the addresses off the interfaces, so that there are not two owners.
type Will struct {
	Adverts []WillAdvert    `json:"adverts,omitempty"`
	States  []network.State `json:"states,omitempty"`
}

// WillAdvert is an advert with priority 0. It is encoded when it is sent,
// because an authenticated one says when that was.
type WillAdvert struct {
	Interface string            `json:"interface"`
	MAC       *[6]byte          `json:"mac,omitempty"` // of the sender, where it is a virtual one
	Source    netip.Addr        `json:"source"`
	Dest      netip.Addr        `json:"dest"`
	Codec     vrrp.CodecOptions `json:"codec"`
	Advert    vrrp.Advert       `json:"advert"`
}

// Empty reports whether there is nothing to be done.
func (w Will) Empty() bool { return len(w.Adverts) == 0 && len(w.States) == 0 }

// Addresses counts the addresses to be removed.
func (w Will) Addresses() int {
	n := 0
	for _, s := range w.States {
		n += len(s.Addresses)
	}
	return n
}

// Will returns what would have to be done if this process died now. It changes
// with every change of ownership.
func (s *Speaker) Will(ctx context.Context) (Will, error) {
	var w Will
	err := s.call(ctx, func() {
		for _, r := range s.routers {
			if r.wantHeld || r.held || r.spec.VirtualMAC {
				w.States = append(w.States, r.state().state)
			}
			if r.election.State() == vrrp.Master {
				w.Adverts = append(w.Adverts, r.willAdverts()...)
			}
		}
	})
	return w, err
}

func (r *router) willAdverts() []WillAdvert {
	var out []WillAdvert
	for n, p := range r.paths {
		if !p.source.IsValid() || p.codec == nil {
			continue
		}
		var mac *[6]byte
		if r.senderOn(n) != nil {
			virtual := r.virtualLink().MAC
			mac = &virtual
		}
		r.eachDest(p, func(dst netip.Addr) {
			out = append(out, WillAdvert{
				Interface: p.iface.name, MAC: mac, Source: p.source, Dest: dst,
				Codec: p.options, Advert: r.advert(0),
			})
		})
	}
	return out
}

// Remover deletes what carries our mark of a state.
type Remover interface {
	Remove(ctx context.Context, states ...network.State) error
}

// Heir is what the executor of a will needs.
type Heir struct {
	OpenConn   func(ifname string, f wire.Family) (Conn, error)
	OpenSender func(ifname string, f wire.Family, mac [6]byte) (Sender, error)
	Remover    Remover
}

// Execute carries out a will. The adverts go first: the peers' clocks run while
// the addresses are removed. One failure does not stop the rest.
func (w Will) Execute(ctx context.Context, heir Heir) error {
	var errs []error
	open := openSenders{heir: heir, have: map[senderKey]Sender{}}
	defer open.close()
	for _, a := range w.Adverts {
		if err := a.send(&open); err != nil {
			errs = append(errs, fmt.Errorf("send priority 0 on %s: %w", a.Interface, err))
		}
	}
	if len(w.States) > 0 {
		errs = append(errs, heir.Remover.Remove(ctx, w.States...))
	}
	return errors.Join(errs...)
}

func (a WillAdvert) send(open *openSenders) error {
	codec, err := vrrp.NewCodec(a.Codec)
	if err != nil {
		return err
	}
	k := senderKey{ifname: a.Interface, family: wire.FamilyOf(a.Source)}
	if a.MAC != nil {
		k.mac = *a.MAC
	}
	sender, err := open.get(k)
	if err != nil {
		return err
	}
	return sender.Send(codec.Append(nil, &a.Advert, a.Source, a.Dest, time.Now()), a.Source, a.Dest)
}

// openSenders are the sockets that a will's adverts leave by.
type openSenders struct {
	heir Heir
	have map[senderKey]Sender
}

type senderKey struct {
	ifname string
	family wire.Family
	mac    [6]byte // zero: the interface's own
}

func (o *openSenders) get(k senderKey) (Sender, error) {
	if s := o.have[k]; s != nil {
		return s, nil
	}
	var s Sender
	var err error
	if k.mac == [6]byte{} {
		s, err = o.heir.OpenConn(k.ifname, k.family)
	} else {
		s, err = o.heir.OpenSender(k.ifname, k.family, k.mac)
	}
	if err != nil {
		return nil, fmt.Errorf("open a socket: %w", err)
	}
	o.have[k] = s
	return s, nil
}

func (o *openSenders) close() {
	for _, s := range o.have {
		_ = s.Close() // the process is about to end
	}
}
