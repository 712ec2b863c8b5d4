package check

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// probePing sends one echo request and waits for its answer. It does not repeat
// it: what a lost packet may mean is up to Fall.
func probePing(ctx context.Context, s Spec) (Code, string, error) {
	target := s.Target.Addr().Unmap()
	if !target.IsValid() {
		return "", "", failf(L4CON, "the ping has no target")
	}
	h, err := pings.take(s, target.Is6())
	if err != nil {
		return "", "", s.pingFailure(err)
	}
	defer pings.release(h)
	answered, err := h.send(ctx, target)
	if err != nil {
		return "", "", s.pingFailure(err)
	}
	defer h.forget(answered)
	select {
	case err := <-answered.result:
		if err != nil {
			return "", "", s.pingFailure(err)
		}
		return L3OK, target.String() + " answered the ping", nil
	case <-ctx.Done():
		return "", "", failf(L4TOUT, "no answer to a ping from %s within %s", target, span(s.Timeout))
	}
}

// pingFailure says in words why there could be no answer.
func (s Spec) pingFailure(err error) error {
	target := s.Target.Addr().Unmap()
	var option *optionError
	switch {
	case errors.As(err, &option):
		return failf(L4CON, "this host cannot ping: %s", option)
	case errors.Is(err, errPingRights):
		return failf(L4CON, "%s", err)
	case isTimeout(err):
		return failf(L4CON, "this host could not send a ping to %s within %s: the packets before it are still waiting", target, span(s.Timeout))
	case errors.Is(err, unix.ENETUNREACH):
		return failf(L4CON, "no route to the network of %s", target)
	case errors.Is(err, unix.EHOSTUNREACH):
		return failf(L4CON, "no route to host %s", target)
	case errors.Is(err, unix.EADDRNOTAVAIL) && s.Source.IsValid():
		return failf(L4CON, "this host cannot ping: it does not have the source address %s", s.Source)
	case errors.Is(err, unix.EPERM):
		return failf(L4CON, "this host does not send a ping to %s: its packet filter forbids it", target)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return failf(L4CON, "this host cannot ping %s: it has too many files open", target)
	}
	return failf(L4CON, "cannot ping %s: %s", target, systemError(err))
}
