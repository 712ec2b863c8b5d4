package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The pauses after a failure: the first, and the longest.
const firstPause, lastPause = time.Second, time.Minute

// answer is what a source said.
type answer struct {
	servers []Server
	again   time.Duration // ask again after this
	notes   []string      // what it said and cannot be used, in words
}

// reader asks one kind of source.
type reader interface {
	// read returns what the source says now. With hasty set, an answer is in doubt
	// and waits to be confirmed: it must come within some seconds, changed or not.
	read(ctx context.Context, hasty bool) (answer, error)
	// wake is sent to when there may be news before the time; nil: never.
	wake() <-chan struct{}
	// close gives up what the reader has open.
	close()
}

// worker keeps the servers of one source.
type worker struct {
	d       *Discovery
	service string
	source  Source
	cancel  context.CancelFunc // nil: it does not run
	anew    chan struct{}      // capacity 1: the last answer is to be judged anew

	mu       sync.Mutex
	accept   func([]Server) (usable []Server, refused []string)
	trust    trust
	last     *answer // of the source, before the service had a say; nil: none yet
	judged   judged
	at       time.Time
	err      string // of the last attempt; empty: it succeeded
	failures uint64
	refused  []string
	stopped  bool
}

func newWorker(d *Discovery, want Want) *worker {
	w := &worker{d: d, service: want.Service, source: want.Source, accept: want.Accept, anew: make(chan struct{}, 1)}
	w.trust.keep = want.keep()
	return w
}

func (w *worker) key() key { return key{w.service, w.source.String()} }

func (w Want) keep() int {
	if w.Keep > 0 {
		return w.Keep
	}
	return KeepPercent
}

// is reports whether the worker asks as wanted.
func (w *worker) is(want Want) bool { return reflect.DeepEqual(w.source, want.Source) }

// reset takes over what else a service says. Its last answer is judged by it, and
// not asked for again.
func (w *worker) reset(want Want) {
	w.mu.Lock()
	w.accept, w.trust.keep, w.judged = want.Accept, want.keep(), judged{version: w.judged.version + 1}
	w.mu.Unlock()
	select {
	case w.anew <- struct{}{}:
	default:
	}
}

// restore begins with the servers of an earlier run.
func (w *worker) restore(s Saved) {
	servers, err := clean(s.Servers)
	if err != nil {
		return
	}
	w.trust.servers, w.at = slices.DeleteFunc(servers, func(s Server) bool { return !s.Address.IsValid() }), s.At
}

// successor returns a worker that goes on with the servers of this one.
func (w *worker) successor(want Want) *worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := newWorker(w.d, want)
	next.trust.servers, next.trust.missing = w.trust.servers, w.trust.missing
	next.at, next.failures = w.at, w.failures
	return next
}

// stop ends the worker. What it still finds does not count.
func (w *worker) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	if w.cancel != nil {
		w.cancel()
	}
}

func (w *worker) current() []Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trust.servers
}

func (w *worker) saved() Saved {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Saved{Service: w.service, Source: w.source.String(), At: w.at, Servers: w.trust.servers}
}

// run asks the source until ctx ends.
func (w *worker) run(ctx context.Context) {
	r := w.d.open(w.source)
	defer r.close()
	pause := firstPause
	for ctx.Err() == nil {
		a, err := r.read(ctx, w.doubts())
		wait := a.again
		if err == nil {
			err = w.take(a, time.Now())
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.fail(err)
			wait, pause = jitter(pause), min(2*pause, w.longestPause())
		default:
			pause = firstPause
		}
		if w.doubts() {
			wait = min(wait, recheck)
		}
		w.wait(ctx, r, wait)
	}
}

// longestPause is how long a source is left alone that fails. A file costs nobody
// anything.
func (w *worker) longestPause() time.Duration {
	if w.source.File != "" {
		return filePoll
	}
	return lastPause
}

// jitter moves a pause by up to a quarter, so that those who lost the same server
// do not come back to it together.
func jitter(d time.Duration) time.Duration {
	return d - d/4 + time.Duration(rand.Int64N(int64(d/2)))
}

// doubts reports whether an answer waits to be confirmed.
func (w *worker) doubts() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trust.held() > 0
}

// wait passes the time until the source is to be asked again.
func (w *worker) wait(ctx context.Context, r reader, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake():
		case <-w.anew:
			w.again()
			continue
		}
		return
	}
}

