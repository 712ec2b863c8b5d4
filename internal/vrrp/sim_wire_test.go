package vrrp

// The wires of the simulator.

// simPacket is an advert on its way.
type simPacket struct {
	at       int64
	interval int64
	seq      uint32
	from, to uint8
	path     uint8
	priority uint8
	strange  bool // late, or sent before the network was mended
}

// simHeap holds the adverts on their way, the next one first.
type simHeap []simPacket

func (h simHeap) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}

func (h *simHeap) push(p simPacket) {
	*h = append(*h, p)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			return
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *simHeap) pop() simPacket {
	q := *h
	first, last := q[0], len(q)-1
	q[0] = q[last]
	*h = q[:last]
	q = q[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return first
		}
		if right := down + 1; right < last && q.less(right, down) {
			down = right
		}
		if !q.less(down, i) {
			return first
		}
		q[i], q[down] = q[down], q[i]
		i = down
	}
}

// send puts an advert on all wires.
func (s *sim) send(from int, priority uint8, strange bool) {
	f := &s.nodes[from]
	if s.trace != nil && (s.packets || priority == 0) {
		s.logf("%s sends priority %d", f.name, priority)
	}
	for to := range s.nodes {
		if to == from || s.nodes[to].vr != f.vr || !s.nodes[to].up {
			continue
		}
		arrives := false
		for path := range s.paths {
			if s.cut[path][from][to] || s.loss[path] > 0 && s.rng.Float64() < s.loss[path] {
				continue
			}
			arrives = true
			p := simPacket{
				from: uint8(from), to: uint8(to), path: uint8(path), priority: priority,
				interval: int64(f.spec.Interval), strange: strange || s.jitter > 0,
			}
			s.put(p)
			if !s.scripted && s.rng.IntN(50) == 0 { // duplicated
				s.put(p)
			}
		}
		if !arrives {
			s.lost(to, priority)
		}
	}
}

func (s *sim) put(p simPacket) {
	delay := s.travel
	if !s.scripted {
		delay = s.least + s.rng.Int64N(s.travel-s.least+1)
	}
	p.at = s.now + delay
	last := &s.lastAt[p.path][p.from][p.to]
	if s.jitter > 0 {
		p.at += s.rng.Int64N(s.jitter)
	} else {
		p.at = max(p.at, *last)
		p.strange = p.strange || p.at > s.now+s.travel // behind a late one
	}
	*last = max(*last, p.at)
	if p.strange {
		s.rules.strange++
	}
	s.seq++
	p.seq = s.seq
	s.wire.push(p)
}
