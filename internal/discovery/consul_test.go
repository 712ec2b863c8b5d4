package discovery

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"baton/test/catalogue"
)

// agent is an agent of Consul on loopback.
type agent struct {
	*catalogue.Agent
	*httptest.Server
}

func newAgent(t *testing.T, secure bool) *agent {
	t.Helper()
	a := &agent{Agent: catalogue.NewAgent()}
	a.Server = httptest.NewUnstartedServer(a.Agent)
	if secure {
		a.StartTLS()
	} else {
		a.Start()
	}
	t.Cleanup(a.Close)
	return a
}

func (a *agent) reader(c Consul) *consulReader {
	c.URL, c.Service = a.URL, "web"
	return New(Options{}).newConsulReader(&c)
}

// consult reads once.
func consult(t *testing.T, r *consulReader) (answer, error) {
	t.Helper()
	t.Cleanup(r.close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return r.read(ctx, false)
}

func TestConsul(t *testing.T) {
	a := newAgent(t, false)
	a.Set(20, catalogue.Instance{Address: "10.0.0.1", Port: 8001, Weight: 3, Tags: []string{"production", "blue"}}, catalogue.Instance{Address: "", Port: 8002, Weight: 0, Tags: []string{"production"}},
		catalogue.Instance{Address: "2001:db8::1", Port: 80, Weight: 1, Tags: []string{"production"}}, catalogue.Instance{Address: "host.example", Port: 80, Weight: 1, Tags: []string{"production"}}, catalogue.Instance{Address: "10.0.0.2", Port: 1, Weight: 1})
	r := a.reader(Consul{Tags: []string{"production"}, Datacenter: "dc2", Namespace: "ns1"})
	got, err := consult(t, r)
	want := `10.0.0.1:8001*3 10.0.9.1:8002*1 [2001:db8::1]:80*1 instance "web-host.example" on node "n1": "host.example" is not an address`
	if err != nil || show(got) != want {
		t.Errorf("%q, %v; want %q", show(got), err, want)
	}
	if q := a.Requests()[0].Encode(); q != "dc=dc2&ns=ns1&passing=1&tag=production" {
		t.Errorf("asked %s", q)
	}

	// The next one waits for a change, and comes with it.
	type result struct {
		answer
		error
	}
	later := make(chan result, 1)
	go func() {
		a, err := r.read(t.Context(), false)
		later <- result{a, err}
	}()
	eventually(t, "a second query", func() bool { return len(a.Requests()) == 2 })
	select {
	case res := <-later:
		t.Fatalf("it does not wait: %v", res)
	case <-time.After(50 * time.Millisecond):
	}
	a.Set(21, catalogue.Instance{Address: "10.0.0.1", Port: 8001, Weight: 3, Tags: []string{"production"}})
	if res := <-later; res.error != nil || show(res.answer) != "10.0.0.1:8001*3" {
		t.Errorf("%q, %v", show(res.answer), res.error)
	}
	if q := a.Requests()[1]; q.Get("index") != "20" || q.Get("wait") != "1m0s" {
		t.Errorf("asked %s", q.Encode())
	}
	if r.index != 21 {
		t.Errorf("the index is %d", r.index)
	}
}

// An index that goes backwards, or is none, is not waited for; while an answer is
// in doubt the wait is short.
func TestConsulIndex(t *testing.T) {
	a := newAgent(t, false)
	r := a.reader(Consul{})
	for _, step := range []struct{ index, want uint64 }{{20, 20}, {5, 0}, {5, 5}, {0, 0}, {0, 0}, {7, 7}} {
		a.Set(step.index)
		got, err := consult(t, r)
		if err != nil || r.index != step.want {
			t.Errorf("after the index %d: %d, %v", step.index, r.index, err)
		}
		if (r.index == 0) != (got.again >= time.Second) {
			t.Errorf("asked again after %s", got.again)
		}
	}
	asked := len(a.Requests())
	go a.waitFor(asked+1, func() { a.Set(8) })
	if _, err := r.read(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if q := a.Requests()[asked]; q.Get("wait") != "10s" {
		t.Errorf("asked %s", q.Encode())
	}
}

func (a *agent) waitFor(n int, then func()) {
	for len(a.Requests()) < n {
		time.Sleep(time.Millisecond)
	}
	then()
}

func TestConsulToken(t *testing.T) {
	a := newAgent(t, false)
	a.Wants("SECRET-1")
	file := filepath.Join(t.TempDir(), "token")
	r := a.reader(Consul{TokenFile: file})
	check := func(want string) {
		t.Helper()
		_, err := consult(t, r)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %q", err, want)
		case err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n")):
			t.Errorf("%q says too much", err)
		}
	}
	check("no such file")
	must(t, os.WriteFile(file, []byte("SECRET-0\n"), 0o600))
	check("the agent answers 403 forbidden: Permission denied: token with AccessorID '00000002' lacks permission 'service:read'; look at token_file")
	must(t, os.WriteFile(file, []byte("SECRET-1\n"), 0o600))
	check("") // without being told
	for text, want := range map[string]string{"\n": "is empty", "SECRET\nSECRET": "is no token", strings.Repeat("S", maxToken+1): "is no token"} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		check(want)
	}
}

