package vrrp

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// multicastSenders is how many senders are remembered without a list of peers.
// More than two speak at once only while they dispute who is master.
const multicastSenders = 4

// sequence is the number of a packet: seconds since 1970, 1/65536 s, and a counter
// for packets within that time. Numbers are compared as RFC 1982 has it, so that
// the end of the 32 bit seconds in 2106 is a day like any other.
type sequence uint64

func sequenceOf(trailer []byte) sequence {
	return sequence(binary.BigEndian.Uint64(trailer[sequenceFrom:]))
}

// sequenceAt returns the first number of a moment.
func sequenceAt(wall time.Time) sequence {
	fraction := uint64(wall.Nanosecond()) << 16 / uint64(time.Second)
	return sequence(uint64(wall.Unix())<<32 | fraction<<16)
}

func (s sequence) after(t sequence) bool { return int64(s-t) > 0 }

// since returns the time from t to s; negative when t is the later one.
func (s sequence) since(t sequence) time.Duration {
	d := int64(s - t) // in 2^-32 s
	return time.Duration(d>>32)*time.Second + time.Duration(uint64(uint32(d))*uint64(time.Second)>>32)
}

// next numbers a packet that is sent at wall: by the clock, or one more than the
// last when the clock is not beyond it.
//
// A later packet so has the higher number even when two processes speak for one
// router, one after the other, as long as the clock is not set back between them.
//
// A clock that is set back by less than the window is outlasted: the numbers go on
// from the last one until the clock comes after it. Set back by more, no peer whose
// clock is right would believe them, and the numbers begin again with the clock.
func (c *Codec) next(wall time.Time) sequence {
	now := sequenceAt(wall)
	if c.sent == 0 || now.after(c.sent) || c.sent.since(now) > c.window {
		c.sent = now
	} else {
		c.sent++
	}
	return c.sent
}

// sender is what is remembered of one that signs.
type sender struct {
	addr  netip.Addr
	heard bool
	last  sequence
	used  uint64 // Codec.clock when it was last believed
}

// believe decides about an authentic packet by its number: the time in it must be
// within the window around our clock, and it must be higher than the last one of
// its sender. Only a packet that is believed is remembered.
//
// What clocks do to that:
//   - A sender that was restarted, whose clock was set back by less than the window
//     meanwhile, is not believed until its clock has caught up. It listens for three
//     intervals anyway before it speaks.
//   - A last number outside of the window counts no more. It could only reject what
//     the window rejects anyway, or lock out a sender whose clock was ahead and has
//     been put right.
//   - Two directors whose clocks differ by more than the window do not believe each
//     other, and both become master. There is no way around: a clock is what tells a
//     replay. So start after the clock is set (systemd: time-sync.target), and watch
//     Advert.Skew.
func (c *Codec) believe(a *Advert, number sequence, src netip.Addr, wall time.Time) error {
	now := sequenceAt(wall)
	a.Skew = number.since(now)
	if a.Skew.Abs() > c.window {
		return RejectClock
	}
	s := c.sender(src)
	if s != nil && s.heard && s.last.since(now).Abs() <= c.window && !number.after(s.last) {
		return RejectReplay
	}
	if s == nil {
		s = c.oldest()
	}
	c.clock++
	*s = sender{addr: src, heard: true, last: number, used: c.clock}
	return nil
}

// sender returns what is known of a source, or nil.
func (c *Codec) sender(src netip.Addr) *sender {
	for i := range c.senders {
		if c.senders[i].addr == src {
			return &c.senders[i]
		}
	}
	return nil
}

// oldest returns the sender to forget. Only authentic packets make one forgotten,
// so forged ones, from however many sources, cannot.
func (c *Codec) oldest() *sender {
	s := &c.senders[0]
	for i := range c.senders {
		if c.senders[i].used < s.used {
			s = &c.senders[i]
		}
	}
	return s
}

// Inherit takes over what old remembers of its senders, and its last number. A
// codec that replaces another one at a reload, with other keys perhaps, needs it:
// else what was captured in the last seconds could be replayed.
func (c *Codec) Inherit(old *Codec) {
	c.sent = old.sent
	for i := range old.senders {
		if from := &old.senders[i]; from.heard {
			to := c.sender(from.addr)
			if to == nil && !c.unicast {
				to = c.oldest()
			}
			if to != nil {
				*to = *from
			}
		}
	}
	c.clock = old.clock
}
