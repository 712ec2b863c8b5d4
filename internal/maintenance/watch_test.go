package maintenance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"baton/test/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a server: "web1 10.0.0.11:80", or without a name.
func place(text string) (string, netip.AddrPort) {
	name, at, named := strings.Cut(text, " ")
	if !named {
		name, at = "", name
	}
	return name, netip.MustParseAddrPort(at)
}

func TestNames(t *testing.T) {
	resolved := map[string][]netip.Addr{"db.example.net": {netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fd00::11")}}
	for _, tt := range []struct {
		file string
		is   []string // these servers
		not  []string // and not these
	}{
		{"10.0.0.11", []string{"10.0.0.11:80", "web1 10.0.0.11:81", "10.0.0.11:0"}, []string{"10.0.0.1:80", "10.0.0.111:80"}},
		{"10.0.0.11:80", []string{"10.0.0.11:80"}, []string{"10.0.0.11:81", "10.0.0.11:8", "10.0.0.11:0"}},
		{"fd00::11", []string{"[fd00::11]:80"}, []string{"[fd00::1]:80"}},
		{"[fd00::11]", []string{"[fd00::11]:80"}, nil},
		{"fd00:0:0::11", []string{"[fd00::11]:80"}, nil},
		{"[FD00::11]:80", []string{"[fd00::11]:80"}, []string{"[fd00::11]:81"}},
		{"::ffff:10.0.0.11", []string{"10.0.0.11:80"}, nil},
		{"web1", []string{"web1 10.0.0.11:80", "web1.example.net 10.0.0.11:80"}, []string{"web 10.0.0.11:80", "web11 10.0.0.11:80", "10.0.0.11:80"}},
		{"web1.example.net", []string{"web1.example.net 10.0.0.11:80"}, []string{"web1 10.0.0.11:80"}},
		{"web1:80", []string{"web1 10.0.0.11:80", "web1.example.net 10.0.0.11:80"}, []string{"web1 10.0.0.11:81"}},
		{"db.example.net", []string{"10.0.0.11:80", "[fd00::11]:81"}, []string{"10.0.0.12:80"}},
		{"db.example.net:80", []string{"10.0.0.11:80"}, []string{"10.0.0.11:81"}},
		{"web1:0", nil, []string{"web1 10.0.0.11:80", "web1 10.0.0.11:0"}},
		{"web1:many", nil, []string{"web1 10.0.0.11:80"}},
		{":80", nil, []string{"10.0.0.11:80"}},
	} {
		host := parseName(tt.file).host
		m := newMarks("/d", []Mark{{Name: tt.file, Hosts: resolved[host]}})
		for _, s := range tt.is {
			if m.Of(place(s)) == nil {
				t.Errorf("%s does not name %s", tt.file, s)
			}
		}
		for _, s := range tt.not {
			if m.Of(place(s)) != nil {
				t.Errorf("%s names %s", tt.file, s)
			}
		}
	}
	var none *Marks
	if none.Of(place("web1 10.0.0.11:80")) != nil || none.Reason(place("web1 10.0.0.11:80")) != "" || none.All() != nil {
		t.Error("there are marks where there is no folder")
	}
	since := time.Date(2026, 1, 2, 15, 4, 0, 0, time.Local)
	if got, want := newMarks("/d", []Mark{{Name: "web1", Since: since}}).Reason(place("web1 10.0.0.11:80")), "file /d/web1 exists since 2026-01-02 15:04"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A host is looked up again, and keeps its addresses while nobody knows them.
func TestLookupAgain(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "db"), nil, 0o600))
	w := New(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	w.Begin()
	now := time.Now()
	if n := w.unasked(now); len(n) != 1 {
		t.Fatalf("to be asked: %v", n)
	}
	w.found(map[string]hosts{"db": {asked: now}})
	if a, b := w.unasked(now.Add(lookupAgain-1)), w.unasked(now.Add(lookupAgain)); len(a) != 0 || len(b) != 1 {
		t.Errorf("of one that leads nowhere: %v, %v", a, b)
	}
	w.found(map[string]hosts{"db": {addresses: []netip.Addr{netip.MustParseAddr("10.0.0.7")}, asked: now}})
	if a, b := w.unasked(now.Add(lookupRefresh-1)), w.unasked(now.Add(lookupRefresh)); len(a) != 0 || len(b) != 1 {
		t.Errorf("of one that is known: %v, %v", a, b)
	}
	w.found(map[string]hosts{"db": {asked: now.Add(lookupRefresh)}})
	if w.Marks().Of(place("10.0.0.7:80")) == nil {
		t.Error("a lookup that failed brings the server back")
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"10.0.0.11", "[fd00::11]:80", "[fe80::1%eth0]:80", "web1:80", "[", "[]:", "::", "a:b:c", "\xff"} {
		f.Add(s, "web1", "10.0.0.11", uint16(80))
	}
	f.Fuzz(func(t *testing.T, file, name, address string, port uint16) {
		n := parseName(file)
		if n.address.IsValid() && n.host != "" || n.address.Is4In6() {
			t.Errorf("%q is %+v", file, n)
		}
		a, err := netip.ParseAddr(address)
		if err != nil {
			return
		}
		m := newMarks("/d", []Mark{{Name: file}})
		at := netip.AddrPortFrom(a, port)
		// A file of exactly the server's name is the server's.
		for _, own := range []string{a.String(), at.String()} {
			if port != 0 && newMarks("/d", []Mark{{Name: own}}).Of(name, at) == nil {
				t.Errorf("%q does not name %s", own, at)
			}
		}
		if got := m.Of(name, at); got != nil && got.Name != file {
			t.Errorf("%q became %q", file, got.Name)
		}
	})
}

// rig is a watcher of a folder.
type rig struct {
	*testing.T
	*Watcher
	dir string
	log *logs.Buffer
}

func watch(t *testing.T, dir string, edit func(*Options), more ...func(*Watcher)) *rig {
	t.Helper()
	r := &rig{T: t, dir: dir, log: new(logs.Buffer)}
	o := Options{
		Dir: dir, Log: r.log.Logger(),
		Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("there is no such host") },
	}
	if edit != nil {
		edit(&o)
	}
	r.Watcher = New(o)
	for _, f := range more {
		f(r.Watcher)
	}
	r.Begin()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Watcher.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

func (r *rig) touch(name string) {
	r.Helper()
	must(r.T, os.WriteFile(filepath.Join(r.dir, name), nil, 0o600))
}

// marked waits until the server is marked, or not; sooner than the folder would be
// read without being told.
func (r *rig) marked(server string, want bool, within time.Duration) {
	r.Helper()
	for began := time.Now(); (r.Marks().Of(place(server)) != nil) != want; time.Sleep(time.Millisecond) {
		if time.Since(began) > within {
			r.Fatalf("after %s %s is marked: %t\n%s", within, server, !want, r.log)
		}
	}
}

func TestWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "maintenance")
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "10.0.0.9"), nil, 0o600))
	var mu sync.Mutex
	changes := 0
	r := watch(t, dir, func(o *Options) {
		o.Changed = func(*Marks) { mu.Lock(); changes++; mu.Unlock() }
	})
	if r.Marks().Of(place("10.0.0.9:80")) == nil {
		t.Error("what was there at the start is not known when Begin returns")
	}
	const soon = every - time.Second // without being told it would take longer
	time.Sleep(100 * time.Millisecond)
	r.touch("10.0.0.11:80")
	r.marked("10.0.0.11:80", true, soon)
	must(t, os.Rename(filepath.Join(dir, "10.0.0.11:80"), filepath.Join(dir, "10.0.0.12")))
	r.marked("10.0.0.12:80", true, soon)
	r.marked("10.0.0.11:80", false, soon)
	r.touch(".10.0.0.13")
	must(t, os.Remove(filepath.Join(dir, "10.0.0.12")))
	r.marked("10.0.0.12:80", false, soon)
	r.marked("10.0.0.13:80", false, soon)
	if r.Problem() != "" || strings.Contains(r.log.String(), "level=WARN") {
		t.Errorf("problem %s\n%s", r.Problem(), r.log)
	}
	mu.Lock()
	defer mu.Unlock()
	if changes < 3 || changes > 8 {
		t.Errorf("told of %d changes", changes)
	}
}

