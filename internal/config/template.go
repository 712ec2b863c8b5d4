package config

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"baton/internal/check"
	"baton/internal/discovery"
	"baton/internal/pool"
)

// Template is what a service gives to a server that is found by discovery: its
// check, its way of forwarding, its ports, and the defaults. It needs no file, and
// its fields are of use to nobody but their encoder.
type Template struct {
	Service  map[string]any // seed of the service, without servers
	Defaults map[string]any `json:",omitempty"` // seed of "defaults"
	Synced   bool           `json:",omitempty"` // the kernel's sync daemon runs
}

// Expanded are servers as the balancer wants them.
type Expanded struct {
	Servers []pool.Server
	Jobs    map[pool.CheckID]*check.Job // all that they name
	// Usable are the servers that those were made of, in the same order.
	Usable []discovery.Server
	// Refused says in words why the others cannot be servers of the service.
	Refused []string
}

// Expand makes servers of what a source has found, by the rules that "servers" has.
func (t Template) Expand(source discovery.Source, found []discovery.Server) Expanded {
	g := t.prepare()
	out := Expanded{Jobs: make(map[pool.CheckID]*check.Job)}
	for _, f := range found {
		server, err := g.server(f)
		if err != nil {
			out.Refused = append(out.Refused, err.Error())
			continue
		}
		server.Source = source.String()
		out.Servers, out.Usable = append(out.Servers, server), append(out.Usable, f)
		for _, id := range server.Checks {
			out.Jobs[id] = g.cfg.Balancer.Jobs[id]
		}
		if server.Agent != "" {
			out.Jobs[server.Agent] = g.cfg.Balancer.Jobs[server.Agent]
		}
	}
	return out
}

// grower builds servers of one service.
type grower struct {
	*builder
	service *service
	seats   seats
}

// prepare builds the service as far as its servers need it.
func (t Template) prepare() *grower {
	b := newBuilder(&Config{}, &problems{}, func(string) ([]byte, fs.FileMode, error) {
		return nil, 0o600, nil // the probe reads it
	})
	root := map[string]any{"services": []any{t.Service}}
	if t.Defaults != nil {
		root["defaults"] = t.Defaults
	}
	decodeBlock(b.problems, grow(root, pos{}), &b.raw)
	b.inheritDefaults()
	b.defaultCheck = b.raw.Defaults.v.Check
	b.raw.Defaults.forget()
	finishBlock(b.problems, &b.raw, pos{})
	if t.Synced {
		b.syncs = []syncOwner{{}}
	}
	b.cfg.Balancer.Jobs = make(map[pool.CheckID]*check.Job)
	s := &service{rawService: &b.raw.Services.items[0].v}
	b.buildKeys(s)
	s.out.Forward = forwards[s.Forward.v]
	return &grower{b, s, newSeats()}
}

// server builds one server, or says what is wrong with it.
func (g *grower) server(f discovery.Server) (pool.Server, error) {
	at := pos{}
	seed := map[string]any{"address": f.String()}
	if f.Weight > 0 {
		seed["weight"] = fmt.Sprint(f.Weight)
	}
	if f.Backup {
		seed["backup"] = "true"
	}
	if f.Entry != nil {
		seed = nil
		if err := json.Unmarshal(f.Entry, &seed); err != nil {
			return pool.Server{}, fmt.Errorf("%s: %w", f, err)
		}
	}
	g.problems = &problems{}
	raw := list[block[rawServer]]{set: true, items: make([]block[rawServer], 1)}
	raw.items[0].decode(g.problems, serversRule, grow(seed, at))
	(&rawDefaults{Check: g.defaultCheck}).inheritChecks(&raw.items[0].v.Check)
	raw.finish(g.problems, serversRule, "service", at)
	g.service.out.Servers = nil
	g.buildServer(g.service, &raw.items[0], g.seats)
	if err := g.complaint(f); err != nil {
		return pool.Server{}, err
	}
	if len(g.service.out.Servers) != 1 {
		return pool.Server{}, fmt.Errorf("%s cannot be a server", f)
	}
	server := g.service.out.Servers[0]
	if err := g.trusted(f, server, raw.items[0].v.Check.set); err != nil {
		return pool.Server{}, err
	}
	return server, nil
}

var serversRule = &rule{key: "servers"}

// complaint returns what is wrong with the last server, with its place in front
// where it has one.
func (g *grower) complaint(f discovery.Server) error {
	if len(g.problems.list) == 0 {
		return nil
	}
	texts := make([]string, len(g.problems.list))
	for i, e := range g.problems.list {
		texts[i] = e.Message
	}
	if f.Place != "" {
		return fmt.Errorf("%s: %s", f.Place, strings.Join(texts, "; "))
	}
	return fmt.Errorf("%s: %s", f, strings.Join(texts, "; "))
}

// trusted refuses what only the configuration may ask for. Whoever may write a file
// with servers, which need not be root, must not have programs run or secrets sent.
func (g *grower) trusted(f discovery.Server, s pool.Server, own bool) error {
	if !own {
		return nil
	}
	for _, id := range s.Checks {
		spec := &g.cfg.Balancer.Jobs[id].Spec
		what := ""
		switch {
		case spec.Exec != nil:
			what = "exec"
		case spec.File != nil:
			what = "file"
		case spec.HTTP != nil && spec.HTTP.PasswordFile != "", spec.Talk != nil && spec.Talk.PasswordFile != "":
			what = "password_file"
		case spec.Talk != nil && spec.Talk.SecretFile != "":
			what = "secret_file"
		}
		if what != "" {
			return fmt.Errorf("%s: check: %s is for the configuration only; give it to the service, or name the server there", f.Place, what)
		}
	}
	return nil
}

// ParseServers reads a file with servers: a list in the form of "servers" of a
// service. Mistakes are returned as [Errors].
func ParseServers(path string, data []byte) ([]discovery.Server, error) {
	p := &problems{files: []string{path}}
	root, ok := parseDocument(p, path, data, nil)
	switch {
	case !ok:
		return nil, p.err()
	case root == nil:
		p.add(pos{path, 1, 1}, "the file is empty; write [] if there are no servers")
		return nil, p.err()
	case root.kind != listNode:
		p.add(root.at, "found %s; allowed: a list of servers", root.found())
		return nil, p.err()
	}
	raw := list[block[rawServer]]{}
	raw.decode(p, serversRule, root)
	raw.finish(p, serversRule, "service", root.at)
	if len(raw.items) > discovery.MaxServers {
		p.add(root.at, "the list has %d servers; allowed: at most %d", len(raw.items), discovery.MaxServers)
	}
	out := make([]discovery.Server, 0, len(raw.items))
	seen := make(map[netip.AddrPort]pos, len(raw.items))
	for i := range raw.items {
		item := &raw.items[i]
		if a := &item.v.Address; !item.bad && a.ok() {
			s := discovery.Server{Address: a.v.addr, Port: a.v.port, Place: item.at.String()}
			if first, twice := seen[s.AddrPort()]; twice {
				p.add(a.at, "address: %s is given twice; first at %s", s, first)
			}
			seen[s.AddrPort()] = a.at
			s.Entry = pack(serverSeed(root.items[i]))
			out = append(out, s)
		}
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// serverSeed is the seed of a server in its long form, so that both forms of the
// same are equal.
func serverSeed(n *node) any {
	if n.kind == mappingNode {
		return seedOfBlock(n)
	}
	return map[string]any{"address": n.text}
}
