package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Limits of the server. Everything that a client can take or hold is bounded.
const (
	maxHeader = 16 << 10 // bytes
	maxBody   = 64 << 10 // bytes

	readTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	idleTimeout  = time.Minute
	// commandTimeout is more than the longest hand-over: four adverts of 40.95 s
	// and a margin.
	commandTimeout = 3 * time.Minute
	// stopTimeout is how long requests may go on after the server was told to
	// stop.
	stopTimeout = 3 * time.Second
)

// Options are what a [Server] is made of.
type Options struct {
	Engine  Engine
	Journal *Journal
	Metrics http.Handler // of GET /metrics; nil: there is none
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Server answers the HTTP API. It may serve several listeners.
type Server struct {
	engine  Engine
	journal *Journal
	metrics http.Handler
	log     *slog.Logger
	mux     *http.ServeMux
	now     func() time.Time

	keepAlive time.Duration // between comments on a quiet stream
	streams   chan struct{} // one token for each open stream
}

// NewServer returns a server that listens nowhere yet.
func NewServer(o Options) *Server {
	s := &Server{
		engine: o.Engine, journal: o.Journal, metrics: o.Metrics, log: o.Log,
		mux: http.NewServeMux(), now: o.Now,
		keepAlive: 15 * time.Second,
		streams:   make(chan struct{}, maxStreams),
	}
	if s.now == nil {
		s.now = time.Now
	}
	for path, methods := range s.routes() {
		s.mux.HandleFunc(path, dispatch(methods))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		newProblem(http.StatusNotFound, fmt.Sprintf(
			"nothing is served at %s; /api/v1/openapi.json describes what is", r.URL.Path)).write(w)
	})
	return s
}

// methods are the handlers of one path.
type methods map[string]http.HandlerFunc

// routes are all paths that are served, as patterns of [http.ServeMux].
func (s *Server) routes() map[string]methods {
	get := func(h http.HandlerFunc) methods { return methods{http.MethodGet: h} }
	post := func(h http.HandlerFunc) methods { return methods{http.MethodPost: h} }
	return map[string]methods{
		"/api/v1/status":                               get(s.getStatus),
		"/api/v1/config":                               get(s.getConfig),
		"/api/v1/events":                               get(s.getEvents),
		"/api/v1/stream":                               get(s.getStream),
		"/api/v1/explain/router/{name}":                get(s.explainRouter),
		"/api/v1/explain/service/{name}":               get(s.explainService),
		"/api/v1/explain/server/{service}/{address}":   get(s.explainServer),
		"/api/v1/services/{service}/servers/{address}": {http.MethodGet: s.getServer, http.MethodPatch: s.patchServer},
		"/api/v1/reload":                               post(s.postReload),
		"/api/v1/failover":                             post(s.postFailover),
		"/api/v1/resume":                               post(s.postResume),
		"/api/v1/openapi.json":                         get(getOpenAPI),
		"/healthz":                                     get(getHealth),
		"/readyz":                                      get(s.getReady),
		"/metrics":                                     get(s.getMetrics),
	}
}

// dispatch picks the handler by method. HEAD is answered wherever GET is.
func dispatch(m methods) http.HandlerFunc {
	allowed := make([]string, 0, len(m)+1)
	for method := range m {
		allowed = append(allowed, method)
		if method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		h := m[method]
		if h == nil {
			w.Header().Set("Allow", allow)
			newProblem(http.StatusMethodNotAllowed,
				fmt.Sprintf("%s does not take %s, only %s", r.URL.Path, r.Method, allow)).write(w)
			return
		}
		h(w, r)
	}
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// Serve answers requests on a listener until ctx ends, and closes it. Requests
// under way get some seconds to end; streams end at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	hs := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// Commands under way are not cancelled by the end of ctx; streams look for it.
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), closingKey{}, ctx.Done())
		},
		ConnContext: peerContext,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- s.stop(hs) })
	err := hs.Serve(l)
	if stop() { // ctx has not ended: the listener failed
		return errors.Join(fmt.Errorf("serve the API on %s: %w", l.Addr(), err), hs.Close())
	}
	return <-stopped
}

func (s *Server) stop(hs *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := hs.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests were still being answered when the API stopped", "waited", stopTimeout.String())
		err = hs.Close()
	}
	if err != nil {
		return fmt.Errorf("stop the API: %w", err)
	}
	return nil
}

// closingKey is the key of a request's context under which the channel is found
// that is closed when the listener of the request is to be closed.
type closingKey struct{}

func closing(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(closingKey{}).(<-chan struct{}) // else nil, which never closes
	return c
}

// untimed lifts the timeouts of the connection for a handler that has its own.
// Without it the end of the server's ReadTimeout would cancel the request.
func untimed(w http.ResponseWriter) {
	rc := http.NewResponseController(w)
	// Errors mean a writer without deadlines, as in tests: nothing to lift.
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
}