func TestConsulTLS(t *testing.T) {
	a := newAgent(t, true)
	a.Set(20, catalogue.Instance{Address: "10.0.0.1", Port: 80, Weight: 1})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	_, err := consult(t, a.reader(Consul{}))
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an authority that nobody knows: %v", err)
	}
	_, err = consult(t, a.reader(Consul{CAFile: ca}))
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	must(t, os.WriteFile(ca, []byte("nothing"), 0o600))
	if _, err = consult(t, a.reader(Consul{CAFile: ca})); err == nil || !strings.Contains(err.Error(), "has no certificate in it") {
		t.Error(err)
	}
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}), 0o600))
	for range 2 {
		if got, err := consult(t, a.reader(Consul{CAFile: ca, ServerName: "example.com"})); err != nil || show(got) != "10.0.0.1:80*1" {
			t.Errorf("%q, %v", show(got), err)
		}
	}
	if _, err = consult(t, a.reader(Consul{CAFile: ca, ServerName: "other.example"})); err == nil || !strings.Contains(err.Error(), "other.example") {
		t.Errorf("a certificate for somebody else: %v", err)
	}
}

func TestConsulNonsense(t *testing.T) {
	a := newAgent(t, false)
	for name, c := range map[string]struct {
		fail func(w http.ResponseWriter)
		want string
	}{
		"an error":    {func(w http.ResponseWriter) { http.Error(w, "No cluster leader", http.StatusInternalServerError) }, "the agent answers 500 internal server error: No cluster leader"},
		"a page":      {func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") }, "the answer is not Consul's"},
		"null":        {func(w http.ResponseWriter) { fmt.Fprint(w, "null") }, "it has no list"},
		"nothing":     {func(http.ResponseWriter) {}, "the answer is not Consul's"},
		"empty items": {func(w http.ResponseWriter) { fmt.Fprint(w, "[null]") }, "an instance is empty"},
		"too much": {func(w http.ResponseWriter) {
			for range maxConsulBody/1024 + 1 {
				fmt.Fprint(w, strings.Repeat(" ", 1024))
			}
		}, "has more than"},
		"elsewhere": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusFound)
		}, "the agent answers 302 found"},
	} {
		t.Run(name, func(t *testing.T) {
			a.Fails(c.fail)
			r := a.reader(Consul{})
			if _, err := consult(t, r); err == nil || !strings.Contains(err.Error(), c.want) || r.index != 0 {
				t.Errorf("%v, index %d; want %q", err, r.index, c.want)
			}
		})
	}
	a.Close()
	if _, err := consult(t, a.reader(Consul{})); err == nil || !strings.Contains(err.Error(), "refused") || strings.Contains(err.Error(), "v1/health") {
		t.Error(err)
	}
}

// FuzzInstances feeds any bytes as the body of Consul's answer.
func FuzzInstances(f *testing.F) {
	good := catalogue.Document(catalogue.Instance{Address: "10.0.0.1", Port: 80, Weight: 3}, catalogue.Instance{}, catalogue.Instance{Address: "host", Port: 1})
	for _, s := range []string{string(good), "null", "[null]", "{}", "[]", `[{"Service":{"Port":-1,"Address":"fe80::1%eth0"}}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		servers, notes, err := parseInstances(body)
		if err != nil && len(servers)+len(notes) > 0 {
			t.Errorf("%v, and %v, %v", err, servers, notes)
		}
		for _, s := range servers {
			if !s.Address.IsValid() || s.Address.Zone() != "" || s.Address.Is4In6() || s.Weight < 1 || s.Weight > 65535 {
				t.Errorf("%+v", s)
			}
		}
	})
}
