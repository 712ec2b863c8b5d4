package vrrp

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// pathPair is a sender and a receiver, each with a clock of its own.
type pathPair struct {
	*testing.T
	options  CodecOptions
	from, to *Codec
	src, dst netip.Addr
}

func newPathPair(t *testing.T, peers ...netip.Addr) *pathPair {
	o := CodecOptions{VRID: 51, Version: 3, Interval: time.Second, Auth: Auth{Keys: []Key{key1}}, Peers: peers}
	l := &pathPair{t, o, mustCodec(t, o), mustCodec(t, o), a1, GroupIPv4}
	if len(peers) > 0 {
		l.dst = a2
	}
	return l
}

func (l *pathPair) restartSender() { l.from = mustCodec(l.T, l.options) }

// send returns a packet that is sent when the sender's clock says wall plus d.
func (l *pathPair) send(d time.Duration) []byte {
	a := Advert{Priority: 100, Interval: time.Second, Addresses: []netip.Addr{vip1}}
	return l.from.Append(nil, &a, l.src, l.dst, wall.Add(d))
}

// receive wants an outcome when the receiver's clock says wall plus d; "" is
// belief.
func (l *pathPair) receive(b []byte, d time.Duration, want Reject) {
	l.Helper()
	err := l.to.Parse(new(Advert), b, l.src, l.dst, wall.Add(d))
	if want == "" && err != nil || want != "" && !errors.Is(err, want) {
		l.Errorf("at %v: %v, want %q", d, err, string(want))
	}
}

func TestReplay(t *testing.T) {
	for name, peers := range map[string][]netip.Addr{"multicast": nil, "unicast": {a1, a2}} {
		t.Run(name, func(t *testing.T) {
			l := newPathPair(t, peers...)
			first, second := l.send(0), l.send(time.Second)
			l.receive(first, 0, "")
			l.receive(first, 0, RejectReplay)
			l.receive(second, time.Second, "")
			l.receive(first, time.Second, RejectReplay)
			l.receive(second, time.Second, RejectReplay)
			l.receive(first, 10*time.Second, RejectClock)
		})
	}
}

// Of a sender's packets only those count that are later than the last one: on the
// way they can change places.
func TestReorderedPacketsAreOld(t *testing.T) {
	l := newPathPair(t)
	first, second, third := l.send(0), l.send(0), l.send(time.Millisecond)
	l.receive(second, 0, "")
	l.receive(first, 0, RejectReplay)
	l.receive(third, 0, "")
}

// At one moment many packets are sent: to each peer, on each path, in answer to a
// rival. Each is later than the one before.
func TestNumbersOfOneMoment(t *testing.T) {
	l := newPathPair(t)
	for range 70_000 { // more than the counter holds
		l.receive(l.send(0), 0, "")
	}
	l.receive(l.send(time.Second), time.Second, "")
}

// Two processes speak for one router: the master, and after its death the one that
// has its will. What is sent later is believed, though neither knows of the other.
func TestSecondProcessIsBelieved(t *testing.T) {
	l := newPathPair(t, a1, a2)
	for range 1000 {
		l.receive(l.send(0), 0, "")
	}
	master := l.from
	l.restartSender()
	l.receive(l.send(20*time.Microsecond), 0, "")
	// The restarted master is believed again, the old one's packets are not.
	l.restartSender()
	l.receive(l.send(time.Millisecond), time.Millisecond, "")
	l.from = master
	l.receive(l.send(0), time.Millisecond, RejectReplay)
}

func TestWindow(t *testing.T) {
	tests := map[string]struct {
		interval, window, want time.Duration
	}{
		"at least 5s":         {time.Second, 0, 5 * time.Second},
		"three long adverts":  {3 * time.Second, 0, 9 * time.Second},
		"as it is configured": {3 * time.Second, time.Second, time.Second},
		"longest":             {MaxInterval, 0, 3 * MaxInterval},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newPathPair(t)
			l.options.Interval, l.options.Window = tt.interval, tt.window
			for _, edge := range []time.Duration{-tt.want, tt.want} {
				l.to = mustCodec(t, l.options)
				l.restartSender()
				l.receive(l.send(0), edge+edge/1000, RejectClock)
				l.receive(l.send(0), edge-edge/1000, "")
			}
		})
	}
}

