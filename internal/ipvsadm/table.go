package ipvsadm

import (
	"fmt"
	"slices"

	"baton/internal/pool"
)

// Table returns what the rules make of an empty table. The error, of the type
// [Mistakes], names the rules that do not fit: a server for a service that is
// not there, a service that is there already.
func Table(rules []Rule) (pool.Table, error) {
	s := newScript(true)
	mistakes := s.play(rules)
	if err := mistakes.orNil(); err != nil {
		return nil, err
	}
	var t pool.Table
	for _, v := range s.services {
		t = append(t, *v)
	}
	t.Sort()
	return t, nil
}

// Check finds rules that do not fit each other, whatever the table holds before
// them. The error is of the type [Mistakes].
func Check(rules []Rule) error { return newScript(false).play(rules).orNil() }

// script plays rules without a kernel.
type script struct {
	complete bool // all services are known; otherwise there may be others
	services map[pool.Key]*pool.VirtualService
	gone     map[pool.Key]bool // deleted by the rules
	at       map[pool.Key]int  // the line of the service
}

func newScript(complete bool) *script {
	return &script{
		complete: complete, services: make(map[pool.Key]*pool.VirtualService),
		gone: make(map[pool.Key]bool), at: make(map[pool.Key]int),
	}
}

func (s *script) play(rules []Rule) (mistakes Mistakes) {
	for _, r := range rules {
		if text := s.rule(r); text != "" {
			mistakes = append(mistakes, Mistake{Line: r.Line, Text: text})
		}
	}
	return mistakes
}

// absent is whether there is certainly no such service.
func (s *script) absent(k pool.Key) bool {
	return s.services[k] == nil && (s.complete || s.gone[k])
}

// rule plays one rule and returns what is wrong with it.
func (s *script) rule(r Rule) string {
	k := r.Service.Key
	switch r.Command {
	case Clear:
		clear(s.services)
		clear(s.gone)
		s.complete = true
		return ""
	case SetTimeouts, StartDaemon, StopDaemon:
		return ""
	case Zero:
		if k == (pool.Key{}) {
			return ""
		}
	case AddService:
		return s.add(r)
	}
	if s.absent(k) {
		return fmt.Sprintf("there is no service %v here; add it before, with -A", k)
	}
	v := s.services[k]
	switch {
	case r.Command == DeleteService:
		delete(s.services, k)
		s.gone[k] = true
	case v == nil || r.Command == Zero: // of a service that these rules have not made
	case r.Command == EditService:
		servers := v.Servers
		*v = r.Service
		v.Servers = servers
	default:
		return server(v, r)
	}
	return ""
}

func (s *script) add(r Rule) string {
	k := r.Service.Key
	if s.services[k] != nil {
		return fmt.Sprintf("the service %v is there already, by line %d; to change it use -E", k, s.at[k])
	}
	v := r.Service
	s.services[k], s.at[k] = &v, r.Line
	delete(s.gone, k)
	return ""
}

// server plays the rule of a server in a service that is known from its start.
func server(v *pool.VirtualService, r Rule) string {
	i := slices.IndexFunc(v.Servers, func(o pool.RealServer) bool { return o.AddrPort() == r.Server.AddrPort() })
	switch {
	case r.Command == AddServer && i >= 0:
		return fmt.Sprintf("the server %v of %v is there already; to change it use -e", r.Server.AddrPort(), v.Key)
	case r.Command == AddServer:
		v.Servers = append(v.Servers, r.Server)
	case i < 0:
		return fmt.Sprintf("there is no server %v in %v here; add it before, with -a", r.Server.AddrPort(), v.Key)
	case r.Command == DeleteServer:
		v.Servers = slices.Delete(v.Servers, i, i+1)
	default:
		v.Servers[i] = r.Server
	}
	return ""
}
