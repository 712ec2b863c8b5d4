package check

import (
	"container/heap"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// poller runs the probes that many installations have by the thousand, a mere
// connect and a plain HTTP request, without a goroutine and a net.Conn for each:
// sockets that do not block, and one epoll for all of them. What waits for its next
// run holds no descriptor and no buffer.
//
// The kernel is asked for news with the mutex held, and so are sockets connected:
// whatever it reports of a descriptor is about the flight that has it now.
type poller struct {
	report func([]finished) // called by the loop

	epoll  int
	bell   int // an eventfd, for the loop to look again
	closed chan struct{}

	mu      sync.Mutex
	flights map[int32]*flight // by descriptor
	due     flightQueue       // by deadline
	armed   time.Time         // when the loop wakes by itself; zero: never
	ready   []finished        // ended at once; the next harvest has them
	spare   spares
	events  []unix.EpollEvent
	left    bool // the loop leaves the harvest to others; see leave
	ending  bool
}

// flight is a probe under way.
type flight struct {
	job      *job
	fd       int
	uses     int // of the socket, before this one
	start    time.Time
	deadline time.Time
	place    int       // in the queue
	http     *visit    // nil: a mere connect
	parting  *finished // its result; only the server's hanging up is waited for
}

// newPoller returns a poller that works until it is closed.
func newPoller(report func([]finished)) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	p := &poller{
		report: report, epoll: fd, bell: bell,
		closed: make(chan struct{}), flights: make(map[int32]*flight), events: make([]unix.EpollEvent, 256),
	}
	go p.loop()
	return p, nil
}

// takes reports whether the poller can run a probe.
func (*poller) takes(s Spec) bool {
	switch {
	case s.TCP != nil:
		return *s.TCP == TCP{}
	case s.HTTP != nil:
		return s.HTTP.isPlain()
	}
	return false
}

// start begins a probe. Its result is reported, unless it is cancelled.
func (p *poller) start(j *job, now time.Time) {
	f := &flight{job: j, start: now, deadline: now.Add(j.Spec.timeout())}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.begin(f); err != nil {
		f.http.release()
		p.ready = append(p.ready, f.outcome(now, "", "", err))
		p.wake(now)
		return
	}
	p.flights[int32(f.fd)] = f
	j.flight = f
	heap.Push(&p.due, f)
	p.wake(f.deadline)
}

// begin gives a flight a socket that is connecting and that the kernel reports of.
// After an error nothing is left open. The caller holds the mutex.
func (p *poller) begin(f *flight) error {
	s := f.job.Spec
	if s.HTTP != nil {
		visit, err := f.job.visit()
		if err != nil {
			return err
		}
		f.http = visit
	}
	if ok, err := p.again(f); ok {
		return err
	}
	if err := f.open(s); err != nil {
		return err
	}
	return p.watch(f)
}

// watch hands the flight's socket to the kernel. The caller holds the mutex.
func (p *poller) watch(f *flight) error {
	// By edges: each change is reported once, and a visit reads until there is no
	// more, so that what is waited for need not be changed on the way.
	e := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(f.fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, f.fd, &e); err != nil {
		_ = unix.Close(f.fd)
		return failf(L4CON, "this host cannot wait for a connection: %s", err)
	}
	return nil
}

// wake makes the loop look at a certain time at the latest. The caller holds the
// mutex.
func (p *poller) wake(at time.Time) {
	if !p.left && (p.armed.IsZero() || at.Before(p.armed)) {
		p.armed = at
		p.ring()
	}
}

// ring makes the loop look again.
func (p *poller) ring() {
	one := [8]byte{0: 1}
	_, _ = unix.Write(p.bell, one[:]) // it cannot be full, and rings already if it were
}

// leave says whether somebody else harvests often, and the loop need not.
func (p *poller) leave(left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left != left {
		p.left = left
		p.ring()
	}
}

// cancel ends the probe of a job without a result, and reports whether there was
// one.
func (p *poller) cancel(j *job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := j.flight
	if f == nil || p.flights[int32(f.fd)] != f {
		return false
	}
	p.drop(f)
	return true
}

// drop forgets a flight and closes its socket. The caller holds the mutex.
func (p *poller) drop(f *flight) {
	p.forget(f)
	f.close()
}

func (p *poller) forget(f *flight) {
	delete(p.flights, int32(f.fd))
	heap.Remove(&p.due, f.place)
	f.http.release()
	f.job.flight = nil
}

// close ends the poller and all that is under way.
func (p *poller) close() {
	p.mu.Lock()
	p.ending = true
	for _, f := range p.flights {
		p.drop(f)
	}
	p.spare.close()
	p.ring()
	p.mu.Unlock()
	<-p.closed
	_ = unix.Close(p.epoll)
	_ = unix.Close(p.bell)
}

// loop harvests whenever the kernel has news, and when something is out of time.
func (p *poller) loop() {
	defer close(p.closed)
	for {
		p.await()
		results, ending := p.harvest()
		if ending {
			return
		}
		if len(results) > 0 {
			p.report(results)
		}
	}
}