// The skew is told of what is believed, and of what is not for its clock alone.
func TestSkew(t *testing.T) {
	l := newPathPair(t)
	for _, ahead := range []time.Duration{-time.Hour, -time.Second, 0, 3 * time.Second / 2, 24 * time.Hour} {
		l.restartSender()
		l.to = mustCodec(t, l.options)
		var a Advert
		err := l.to.Parse(&a, l.send(ahead), l.src, l.dst, wall)
		if a.Skew != ahead {
			t.Errorf("skew %v, want %v (%v)", a.Skew, ahead, err)
		}
	}
}

// The sender's clock is set back while it runs.
func TestSenderClockSetBack(t *testing.T) {
	l := newPathPair(t)
	l.receive(l.send(0), 0, "")
	// By less than the window: nobody notices.
	for d := time.Second; d < 10*time.Second; d += time.Second {
		l.receive(l.send(d-4*time.Second), d, "")
	}
	// By an hour: it is not believed until it is put right, and then at once.
	l.receive(l.send(-time.Hour), 10*time.Second, RejectClock)
	l.receive(l.send(11*time.Second), 11*time.Second, "")
}

// The sender's clock was ahead, and is put right.
func TestSenderClockWasAhead(t *testing.T) {
	l := newPathPair(t)
	l.receive(l.send(4*time.Second), 0, "")
	l.receive(l.send(time.Second), time.Second, "")
	l.receive(l.send(time.Hour), 2*time.Second, RejectClock)
	l.receive(l.send(5*time.Second), 5*time.Second, "")

	// It is restarted: it is not believed until its clock comes after its old one.
	l = newPathPair(t)
	l.receive(l.send(4*time.Second), 0, "")
	l.restartSender()
	l.receive(l.send(3*time.Second), 3*time.Second, RejectReplay)
	l.receive(l.send(5*time.Second), 5*time.Second, "")
}

// Our own clock was ahead, and with it the sender's whom we heard; both are put
// right, and the sender is restarted. What we remember of it is of no use then.
func TestOurClockWasAhead(t *testing.T) {
	l := newPathPair(t, a1, a2)
	l.receive(l.send(time.Hour), time.Hour, "")
	l.restartSender()
	b := l.send(0)
	l.receive(b, 0, "")
	l.receive(b, 0, RejectReplay)
}

// In 2038 the seconds no longer fit into 31 bits, in 2106 into 32.
func TestNumbersOutlastTheirSeconds(t *testing.T) {
	for _, end := range []int64{1 << 31, 1 << 32} {
		l := newPathPair(t)
		start := time.Unix(end, 0).Sub(wall)
		for d := -8 * time.Second; d <= 8*time.Second; d += time.Second / 2 {
			b := l.send(start + d)
			l.receive(b, start+d, "")
			l.receive(b, start+d, RejectReplay)
		}
	}
}

// Without peers four senders are remembered. A fifth one costs the place of the one
// that was believed the longest ago; forged packets cost nobody's.
func TestSendersAreBounded(t *testing.T) {
	l := newPathPair(t)
	var packets [5][]byte
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}) }
	for i := range multicastSenders {
		l.src = addr(i)
		l.restartSender()
		packets[i] = l.send(0)
		l.receive(packets[i], 0, "")
	}
	forger := newPathPair(t)
	forger.options.Auth.Keys = []Key{{ID: 1, Secret: count(1, 32)}}
	forger.restartSender()
	forger.to = l.to
	for i := range 1000 {
		forger.src = netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})
		forger.receive(forger.send(0), 0, RejectAuth)
	}
	for i := range multicastSenders {
		l.src = addr(i)
		l.receive(packets[i], 0, RejectReplay)
	}
	if len(l.to.senders) != multicastSenders {
		t.Errorf("%d senders are remembered", len(l.to.senders))
	}
	// The first one speaks, then a fifth: now the second is forgotten, and no other.
	l.src = addr(0)
	l.restartSender()
	packets[0] = l.send(time.Millisecond)
	l.receive(packets[0], 0, "")
	l.src = addr(4)
	l.restartSender()
	packets[4] = l.send(0)
	l.receive(packets[4], 0, "")
	for _, i := range []int{0, 2, 3, 4} {
		l.src = addr(i)
		l.receive(packets[i], 0, RejectReplay)
	}
}

