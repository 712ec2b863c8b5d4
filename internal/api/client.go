package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// DefaultSocket is where the daemon listens when nothing else is configured.
const DefaultSocket = "/run/baton/baton.sock"

// ErrUnreachable means that no daemon answered.
var ErrUnreachable = errors.New("the baton daemon cannot be reached")

// answerTimeout is how long a daemon that works needs at most for everything
// but commands.
const answerTimeout = 5 * time.Second

// maxAnswer bounds what is read of an answer. The status of ten thousand servers
// has some megabytes.
const maxAnswer = 256 << 20

// Client speaks to the daemon. Its errors are a *[Problem] when the daemon
// refused, and wrap [ErrUnreachable] when there is none.
type Client struct {
	socket string
	http   *http.Client
}

// Dial returns a client of the daemon at that socket. It connects with the first
// request.
func Dial(socket string) *Client {
	var d net.Dialer
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status returns the state of everything.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/api/v1/status")
}

// Config says which configuration is in force.
func (c *Client) Config(ctx context.Context) (ConfigStatus, error) {
	return get[ConfigStatus](ctx, c, "/api/v1/config")
}

// Events returns the last n events (all that are kept where n is 0) since a
// time, oldest first.
func (c *Client) Events(ctx context.Context, n int, since time.Time) ([]Event, error) {
	q := url.Values{"n": {strconv.Itoa(n)}}
	if !since.IsZero() {
		q.Set("since", since.Format(time.RFC3339Nano))
	}
	doc, err := get[Events](ctx, c, "/api/v1/events?"+q.Encode())
	return doc.Events, err
}

// ExplainRouter says why a router is in its state.
func (c *Client) ExplainRouter(ctx context.Context, name string) (Explanation, error) {
	return get[Explanation](ctx, c, "/api/v1/explain/router/"+url.PathEscape(name))
}

// ExplainService says why a service is in its state.
func (c *Client) ExplainService(ctx context.Context, name string) (Explanation, error) {
	return get[Explanation](ctx, c, "/api/v1/explain/service/"+url.PathEscape(name))
}

// ExplainServer says why a server of a service is in its state.
func (c *Client) ExplainServer(ctx context.Context, service, server string) (Explanation, error) {
	return get[Explanation](ctx, c,
		"/api/v1/explain/server/"+url.PathEscape(service)+"/"+url.PathEscape(server))
}

// Reload makes the daemon read its configuration again, and waits for the
// outcome.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	return post[Reloaded](ctx, c, "/api/v1/reload", nil)
}

// Failover hands the addresses of one or all routers to a peer, and waits until
// the peer has them.
func (c *Client) Failover(ctx context.Context, cmd RouterCommand) (Outcomes, error) {
	return post[Outcomes](ctx, c, "/api/v1/failover", cmd)
}

// Resume makes one or all routers take part again.
func (c *Client) Resume(ctx context.Context, cmd RouterCommand) (Outcomes, error) {
	return post[Outcomes](ctx, c, "/api/v1/resume", cmd)
}

// Server returns a server of a service.
func (c *Client) Server(ctx context.Context, service, server string) (RealServer, error) {
	return get[RealServer](ctx, c, serverPath(service, server))
}

// Override changes what is wanted of a server, and waits until the kernel knows.
func (c *Client) Override(ctx context.Context, service, server string, p ServerPatch) (Overridden, error) {
	return command[Overridden](ctx, c, http.MethodPatch, serverPath(service, server), p)
}

func serverPath(service, server string) string {
	return "/api/v1/services/" + url.PathEscape(service) + "/servers/" + url.PathEscape(server)
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return request[T](ctx, c, http.MethodGet, path, nil)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	return command[T](ctx, c, http.MethodPost, path, body)
}

func command[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	// The server ends a command by itself; the margin lets its answer arrive.
	ctx, cancel := context.WithTimeout(ctx, commandTimeout+answerTimeout)
	defer cancel()
	return request[T](ctx, c, method, path, body)
}

func request[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return out, fmt.Errorf("encode the request: %w", err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://baton"+path, in)
	if err != nil {
		return out, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(req)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out); err != nil {
		return out, c.broken(ctx, err)
	}
	return out, nil
}

// do sends a request and makes everything but success an error.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(req.Context(), err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	p := newProblem(resp.StatusCode, "")
	t, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if t != problemContentType {
		return nil, fmt.Errorf("%s answers %s, and not as a baton daemon does: is it one?", c.socket, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(p); err != nil {
		return nil, c.broken(req.Context(), err)
	}
	return nil, p
}

// broken says why there is no answer and what can be done about it.
func (c *Client) broken(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without "Get http://baton/…", which means nothing to anyone
	}
	var n net.Error
	var why string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "there is no such socket: is the daemon running (systemctl status baton)? " +
			"If its configuration has another api.socket, name that with --socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "nobody answers on the socket: the daemon has ended without removing it; " +
			"see \"systemctl status baton\" and \"journalctl -u baton\""
	case errors.Is(err, fs.ErrPermission):
		why = "you may not use the socket: be root or a member of the group " + SocketGroup
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &n) && n.Timeout():
		why = "it did not answer in time: see \"journalctl -u baton\""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		why = "it ended the connection before it had answered: is it being restarted?"
	case errors.As(err, new(*net.OpError)):
		why = err.Error()
	default:
		return fmt.Errorf("the answer of the daemon at %s is not understood: %w", c.socket, err)
	}
	return fmt.Errorf("%w at %s: %s", ErrUnreachable, c.socket, why)
}
