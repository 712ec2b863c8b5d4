package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxAdvertisement is more than any host sends: an advertisement has 32 bytes,
// and room for some unknown options.
const maxAdvertisement = 512

// readARP reports conflicts until the socket ends, and returns why it did.
func (w *ConflictWatch) readARP() error {
	m := message{buf: make([]byte, sizeARP)} // the padding is cut off
	read := func(fd uintptr) bool {
		m.receive(fd)
		return m.errn != unix.EAGAIN //nolint:errorlint // a bare errno from the system call
	}
	for {
		err := w.arpRaw.Read(read)
		if err == nil {
			err = m.errn
		}
		switch {
		case err == nil:
			if c, ok := parseARP(m.buf[:m.n]); ok {
				w.claimed(c)
			}
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, unix.ENETDOWN):
			// ENETDOWN comes once, when the interface goes down; a removal later is not
			// told.
			if err := w.stillThere(); err != nil {
				return err
			}
		case errors.Is(err, os.ErrClosed):
			return fmt.Errorf("%w (%w)", net.ErrClosed, err)
		default:
			return err
		}
	}
}

// stillThere returns an error when the interface is gone, and otherwise sets the
// time of the next look.
func (w *ConflictWatch) stillThere() error {
	if err := check(w.arpRaw, w.ifname, w.index); err != nil && !errors.Is(err, ErrInterfaceDown) {
		return err
	}
	return w.arp.SetReadDeadline(time.Now().Add(checkEvery))
}

// readAdvertisements does the same for IPv6. It leaves it to readARP to notice
// the end of the interface.
func (w *ConflictWatch) readAdvertisements() error {
	m := message{buf: make([]byte, maxAdvertisement)}
	read := func(fd uintptr) bool {
		m.receive(fd)
		return m.errn != unix.EAGAIN //nolint:errorlint // a bare errno from the system call
	}
	for {
		err := w.ndRaw.Read(read)
		if err == nil {
			err = m.errn
		}
		if err != nil {
			return err
		}
		p, _, ok := m.parse(IPv6)
		if !ok {
			continue
		}
		if c, ok := parseAdvertisement(&p); ok {
			w.claimed(c)
		}
	}
}

// reported is what is remembered of the claims to one address.
type reported [claimants]claimant

type claimant struct {
	mac   [6]byte
	at    time.Time // of the last report, or of the last attempt
	count int       // packets since the last report
}

// of returns the place for a hardware address: its own, else one whose time is
// over, else nil.
func (r *reported) of(mac [6]byte, now time.Time) *claimant {
	var free *claimant
	for i := range r {
		c := &r[i]
		if c.mac == mac && !c.at.IsZero() {
			return c
		}
		if free == nil && now.Sub(c.at) >= reportEvery {
			free = c
		}
	}
	if free != nil {
		*free = claimant{mac: mac}
	}
	return free
}

// claimed reports a claim to a watched address, if it is another's and its time
// has come. It allocates only to report.
func (w *ConflictWatch) claimed(c claim) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.watched[c.addr]
	if r == nil || c.mac == w.mac || w.own[c.mac] {
		return
	}
	now := time.Now()
	who := r.of(c.mac, now)
	if who == nil {
		return
	}
	who.count++
	if now.Sub(who.at) < reportEvery {
		return
	}
	// The interface may have another hardware address by now. Without an answer the
	// interface is going, which the readers will notice.
	if w.lookAtMAC() != nil || c.mac == w.mac {
		*who = claimant{}
		return
	}
	who.at = now
	select {
	case w.reports <- Conflict{Addr: c.addr, MAC: c.mac, At: now, Kind: c.kind, Count: who.count}:
		who.count = 0
	default: // nobody takes them; count on
	}
}