// The folder may come later, go, and be another one.
func TestFolderComesAndGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "maintenance")
	r := watch(t, dir, nil, func(w *Watcher) { w.every = time.Hour }) // only the kernel tells
	if r.Problem() != "" {
		t.Error(r.Problem())
	}
	const later = 10 * time.Second
	must(t, os.Mkdir(dir, 0o700))
	r.touch("web1")
	r.marked("web1 10.0.0.11:80", true, later)
	r.touch("web2")
	r.marked("web2 10.0.0.12:80", true, later)
	must(t, os.Rename(dir, dir+".old"))
	r.marked("web1 10.0.0.11:80", false, later)
	must(t, os.Mkdir(dir, 0o700))
	r.touch("web3")
	r.marked("web3 10.0.0.13:80", true, later)
}

// A folder whose file system hangs holds up nobody, and what was read before counts.
func TestFolderThatHangs(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "web1"), nil, 0o600))
	var mu sync.Mutex
	hang, looks := make(chan struct{}), 0
	slow := func(dir string) ([]Mark, error) {
		mu.Lock()
		looks++
		h := hang
		mu.Unlock()
		<-h
		return look(dir)
	}
	w := New(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	w.look, w.patience = slow, 20*time.Millisecond
	w.Begin()
	if w.Problem() != dir+" does not answer: what is in it is not known" || len(w.Marks().All()) != 0 {
		t.Errorf("problem %q, marks %v", w.Problem(), w.Marks().All())
	}
	close(hang)

	r := watch(t, dir, nil, func(w *Watcher) { w.look, w.every = slow, 20*time.Millisecond })
	r.marked("web1 10.0.0.11:80", true, 10*time.Second)
	mu.Lock()
	hang = make(chan struct{})
	mu.Unlock()
	problem := func(want string) {
		t.Helper()
		for began := time.Now(); !strings.Contains(r.Problem(), want) || want == "" && r.Problem() != ""; time.Sleep(time.Millisecond) {
			if time.Since(began) > 10*time.Second {
				t.Fatalf("the problem is %q", r.Problem())
			}
		}
	}
	problem("has not answered for")
	mu.Lock()
	before := looks
	mu.Unlock()
	time.Sleep(200 * time.Millisecond)
	r.marked("web1 10.0.0.11:80", true, 0)
	mu.Lock()
	if looks != before {
		t.Errorf("%d more goroutines hang", looks-before)
	}
	close(hang)
	mu.Unlock()
	problem("")
	must(t, os.Remove(filepath.Join(dir, "web1")))
	r.marked("web1 10.0.0.11:80", false, 10*time.Second)
}