// again judges the last answer anew, for the service has changed.
func (w *worker) again() {
	w.mu.Lock()
	last := w.last
	w.mu.Unlock()
	if last == nil {
		return
	}
	if err := w.judge(*last, time.Time{}); err != nil {
		w.fail(err)
	}
}

// take puts an answer in force, as far as the service can use it and it is believed.
func (w *worker) take(a answer, now time.Time) error {
	if err := w.judge(a, now); err != nil {
		return err
	}
	w.mu.Lock()
	failed := w.err != ""
	w.last, w.at, w.err = &a, now, ""
	w.mu.Unlock()
	if failed {
		w.log().Info("a source of servers answers again")
	}
	return nil
}

// judge is [worker.take] for an answer that came now, or, with the zero time, for
// one that was taken before.
func (w *worker) judge(a answer, now time.Time) error {
	named, err := clean(a.servers)
	if err != nil {
		return err
	}
	usable, refused, err := w.usable(named)
	if err != nil {
		return err
	}
	refused = slices.Concat(a.notes, refused)
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return errStopped
	}
	isNews := len(refused) > 0 && !slices.Equal(w.refused, refused)
	w.refused = refused
	doubted := w.trust.held()
	d := w.trust.fold(usable, now)
	held := w.trust.held()
	w.mu.Unlock()
	w.tell(d)
	if isNews {
		w.log().Warn("a source names servers that cannot be used", "reason", few(refused))
	}
	w.tellDoubt(doubted, held, len(usable) == 0)
	return nil
}

// judged is what a service said to the servers of an answer: most answers are the
// same as the one before.
type judged struct {
	version       int // of what the service says
	done          bool
	named, usable []Server
	refused       []string
}

// usable returns which of the servers that are named the service can use, and why
// not the others.
func (w *worker) usable(named []Server) (usable []Server, refused []string, err error) {
	w.mu.Lock()
	accept, before := w.accept, w.judged
	w.mu.Unlock()
	switch {
	case accept == nil:
		return named, nil, nil
	case before.done && slices.EqualFunc(before.named, named, Server.Equal):
		return before.usable, before.refused, nil
	}
	usable, refused = accept(named)
	if w.source.File != "" && len(refused) > 0 { // like a configuration: all or nothing
		return nil, nil, errors.New(few(refused))
	}
	if usable, err = clean(usable); err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.judged.version == before.version {
		w.judged = judged{before.version, true, named, usable, refused}
	}
	return usable, refused, nil
}

func (w *worker) log() *slog.Logger {
	return w.d.log.With("service", w.service, "source", w.source.String())
}

// tell reports a change of the servers in force.
func (w *worker) tell(d diff) {
	if d.empty() {
		return
	}
	w.log().Info("the servers of a source have changed", "changes", d.String())
	if w.d.options.OnChange != nil {
		w.d.options.OnChange(Change{Service: w.service, Source: w.source.String(), At: time.Now(), Text: d.String()})
	}
	w.d.poke()
}

// tellDoubt says once that an answer is not believed, and why.
func (w *worker) tellDoubt(before, held int, empty bool) {
	switch {
	case held > 0 && before == 0 && empty:
		w.log().Warn("a source names no server any more; those that it had are kept", "kept", held)
	case held > 0 && before == 0:
		w.log().Warn("a source has lost most of its servers at once; they are kept until that is confirmed", "kept", held)
	case held == 0 && before > 0:
		w.log().Info("the answers of a source are believed again")
	}
}

// fail takes note that the source could not be asked; what it had stays in force.
func (w *worker) fail(err error) {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	// Of a file each mistake is another one; of a server that is away it is not.
	known := w.err == err.Error() || w.err != "" && w.source.File == ""
	w.err = err.Error()
	w.failures++
	kept := len(w.trust.servers)
	w.mu.Unlock()
	if !known {
		w.log().Warn("a source of servers fails; those that it had are kept", "kept", kept, "error", err)
	}
}

func errTooMany(n int) error {
	return fmt.Errorf("it names %d servers; allowed: at most %d", n, MaxServers)
}

func count(n int) string { return strconv.Itoa(n) }

// few joins the first of some sentences.
func few(list []string) string {
	if len(list) > namesShown {
		list = append(slices.Clone(list[:namesShown]), fmt.Sprintf("and %d more", len(list)-namesShown))
	}
	return strings.Join(list, "; ")
}
