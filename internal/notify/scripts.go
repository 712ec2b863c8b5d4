package notify

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"baton/internal/program"
)

const (
	// timeout is how long a command may run.
	timeout = 30 * time.Second
	// waiting is how many commands of one queue wait for their turn at most.
	waiting = 16
	// together is how many commands run at the same time.
	together = 16
	// farewell is how long the commands that are under way, or wait, may still take
	// when the program ends.
	farewell = 2 * time.Second
)

// Command is one command to be run.
type Command struct {
	Queue string // commands of the same queue run one after the other, in order
	What  string // what it tells of, for the log, such as "service http is up"
	Args  []string
	Env   []string // NAME=value
}

// Scripts runs commands. Its methods are safe for concurrent use.
type Scripts struct {
	log     *slog.Logger
	timeout time.Duration
	slots   chan struct{}
	ctx     context.Context // of the commands
	kill    context.CancelFunc
	workers sync.WaitGroup

	mu     sync.Mutex
	queues map[string][]Command // that wait; there while somebody works on them
	closed bool
	left   int       // commands left out and not yet said
	said   time.Time // when that was said last
}

// New returns what runs commands until it is closed.
func New(log *slog.Logger) *Scripts {
	s := &Scripts{
		log: log, timeout: timeout, slots: make(chan struct{}, together), queues: make(map[string][]Command),
	}
	s.ctx, s.kill = context.WithCancel(context.Background())
	return s
}

// Tell has a command run as soon as those before it in its queue have ended. It
// waits for nothing. Where too many wait, the oldest is left out: the last state is
// what counts.
func (s *Scripts) Tell(c Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	queue, busy := s.queues[c.Queue]
	if len(queue) == waiting {
		s.leaveOut(queue[0])
		queue = queue[1:]
	}
	s.queues[c.Queue] = append(queue, c)
	if !busy {
		s.workers.Go(func() { s.work(c.Queue) })
	}
}

// leaveOut notes, once a minute, that a command is not run. The caller holds the
// mutex.
func (s *Scripts) leaveOut(c Command) {
	s.left++
	if now := time.Now(); s.said.IsZero() || now.Sub(s.said) > time.Minute {
		s.log.Warn("commands are left out, because those before them take too long",
			"of", c.What, "command", c.Args[0], "left_out", s.left)
		s.said, s.left = now, 0
	}
}

// work runs the commands of a queue until there are none.
func (s *Scripts) work(queue string) {
	for {
		c, ok := s.next(queue)
		if !ok {
			return
		}
		select {
		case s.slots <- struct{}{}:
			s.run(c)
			<-s.slots
		case <-s.ctx.Done():
		}
	}
}

// next takes the next command of a queue, or ends it.
func (s *Scripts) next(queue string) (Command, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.queues[queue]
	if len(list) == 0 || s.ctx.Err() != nil {
		delete(s.queues, queue)
		return Command{}, false
	}
	s.queues[queue] = list[1:]
	return list[0], true
}

// run runs one command and logs how it failed, if it did.
func (s *Scripts) run(c Command) {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	start := time.Now()
	end, err := program.Program{Args: c.Args, Env: c.Env}.Run(ctx)
	took := time.Since(start).Round(time.Millisecond)
	problem := failure(end, err, s.timeout)
	if problem == "" {
		s.log.Debug("a command has run", "of", c.What, "command", c.Args[0], "took", took)
		return
	}
	s.log.Warn("a command failed", "of", c.What, "command", c.Args[0], "took", took, "problem", problem, "output", lastLine(end))
}

// failure says in words how a command failed; empty: it did not.
func failure(end program.Ending, err error, timeout time.Duration) string {
	switch {
	case err != nil:
		return "this host cannot run it: " + err.Error()
	case end.Busy:
		return "it still hangs since an earlier run, although it was killed; it is not started again before it has ended"
	case end.Late:
		return fmt.Sprintf("it did not end within %s and was killed", timeout)
	case end.Signal != 0:
		return fmt.Sprintf("it was ended by signal %d (%s)", end.Signal, end.Signal)
	case end.Status != 0:
		return fmt.Sprintf("it ended with exit status %d", end.Status)
	}
	return ""
}

// lastLine is the last line that a command wrote: of its complaints, if it had any.
func lastLine(end program.Ending) string {
	const most = 200
	for _, out := range [][]byte{end.Stderr.Kept, end.Stdout.Kept} {
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		if line := bytes.TrimSpace(lines[len(lines)-1]); len(line) > 0 {
			return strconv.QuoteToASCII(string(line[:min(len(line), most)]))
		}
	}
	return ""
}

// Close lets what is told run for a moment, kills what then still runs, and
// returns when nothing is left.
func (s *Scripts) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { s.workers.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(farewell):
	}
	s.kill()
	<-ended
}
