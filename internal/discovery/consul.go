package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// consulWait is how long Consul holds a query back while nothing changes, to
	// which it adds up to a sixteenth by itself; consulGrace is for the way there
	// and back.
	consulWait  = time.Minute
	consulGrace = 10 * time.Second
	// consulGap is the least time between two queries: a service whose checks
	// flap would answer each of them at once.
	consulGap = 200 * time.Millisecond
	// maxConsulBody is several times what [MaxServers] instances with their checks
	// take.
	maxConsulBody = 16 << 20
	maxToken      = 4096
)

// consulReader finds servers in Consul's catalogue, by blocking queries: an answer
// comes as soon as something has changed.
type consulReader struct {
	spec   *Consul
	client *http.Client
	index  uint64 // of the last answer; 0: none, so that the next query does not wait
}

func (d *Discovery) newConsulReader(spec *Consul) *consulReader {
	return &consulReader{spec: spec, client: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: consulWait + consulWait/16 + consulGrace,
			IdleConnTimeout:       consulWait,
			MaxIdleConns:          1,
			ForceAttemptHTTP2:     false, // each query has the connection for itself
		},
		// A token is for the one that it was given to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *consulReader) wake() <-chan struct{} { return nil }

func (c *consulReader) close() { c.client.CloseIdleConnections() }

func (c *consulReader) read(ctx context.Context, hasty bool) (answer, error) {
	wait := consulWait
	if hasty {
		wait = recheck
	}
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+consulGrace)
	defer cancel()
	request, err := c.request(ctx, wait)
	if err != nil {
		return answer{}, err
	}
	if err := c.trustCA(); err != nil {
		return answer{}, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return answer{}, plainURL(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxConsulBody+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("read Consul's answer: %w", plainURL(err))
	case len(body) > maxConsulBody:
		return answer{}, fmt.Errorf("the answer of Consul has more than %d bytes", maxConsulBody)
	case response.StatusCode != http.StatusOK:
		c.index = 0
		return answer{}, refusal(response.StatusCode, body)
	}
	instances, notes, err := parseInstances(body)
	if err != nil {
		c.index = 0
		return answer{}, err
	}
	c.advance(response.Header.Get("X-Consul-Index"))
	a := answer{servers: instances, notes: notes, again: consulGap}
	if c.index == 0 { // it does not hold the next one back
		a.again = recheck
	}
	return a, nil
}

// advance takes note of the index of an answer. One that goes backwards means that
// Consul's state was restored: it begins anew, as its documentation demands.
func (c *consulReader) advance(header string) {
	index, err := strconv.ParseUint(header, 10, 64)
	if err != nil || index < c.index {
		index = 0
	}
	c.index = index
}

func (c *consulReader) request(ctx context.Context, wait time.Duration) (*http.Request, error) {
	s := c.spec
	query := url.Values{"passing": {"1"}}
	if len(s.Tags) > 0 {
		query["tag"] = s.Tags
	}
	for key, value := range map[string]string{"dc": s.Datacenter, "ns": s.Namespace} {
		if value != "" {
			query.Set(key, value)
		}
	}
	if c.index > 0 {
		query.Set("index", strconv.FormatUint(c.index, 10))
		query.Set("wait", wait.String())
	}
	address := strings.TrimSuffix(s.URL, "/") + "/v1/health/service/" + url.PathEscape(s.Service) + "?" + query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if s.TokenFile != "" {
		token, err := readToken(s.TokenFile)
		if err != nil {
			return nil, err
		}
		r.Header.Set("X-Consul-Token", token)
	}
	return r, nil
}

// readToken reads the secret that Consul knows us by. It is read each time, so that
// it can be replaced.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the token for Consul: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	token := bytes.TrimSpace(data)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the token for Consul: %w", err)
	case len(token) == 0:
		return "", fmt.Errorf("read the token for Consul: %s is empty", path)
	case len(data) > maxToken || bytes.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("read the token for Consul: what is in %s is no token", path)
	}
	return string(token), nil
}

// trustCA reads the authority whose certificates Consul has. It, too, can be
// replaced: with a new one, new connections are made.
func (c *consulReader) trustCA() error {
	t := c.client.Transport.(*http.Transport)
	t.TLSClientConfig.ServerName = c.spec.ServerName
	if c.spec.CAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(c.spec.CAFile)
	if err != nil {
		return fmt.Errorf("read the authority of Consul's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read the authority of Consul's certificate: %s has no certificate in it", c.spec.CAFile)
	}
	if old := t.TLSClientConfig.RootCAs; old == nil || !old.Equal(pool) {
		t.CloseIdleConnections()
		t = t.Clone()
		t.TLSClientConfig.RootCAs = pool
		c.client.Transport = t
	}
	return nil
}

// plainURL leaves the address out of an error: the source is named beside it.
func plainURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	return err
}

// refusal says in one line why Consul gave no list.
func refusal(status int, body []byte) error {
	const most = 200
	text := strings.Join(strings.FieldsFunc(string(body[:min(len(body), most)]), func(r rune) bool { return r < ' ' || r > '~' }), " ")
	err := fmt.Errorf("the agent answers %d %s", status, strings.ToLower(http.StatusText(status)))
	if text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	if status == http.StatusForbidden {
		err = fmt.Errorf("%w; look at token_file: the token needs service:read and node:read", err)
	}
	return err
}

// instance is an instance of a service in the answer to
// /v1/health/service/NAME, as far as it matters here.
type instance struct {
	Node    struct{ Node, Address string }
	Service struct {
		ID      string
		Address string
		Port    int
		Weights struct{ Passing int }
	}
}

// parseInstances makes servers of Consul's answer. An instance that cannot be used
// does not cost the others.
func parseInstances(body []byte) (out []Server, notes []string, err error) {
	var list []*instance
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, nil, fmt.Errorf("the answer is not Consul's: %w", err)
	}
	if list == nil { // "null"
		return nil, nil, errors.New("the answer is not Consul's: it has no list")
	}
	for _, i := range list {
		if i == nil {
			return nil, nil, errors.New("the answer is not Consul's: an instance is empty")
		}
		s, err := i.server()
		if err != nil {
			notes = append(notes, fmt.Sprintf("instance %q on node %q: %v", i.Service.ID, i.Node.Node, err))
			continue
		}
		out = append(out, s)
	}
	return out, notes, nil
}

func (i *instance) server() (Server, error) {
	text := i.Service.Address
	if text == "" {
		text = i.Node.Address
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return Server{}, fmt.Errorf("%q is not an address", text)
	case a.Zone() != "":
		return Server{}, fmt.Errorf("%s has a zone", text)
	case i.Service.Port < 0 || i.Service.Port > 65535:
		return Server{}, fmt.Errorf("%d is not a port", i.Service.Port)
	}
	weight := min(max(i.Service.Weights.Passing, 1), 65535) // Consul's own bounds
	return Server{Address: a.Unmap(), Port: uint16(i.Service.Port), Weight: uint32(weight)}, nil
}
