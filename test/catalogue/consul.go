package catalogue

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Agent answers as an agent of Consul does, by its documentation:
// /v1/health/service/NAME with the parameters passing, tag, dc, ns, index and wait.
type Agent struct {
	mu       sync.Mutex
	changed  chan struct{} // closed at the next change
	index    uint64
	list     []Instance
	token    string
	requests []url.Values
	fail     func(w http.ResponseWriter)
}

// Instance is an instance of the service "web" that passes its checks.
type Instance struct {
	Address string // empty: the node's, 10.0.9.1
	Port    int
	Weight  int
	Tags    []string
}

// NewAgent returns an agent without instances.
func NewAgent() *Agent { return &Agent{changed: make(chan struct{}), index: 10} }

// Set replaces the instances. The index goes where it is told to.
func (a *Agent) Set(index uint64, list ...Instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index, a.list = index, list
	close(a.changed)
	a.changed = make(chan struct{})
}

// Wants has it refuse requests without a token.
func (a *Agent) Wants(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = token
}

// Fails has it do something else than answer.
func (a *Agent) Fails(fail func(w http.ResponseWriter)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
}

// Requests are the parameters of all requests.
func (a *Agent) Requests() []url.Values {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// ServeHTTP implements [http.Handler].
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	a.requests = append(a.requests, q)
	token, index, changed := a.token, a.index, a.changed
	a.mu.Unlock()
	switch {
	case r.URL.Path != "/v1/health/service/web":
		http.NotFound(w, r)
		return
	case token != "" && r.Header.Get("X-Consul-Token") != token:
		http.Error(w, "Permission denied: token with AccessorID '00000002' lacks permission 'service:read'", http.StatusForbidden)
		return
	}
	if want, _ := strconv.ParseUint(q.Get("index"), 10, 64); want > 0 && want == index {
		wait, err := time.ParseDuration(q.Get("wait"))
		if err != nil {
			http.Error(w, "Invalid wait time", http.StatusBadRequest)
			return
		}
		select {
		case <-changed:
		case <-time.After(wait):
		case <-r.Context().Done():
			return
		}
	}
	a.answer(w, q)
}

func (a *Agent) answer(w http.ResponseWriter, q url.Values) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		a.fail(w)
		return
	}
	list := []any{}
	for _, i := range a.list {
		lacks := func(tag string) bool { return !slices.Contains(i.Tags, tag) }
		if q.Get("passing") != "" && !slices.ContainsFunc(q["tag"], lacks) {
			list = append(list, i.document())
		}
	}
	w.Header().Set("X-Consul-Index", strconv.FormatUint(a.index, 10))
	_ = json.NewEncoder(w).Encode(list) // of a client that is gone
}

func (i Instance) document() any {
	return map[string]any{
		"Node": map[string]any{"ID": "x", "Node": "n1", "Address": "10.0.9.1", "Datacenter": "dc1"},
		"Service": map[string]any{
			"ID": "web-" + i.Address, "Service": "web", "Tags": i.Tags, "Address": i.Address, "Port": i.Port,
			"Weights": map[string]any{"Passing": i.Weight, "Warning": 1},
		},
		"Checks": []any{map[string]any{"Status": "passing"}},
	}
}

// Document is the list of instances as Consul writes it.
func Document(list ...Instance) []byte {
	out := make([]any, len(list))
	for n, i := range list {
		out[n] = i.document()
	}
	b, err := json.Marshal(out)
	if err != nil { // text and numbers only
		panic(err)
	}
	return b
}
