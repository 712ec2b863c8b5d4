package director

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"baton/internal/api"
)

func openTestHistory(t *testing.T, dir string) *history {
	t.Helper()
	h := openHistory(store{dir: dir}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = h.close() })
	return h
}

// reasons are those of all events, oldest first.
func reasons(h *history) []string {
	var out []string
	for _, e := range h.journal.Last(0, time.Time{}) {
		out = append(out, e.Reason)
	}
	return out
}

func happen(h *history, reason string) {
	h.add(api.Event{At: time.Now(), Kind: api.KindProcess, Reason: reason})
}

func TestHistoryOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	for n := range 3 {
		happen(h, fmt.Sprint(n))
	}
	before := h.journal.Last(0, time.Time{})
	must(t, h.close())
	h = openTestHistory(t, dir)
	happen(h, "3")
	if got := strings.Join(reasons(h), " "); got != "0 1 2 3" {
		t.Errorf("events after a restart: %s", got)
	}
	after := h.journal.Last(0, time.Time{})
	for i, e := range before {
		if after[i].Seq != e.Seq {
			t.Errorf("event %d had number %d, and has %d", i, e.Seq, after[i].Seq)
		}
	}
	if after[3].Seq <= after[2].Seq {
		t.Errorf("a new event has number %d after %d", after[3].Seq, after[2].Seq)
	}
}

// A crash may cut the last line. Neither what is before it nor what comes after
// is lost with it.
func TestHistoryWithACutLine(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	for n := range 3 {
		happen(h, fmt.Sprint(n))
	}
	must(t, h.close())
	path := store{dir: dir}.path(eventsFile)
	text, err := os.ReadFile(path)
	must(t, err)
	for _, cut := range []int{1, 5, 30} {
		must(t, os.WriteFile(path, text[:len(text)-cut], 0o600))
		h := openTestHistory(t, dir)
		happen(h, "new")
		must(t, h.close())
		h = openTestHistory(t, dir)
		want := "0 1 new"
		if cut == 1 {
			want = "0 1 2 new" // only the end of the line is missing
		}
		if got := strings.Join(reasons(h), " "); got != want {
			t.Errorf("cut by %d bytes: %s, want %s", cut, got, want)
		}
		must(t, h.close())
	}
}

// The file is begun anew when it is long, the one before is kept, and both are
// read.
func TestHistoryRotates(t *testing.T) {
	dir := t.TempDir()
	h := openTestHistory(t, dir)
	long := strings.Repeat("x", 50<<10)
	const events = 2*historyFile/(50<<10) - 10 // not twice
	for n := range events {
		happen(h, fmt.Sprintf("%d %s", n, long))
	}
	must(t, h.close())
	for _, name := range []string{eventsFile, eventsFile + ".1"} {
		info, err := os.Stat(store{dir: dir}.path(name))
		if err != nil || info.Size() > historyFile+64<<10 || info.Size() < 1<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	h = openTestHistory(t, dir)
	got := reasons(h)
	if len(got) != events {
		t.Fatalf("%d events after a restart, want %d", len(got), events)
	}
	for n, reason := range got {
		if !strings.HasPrefix(reason, fmt.Sprintf("%d x", n)) {
			t.Fatalf("event %d is %.20s", n, reason)
		}
	}
	// What is older than both files is forgotten.
	for n := range events {
		happen(h, fmt.Sprintf("%d %s", events+n, long))
	}
	must(t, h.close())
	if n := len(reasons(openTestHistory(t, dir))); n >= 2*events || n < historyFile/(50<<10)-1 {
		t.Errorf("%d events after another restart", n)
	}
}