// What cannot be read does not bring servers back.
func TestFolderThatCannotBeRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "maintenance")
	must(t, os.Mkdir(dir, 0o700))
	w := New(Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	must(t, os.WriteFile(filepath.Join(dir, "web1"), nil, 0o600))
	w.Begin()
	must(t, os.RemoveAll(dir))
	must(t, os.WriteFile(dir, nil, 0o600)) // a file by that name
	w.Begin()
	if w.Marks().Of(place("web1 10.0.0.11:80")) == nil || !strings.Contains(w.Problem(), "cannot be read") || !strings.Contains(w.Problem(), "what was in it before still counts") {
		t.Errorf("marks %v, problem %q", w.Marks().All(), w.Problem())
	}
	must(t, os.Remove(dir))
	w.Begin()
	if len(w.Marks().All()) != 0 || w.Problem() != "" {
		t.Errorf("marks %v, problem %q", w.Marks().All(), w.Problem())
	}
}

func TestTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	const most = 10
	for i := range most + 1 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), nil, 0o600))
	}
	if _, err := lookAt(dir, most); err == nil || !strings.Contains(err.Error(), "is it the right folder?") {
		t.Errorf("%v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "f0")))
	if list, err := lookAt(dir, most); err != nil || len(list) != most {
		t.Errorf("%d files, %v", len(list), err)
	}
}

// Names that no server has are looked up, once for a while; those that a server has
// are not.
func TestLookup(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var asked []string
	r := watch(t, dir, func(o *Options) {
		o.Known = func(name string) bool { return name == "web1" }
		o.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, host)
			if host == "db.example.net" {
				return []netip.Addr{netip.MustParseAddr("::ffff:10.0.0.77")}, nil
			}
			return nil, errors.New("there is no such host")
		}
	})
	for _, name := range []string{"web1", "10.0.0.5", "[fd00::1]:80", "not a host", "db.example.net:80", "nobody"} {
		r.touch(name)
	}
	r.marked("10.0.0.77:80", true, every-time.Second)
	r.marked("10.0.0.77:81", false, 0)
	r.marked("web1 10.0.0.11:80", true, 0)
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		pending := 0
		for _, m := range r.Marks().All() {
			if m.Pending {
				pending++
			}
		}
		if pending == 0 && len(r.Marks().All()) == 6 {
			break
		}
		if time.Since(began) > 2*every {
			t.Fatalf("%+v", r.Marks().All())
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 2 {
		t.Errorf("asked for %q", asked)
	}
}