// What fails changes nothing, wherever it fails: a number from the future in a
// packet that is wrong would lock its sender out.
func TestRejectedPacketsAreNotRemembered(t *testing.T) {
	l := newPathPair(t)
	l.receive(l.send(0), 0, "")
	before := l.to.senders[0]
	v := variant{options: l.options, src: l.src, dst: l.dst}
	wrong := map[Reject]func([]byte){
		RejectInterval: func(b []byte) { b[4], b[5] = 0, 0; v.complete(t, b) },
		RejectAuth:     func(b []byte) { b[len(b)-1] ^= 1 },
		RejectChecksum: func(b []byte) { b[6] ^= 1 },
		RejectClock: func(b []byte) {
			binary.BigEndian.PutUint64(b[len(b)-trailerLen+sequenceFrom:], uint64(sequenceAt(wall.Add(time.Hour))))
			v.complete(t, b)
		},
		RejectReplay: func(b []byte) {
			binary.BigEndian.PutUint64(b[len(b)-trailerLen+sequenceFrom:], uint64(sequenceAt(wall)))
			v.complete(t, b)
		},
	}
	for why, spoil := range wrong {
		b := l.send(3 * time.Second)
		spoil(b)
		l.receive(b, 0, why)
		if l.to.senders[0] != before {
			t.Errorf("%s: %+v became %+v", why, before, l.to.senders[0])
		}
	}
}

// A reload makes new codecs. They know what the old ones knew.
func TestInherit(t *testing.T) {
	for name, peers := range map[string][]netip.Addr{"multicast": nil, "unicast": {a1, a2}} {
		t.Run(name, func(t *testing.T) {
			l := newPathPair(t, peers...)
			b := l.send(0)
			l.receive(b, 0, "")
			l.options.Auth.Keys = []Key{key2, key1}
			if peers != nil {
				l.options.Peers = []netip.Addr{a3, a2, a1}
			}
			for _, c := range []**Codec{&l.from, &l.to} {
				old := *c
				*c = mustCodec(t, l.options)
				(*c).Inherit(old)
			}
			l.receive(b, 0, RejectReplay)
			l.receive(l.send(0), 0, "") // at the same moment, with the next number
		})
	}
	// From multicast to unicast, and a peer less.
	l := newPathPair(t)
	l.receive(l.send(0), 0, "")
	old := l.to
	l = newPathPair(t, a1, a2)
	l.to.Inherit(old)
	l.receive(l.send(0), 0, RejectReplay)
	gone := mustCodec(t, CodecOptions{VRID: 51, Version: 3, Interval: time.Second, Auth: Auth{Keys: []Key{key1}}, Peers: []netip.Addr{a3}})
	gone.Inherit(old)
	if gone.sender(a1) != nil || gone.senders[0].heard {
		t.Errorf("a peer that is no more is remembered: %+v", gone.senders)
	}
}

// However packets are sent, kept and sent again, by whom and with what clocks
// within the window: none is believed twice, and a fresh one always is.
func TestReplayAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newPathPair(t, a1, a2)
		var kept [][]byte
		now := time.Duration(0)
		for range 200 {
			now += time.Duration(r.Int64N(int64(2 * time.Second)))
			if r.IntN(2) == 0 || len(kept) == 0 {
				b := l.send(now + time.Duration(r.Int64N(int64(2*time.Second))) - time.Second)
				l.receive(b, now, "")
				kept = append(kept, b)
				continue
			}
			err := l.to.Parse(new(Advert), kept[r.IntN(len(kept))], l.src, l.dst, wall.Add(now))
			if !errors.Is(err, RejectReplay) && !errors.Is(err, RejectClock) {
				t.Fatalf("seed %d at %v: an old packet: %v", seed, now, err)
			}
		}
	}
}
