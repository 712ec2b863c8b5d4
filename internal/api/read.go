package api

import (
	_ "embed" // openapi.json
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"baton/internal/balancer"
	"baton/internal/speaker"
)

//go:embed openapi.json
var openAPI []byte

func getOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI)
}

func (s *Server) getStatus(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, FromSnapshot(s.engine.Snapshot(), s.now()))
}

func (s *Server) getConfig(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, s.engine.Snapshot().Config)
}

// defaultEvents is how many events are returned when nothing else is asked.
const defaultEvents = 100

func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) {
	n, since, problem := eventQuery(r)
	if problem != nil {
		problem.write(w)
		return
	}
	writeJSON(w, Events{Events: s.journal.Last(n, since)})
}

func eventQuery(r *http.Request) (n int, since time.Time, problem *Problem) {
	n = defaultEvents
	q := r.URL.Query()
	if v := q.Get("n"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 0 {
			return 0, since, newProblem(http.StatusBadRequest,
				fmt.Sprintf("n is %q, not a number of events; 0 means all that are kept", v))
		}
	}
	if v := q.Get("since"); v != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, v); err != nil {
			return 0, since, newProblem(http.StatusBadRequest,
				fmt.Sprintf("since is %q, not a time as in RFC 3339, such as 2026-01-31T04:05:06Z", v))
		}
	}
	return n, since, nil
}

func getHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, Health{Status: "ok"})
}

func (s *Server) getReady(w http.ResponseWriter, _ *http.Request) {
	if missing := s.engine.Snapshot().NotReady; len(missing) > 0 {
		newProblem(http.StatusServiceUnavailable, "not ready: "+strings.Join(missing, "; ")).write(w)
		return
	}
	writeJSON(w, Health{Status: "ready"})
}

func (s *Server) getMetrics(w http.ResponseWriter, r *http.Request) {
	if s.metrics == nil {
		newProblem(http.StatusNotFound, "this daemon was built without metrics").write(w)
		return
	}
	s.metrics.ServeHTTP(w, r)
}

func (s *Server) explainRouter(w http.ResponseWriter, r *http.Request) {
	snapshot := s.engine.Snapshot()
	router, problem := findRouter(snapshot.Routers, r.PathValue("name"))
	if problem != nil {
		problem.write(w)
		return
	}
	lines := router.Explain(s.now())
	if c, ok := snapshot.Sync[router.Spec.Name]; ok {
		lines = append(lines, c.explain())
	}
	writeJSON(w, Explanation{Lines: lines})
}

func (s *Server) explainService(w http.ResponseWriter, r *http.Request) {
	snapshot := s.engine.Snapshot()
	svc, problem := findService(snapshot.Balancer, r.PathValue("name"))
	if problem != nil {
		problem.write(w)
		return
	}
	lines := svc.Explain()
	for _, source := range snapshot.Sources {
		if source.Service == svc.Name {
			lines = append(lines, source.Explain()...)
		}
	}
	writeJSON(w, Explanation{Lines: lines})
}

func (s *Server) explainServer(w http.ResponseWriter, r *http.Request) {
	svc, srv, problem := s.serverOf(r)
	if problem != nil {
		problem.write(w)
		return
	}
	out := Explanation{Lines: srv.Explain(svc, s.engine.Past)}
	for _, c := range srv.Checks {
		out.Checks = append(out.Checks, fromPast(c, s.engine.Past(c.ID)))
	}
	writeJSON(w, out)
}

func findRouter(all speaker.Status, name string) (speaker.RouterStatus, *Problem) {
	names := make([]string, len(all.Routers))
	for i, r := range all.Routers {
		if r.Spec.Name == name {
			return r, nil
		}
		names[i] = r.Spec.Name
	}
	return speaker.RouterStatus{}, newProblem(http.StatusNotFound, unknown("router", name, names))
}

func findService(all balancer.Status, name string) (balancer.ServiceStatus, *Problem) {
	names := make([]string, len(all.Services))
	for i, svc := range all.Services {
		if svc.Name == name {
			return svc, nil
		}
		names[i] = svc.Name
	}
	return balancer.ServiceStatus{}, newProblem(http.StatusNotFound, unknown("service", name, names))
}

// serverOf finds the service and the server that a path names.
func (s *Server) serverOf(r *http.Request) (svc balancer.ServiceStatus, srv balancer.ServerStatus, problem *Problem) {
	if svc, problem = findService(s.engine.Snapshot().Balancer, r.PathValue("service")); problem == nil {
		srv, problem = findServer(svc, r.PathValue("address"))
	}
	return svc, srv, problem
}

// findServer finds a server, the fallback among them, by its address and port,
// its name, or its address alone where that is unique.
func findServer(svc balancer.ServiceStatus, which string) (balancer.ServerStatus, *Problem) {
	servers := svc.Servers
	if svc.FallbackServer != nil {
		servers = append(slices.Clip(servers), *svc.FallbackServer)
	}
	addr, _ := netip.ParseAddr(which) // else: it is something else
	names := make([]string, len(servers))
	var there []balancer.ServerStatus
	for i, srv := range servers {
		names[i] = srv.Address.String()
		if which == names[i] || (srv.Name != "" && srv.Name == which) {
			return srv, nil
		}
		if srv.Address.Addr() == addr {
			there = append(there, srv)
		}
	}
	switch len(there) {
	case 1:
		return there[0], nil
	case 0:
		return balancer.ServerStatus{}, newProblem(http.StatusNotFound,
			unknown("server of service "+svc.Name, which, names))
	}
	several := make([]string, len(there))
	for i, srv := range there {
		several[i] = srv.Address.String()
	}
	return balancer.ServerStatus{}, newProblem(http.StatusNotFound, fmt.Sprintf(
		"service %s has several servers at %s; name one of %s", svc.Name, addr, strings.Join(several, ", ")))
}

// unknown says that a name is not known, and which ones are.
func unknown(what, name string, known []string) string {
	const most = 20
	text := fmt.Sprintf("there is no %s %q", what, name)
	switch {
	case len(known) == 0:
		return text + "; the configuration names none"
	case len(known) > most:
		return fmt.Sprintf("%s; there are %s and %d more", text, strings.Join(known[:most], ", "), len(known)-most)
	}
	return fmt.Sprintf("%s; there is %s", text, strings.Join(known, ", "))
}