// await returns when the kernel has news, when something is out of time, and when
// the bell rings.
func (p *poller) await() {
	watched := []unix.PollFd{{Fd: int32(p.bell), Events: unix.POLLIN}, {Fd: int32(p.epoll), Events: unix.POLLIN}}
	var timeout *unix.Timespec
	p.mu.Lock()
	switch {
	case p.left:
		watched = watched[:1]
	case !p.armed.IsZero():
		t := unix.NsecToTimespec(int64(max(time.Until(p.armed), 0)))
		timeout = &t
	}
	p.mu.Unlock()
	// An error is an interruption by a signal. It does no harm to look.
	_, _ = unix.Ppoll(watched, timeout, nil)
	var rung [8]byte
	_, _ = unix.Read(p.bell, rung[:])
}

// harvest lets the flights go on of which the kernel has news, ends those that are
// out of time, and returns the results. It never blocks.
func (p *poller) harvest() (results []finished, ending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	results, p.ready = p.ready, nil
	// Everything that the kernel reports comes before any deadline: on a busy
	// host an answer may have been there in time and only not been looked at.
	// What is left when this returns is left for long, and sockets that have just been
	// given up are reported, too: hence it asks until there is nothing of interest.
	for {
		n, _ := unix.EpollWait(p.epoll, p.events, 0)
		before := len(results)
		now := time.Now()
		for _, e := range p.events[:max(n, 0)] {
			f := p.flights[e.Fd]
			if f == nil {
				continue // a spare socket, which has just been given up
			}
			if r, done := p.advance(f, e.Events, now); done {
				results = append(results, r)
			}
		}
		if n < len(p.events) && len(results) == before {
			break
		}
	}
	results = append(results, p.expire()...)
	p.rearm()
	return results, p.ending
}

// expire ends what is out of time. The caller holds the mutex.
func (p *poller) expire() (results []finished) {
	now := time.Now()
	for len(p.due) > 0 && !p.due[0].deadline.After(now) {
		f := p.due[0]
		if f.parting == nil {
			results = append(results, p.finish(f, f.outcome(now, "", "", f.late())))
			continue
		}
		results = append(results, p.finish(f, *f.parting))
	}
	return results
}

// rearm sets when the loop wakes by itself: at the next deadline. Where there is none
// the last one will do, for the next flight will hardly be due before it, and need
// not wake the loop. The caller holds the mutex.
func (p *poller) rearm() {
	now := time.Now()
	next := p.spare.age(now)
	if len(p.due) > 0 {
		next = p.due[0].deadline
	} else if p.armed.After(now) {
		return
	}
	p.armed = next
}

// advance lets a flight go on; done with its result when it has come to its end. The
// caller holds the mutex.
func (p *poller) advance(f *flight, events uint32, now time.Time) (r finished, done bool) {
	if f.parting != nil {
		if err := f.http.read(f.fd, events); err == nil && !f.http.eof {
			return finished{}, false
		}
		return p.finish(f, *f.parting), true
	}
	code, detail, err, done := f.step(events)
	if !done {
		return finished{}, false
	}
	r = f.outcome(now, code, detail, err)
	if err == nil && f.http != nil && !f.http.eof && f.http.answer.complete {
		// Who closes first has the connection in TIME_WAIT; see letClose.
		last := r
		f.parting = &last
		f.deadline = now.Add(partingTime)
		heap.Fix(&p.due, f.place)
		return finished{}, false
	}
	return p.finish(f, r), true
}

// finish ends a flight with a result. The caller holds the mutex.
func (p *poller) finish(f *flight, r finished) finished {
	if f.http != nil && !r.result.Code.OK() {
		// Nothing that is still under way is of interest.
		_ = unix.SetsockoptLinger(f.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if r.result.Code.OK() && p.keep(f) {
		p.forget(f)
	} else {
		p.drop(f)
	}
	return r
}

// outcome makes a result.
func (f *flight) outcome(now time.Time, code Code, detail string, err error) finished {
	r := result(code, detail, err)
	if s := &f.job.Spec; s.Via != nil && r.Code != L4OK { // whose sentence is made once
		r = s.told(r)
	}
	r.At, r.Took = now, now.Sub(f.start)
	return finished{f.job, r}
}

// flightQueue are the flights by deadline, the earliest first.
type flightQueue []*flight

func (q flightQueue) Len() int           { return len(q) }
func (q flightQueue) Less(a, b int) bool { return q[a].deadline.Before(q[b].deadline) }
func (q flightQueue) Swap(a, b int) {
	q[a], q[b] = q[b], q[a]
	q[a].place, q[b].place = a, b
}

// Push implements [heap.Interface].
func (q *flightQueue) Push(x any) {
	f := x.(*flight)
	f.place = len(*q)
	*q = append(*q, f)
}

// Pop implements [heap.Interface].
func (q *flightQueue) Pop() any {
	last := len(*q) - 1
	f := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return f
}
