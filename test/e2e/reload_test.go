//go:build vm

package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/test/scene"
)

const (
	lastReloadOK = "baton_config_last_reload_successful"
	advertsSent  = `baton_adverts_sent_total{router="web"}`
)

// hangUp sends SIGHUP and waits until the configuration's status is as done
// says.
func hangUp(t *testing.T, d *scene.Director, done func(before, now api.ConfigStatus) bool) api.ConfigStatus {
	t.Helper()
	st, err := d.Status()
	must(t, err)
	before := st.Config
	must(t, d.Process().Signal(syscall.SIGHUP))
	eventually(t, func() error {
		st, err = d.Status()
		if err == nil && !done(before, st.Config) {
			err = fmt.Errorf("after SIGHUP: %+v", st.Config)
		}
		return err
	})
	return st.Config
}

func reloaded(before, now api.ConfigStatus) bool { return now.Loaded.After(before.Loaded) }
func refused(before, now api.ConfigStatus) bool  { return now.LastErrorAt.After(before.LastErrorAt) }

// edit replaces a text in a director's configuration, which it returns.
func edit(t *testing.T, d *scene.Director, old, replacement string) string {
	t.Helper()
	text, err := os.ReadFile(d.Config)
	must(t, err)
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s does not have %q once:\n%s", d.Config, old, text)
	}
	edited := strings.Replace(string(text), old, replacement, 1)
	must(t, os.WriteFile(d.Config, []byte(edited), 0o644))
	return edited
}

// TestReload has all of it happen under load and under the eyes of the kernel's
// address events, of the wire and of ipvsadm.
func TestReload(t *testing.T) {
	const advert = time.Second
	s := start(t, scene.Options{Advert: advert})
	d := s.Directors[0]
	want := expected(s)
	capture := adverts(s, s.Directors[1], "10.0.0.1")
	addresses := watchAddresses(t, d.Host)
	begin := scrape(t, d)
	began := time.Now()
	load := s.Load(workers, pause)
	time.Sleep(2 * advert)

	// Nothing has changed: nothing is touched.
	st := hangUp(t, d, reloaded)
	if st.LastError != "" {
		t.Errorf("after the reload of an unchanged file: %s", st.LastError)
	}
	time.Sleep(2 * resync) // long enough for a comparison with the kernel
	if before, now := writes(begin), writes(scrape(t, d)); !cmp.Equal(before, now) {
		t.Errorf("the reload of an unchanged file made writes: %v, then %v", before, now)
	}

	// A mistake: everything stays.
	good := edit(t, d, "scheduler: wrr", "schedular: wrr")
	st = hangUp(t, d, refused)
	assertMistake(t, d, st.LastError, good)
	if diff := cmp.Diff(st, status(t, d).Config); diff != "" {
		t.Errorf("config in baton status --json (-api +command):\n%s", diff)
	}
	now := scrape(t, d)
	if now.one(t, lastReloadOK) != 0 {
		t.Errorf("after a broken file %s is %v", lastReloadOK, now[lastReloadOK])
	}
	if before, now := writes(begin), writes(now); !cmp.Equal(before, now) {
		t.Errorf("the broken file made writes: %v, then %v", before, now)
	}
	if diff := cmp.Diff(want, admTable(t, d).idle()); diff != "" {
		t.Errorf("after a broken file (-want +got):\n%s", diff)
	}

	// Corrected, and one weight changed: one write.
	edit(t, d, "schedular: wrr", "scheduler: wrr")
	edit(t, d, "weight: 3", "weight: 5")
	if st = hangUp(t, d, reloaded); st.LastError != "" || !st.LastErrorAt.IsZero() {
		t.Errorf("after the corrected file: %+v", st)
	}
	want.find("tcp " + scene.Service.String()).server(s.Real[0].Address.String()).Weight = 5
	if diff := cmp.Diff(want, admTable(t, d).idle()); diff != "" {
		t.Errorf("after the corrected file (-want +got):\n%s", diff)
	}
	time.Sleep(2 * resync)
	now = scrape(t, d)
	if now.one(t, lastReloadOK) != 1 {
		t.Errorf("after the corrected file %s is %v", lastReloadOK, now[lastReloadOK])
	}
	one := writes(begin)
	one[`baton_ipvs_writes_total{op="edit_server"}`]++
	if now := writes(now); !cmp.Equal(one, now) {
		t.Errorf("one changed weight made these writes: %v, not %v", now, one)
	}

	// And through all that:
	all := load.Stop()
	atMost(t, "during three reloads", all.Failed(began), all, 0)
	if n := addresses.unmoved(t); n == 0 {
		t.Error("no lease was renewed")
	}
	sent := scrape(t, d).one(t, advertsSent) - begin.one(t, advertsSent)
	seen := punctual(t, capture, advert)
	// The counter is up to half a second old, at the begin and at the end.
	if diff := sent - float64(seen); diff < -2 || diff > 2 {
		t.Errorf("%v adverts were counted, %d seen", sent, seen)
	}
}

// writes are the samples of kernel writes.
func writes(s samples) samples {
	out := samples{}
	for name, value := range s {
		if strings.HasPrefix(name, "baton_ipvs_writes_total{") {
			out[name] = value
		}
	}
	return out
}

// assertMistake holds the message and the log against the place of the mistake.
func assertMistake(t *testing.T, d *scene.Director, message, text string) {
	t.Helper()
	line, column, err := place(text, "schedular")
	must(t, err)
	at := fmt.Sprintf("%s:%d:%d", d.Config, line, column)
	if !strings.HasPrefix(message, at+": ") || !strings.Contains(message, `did you mean "scheduler"`) {
		t.Errorf("last_error does not say where %s is and what was meant: %q", at, message)
	}
	log, err := os.ReadFile(d.LogFile)
	must(t, err)
	for l := range strings.Lines(string(log)) {
		if strings.Contains(l, "reload refused") && strings.Contains(l, at) && strings.Contains(l, "schedular") {
			return
		}
	}
	t.Errorf("the log has no line about the mistake at %s:\n%s", at, log)
}

// place finds a word in a text.
func place(text, word string) (line, column int, err error) {
	for l := range strings.Lines(text) {
		line++
		if i := strings.Index(l, word); i >= 0 {
			return line, i + 1, nil
		}
	}
	return 0, 0, errors.New(word + " is not there")
}
