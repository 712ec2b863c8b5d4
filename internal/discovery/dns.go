package discovery

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// A TTL counts within these bounds: less would be a load for the resolver and
	// more would keep a mistake for too long.
	shortestTTL, longestTTL = time.Second, 5 * time.Minute
	// negativeTTL is for answers with nothing that do not say how long they hold, and
	// for a target of several that could not be asked for.
	negativeTTL = 30 * time.Second
	// lookups is how many targets of SRV records are looked up at once.
	lookups = 8
)

var addressTypes = map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA}

// dnsReader finds servers by a name.
type dnsReader struct {
	spec       *DNS
	resolvConf string
	dial       func(ctx context.Context, network, address string) (net.Conn, error)
	targets    map[string]target // of SRV records, as last seen
}

// target is what the name in an SRV record stands for.
type target struct {
	addresses []netip.Addr
	ttl       time.Duration
}

func (d *Discovery) newDNSReader(spec *DNS) *dnsReader {
	r := &dnsReader{spec: spec, resolvConf: d.options.ResolvConf, dial: (&net.Dialer{}).DialContext}
	if r.resolvConf == "" {
		r.resolvConf = defaultResolvConf
	}
	return r
}

func (r *dnsReader) wake() <-chan struct{} { return nil }

func (r *dnsReader) close() {}

func (r *dnsReader) read(ctx context.Context, _ bool) (answer, error) {
	asking := resolving{servers: r.spec.Resolvers, timeout: 3 * time.Second, attempts: 2}
	if len(asking.servers) == 0 {
		var err error
		if asking, err = readResolvConf(r.resolvConf); err != nil {
			return answer{}, fmt.Errorf("find the resolvers: %w", err)
		}
	}
	res := &resolver{resolving: asking, dial: r.dial}
	var a answer
	var ttl time.Duration
	var err error
	if r.spec.Type == "SRV" {
		a, ttl, err = r.services(ctx, res)
	} else {
		var t target
		t, err = res.addresses(ctx, r.spec.Name, addressTypes[r.spec.Type])
		ttl = t.ttl
		for _, addr := range t.addresses {
			a.servers = append(a.servers, Server{Address: addr, Port: r.spec.Port})
		}
	}
	ttl = min(max(ttl, shortestTTL), longestTTL)
	// A moment later the resolver has forgotten it as well.
	a.again = ttl + time.Duration(rand.Int64N(int64(ttl/8)))
	return a, err
}

// addresses looks the addresses of a name up. None is an answer as well.
func (r *resolver) addresses(ctx context.Context, name string, qtype dnsmessage.Type) (target, error) {
	t := target{ttl: longestTTL}
	for range maxAliases {
		q, err := newQuestion(name, qtype)
		if err != nil {
			return target{}, err
		}
		rep, err := r.ask(ctx, q)
		if err != nil {
			return target{}, err
		}
		final, ttl := rep.follow(strings.ToLower(q.name.String()))
		t.ttl = min(t.ttl, ttl)
		t.collect(rep.addresses, final)
		switch {
		case len(t.addresses) > 0:
			return t, nil
		case rep.rcode == dnsmessage.RCodeNameError || final == strings.ToLower(q.name.String()):
			t.ttl = min(t.ttl, rep.negativeTTL())
			return t, nil
		}
		name = final // the server does not follow aliases itself
	}
	return target{}, fmt.Errorf("%s is an alias of an alias, more than %d times over", name, maxAliases)
}

// follow returns the name at the end of the aliases of a name in this answer, and
// how long they hold.
func (r *reply) follow(name string) (final string, ttl time.Duration) {
	ttl = longestTTL
	for range maxAliases {
		i := slices.IndexFunc(r.cnames, func(c record) bool { return c.name == name })
		if i < 0 {
			break
		}
		name, ttl = r.cnames[i].target, min(ttl, r.cnames[i].ttl)
	}
	return name, ttl
}

func (r *reply) negativeTTL() time.Duration {
	if r.negative > 0 {
		return r.negative
	}
	return negativeTTL
}

// collect adds the addresses of a name.
func (t *target) collect(records []record, name string) {
	for _, rec := range records {
		if rec.name == name && !slices.Contains(t.addresses, rec.addr) {
			t.addresses = append(t.addresses, rec.addr)
			t.ttl = min(t.ttl, rec.ttl)
		}
	}
}

// services looks SRV records up (RFC 2782), and the addresses of their targets. The
// servers of the lowest priority serve, all others are their backups.
func (r *dnsReader) services(ctx context.Context, res *resolver) (answer, time.Duration, error) {
	q, err := newQuestion(r.spec.Name, dnsmessage.TypeSRV)
	if err != nil {
		return answer{}, 0, err
	}
	rep, err := res.ask(ctx, q)
	if err != nil {
		return answer{}, 0, err
	}
	final, ttl := rep.follow(strings.ToLower(q.name.String()))
	records := slices.DeleteFunc(rep.services, func(rec record) bool { return rec.name != final })
	records = usable(records)
	if len(records) == 0 {
		return answer{}, min(ttl, rep.negativeTTL()), nil
	}
	for _, rec := range records {
		ttl = min(ttl, rec.ttl)
	}
	targets, notes, err := r.resolve(ctx, res, records, rep)
	if err != nil {
		return answer{}, 0, err
	}
	r.targets = targets
	a := answer{notes: notes}
	first := slices.MinFunc(records, byPriority).priority
	for _, rec := range records {
		t := targets[rec.target]
		ttl = min(ttl, t.ttl)
		for _, addr := range t.addresses {
			a.servers = append(a.servers, Server{Address: addr, Port: rec.port, Weight: srvWeight(rec.weight), Backup: rec.priority != first})
		}
	}
	a.servers = best(a.servers)
	return a, ttl, nil
}

// usable leaves the targets out that mean that there is no such service.
func usable(records []record) []record {
	return slices.DeleteFunc(records, func(rec record) bool { return rec.target == "." || rec.port == 0 })
}

func byPriority(a, b record) int { return cmp.Compare(a.priority, b.priority) }

// srvWeight is the weight of a server. In an SRV record 0 means that there is
// nothing to choose, or very little chance; here it would mean no clients at all.
func srvWeight(w uint16) uint32 { return uint32(max(w, 1)) }

// best leaves of servers with the same address and port one: no backup if there is
// such, and of these the one with the most weight.
func best(servers []Server) []Server {
	rank := func(s Server) int {
		if s.Backup {
			return 1
		}
		return 0
	}
	slices.SortFunc(servers, func(a, b Server) int {
		return cmp.Or(a.Compare(b), cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Weight, a.Weight))
	})
	return slices.CompactFunc(servers, func(a, b Server) bool { return a.AddrPort() == b.AddrPort() })
}

// resolve finds the addresses of the targets: among those that came along, or by
// asking. A target that cannot be asked for keeps the addresses that it had.
func (r *dnsReader) resolve(ctx context.Context, res *resolver, records []record, rep *reply) (map[string]target, []string, error) {
	var names []string
	for _, rec := range records {
		names = append(names, rec.target)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > MaxServers {
		return nil, nil, errTooMany(len(names))
	}
	found := make([]target, len(names))
	errs := make([]error, len(names))
	var asking sync.WaitGroup
	slots := make(chan struct{}, lookups)
	for i, name := range names {
		if found[i] = rep.came(name, r.family()); len(found[i].addresses) > 0 {
			continue
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			found[i], errs[i] = res.addresses(ctx, name, r.family())
		})
	}
	asking.Wait()
	return r.merge(ctx, names, found, errs)
}

// merge puts what was found of each target together, with what was known of those
// that could not be asked for.
func (r *dnsReader) merge(ctx context.Context, names []string, found []target, errs []error) (map[string]target, []string, error) {
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	out := make(map[string]target, len(names))
	var notes []string
	failed := 0
	for i, name := range names {
		t, host := found[i], strings.TrimSuffix(name, ".")
		switch {
		case errs[i] != nil:
			failed++
			t = target{addresses: r.targets[name].addresses, ttl: negativeTTL}
			notes = append(notes, fmt.Sprintf("target %s: %v", host, errs[i]))
		case len(t.addresses) == 0:
			notes = append(notes, fmt.Sprintf("target %s has no address of type %s", host, typeName(r.family())))
		}
		out[name] = t
	}
	if failed == len(names) {
		return nil, nil, errs[0]
	}
	return out, notes, nil
}

// family is the type of the addresses of targets.
func (r *dnsReader) family() dnsmessage.Type {
	if r.spec.IPv6 {
		return dnsmessage.TypeAAAA
	}
	return dnsmessage.TypeA
}

// came returns the addresses of a name that came with an answer.
func (r *reply) came(name string, family dnsmessage.Type) target {
	t := target{ttl: longestTTL}
	for _, rec := range r.additional {
		if rec.name == name && rec.addr.Is6() == (family == dnsmessage.TypeAAAA) && !slices.Contains(t.addresses, rec.addr) {
			t.addresses = append(t.addresses, rec.addr)
			t.ttl = min(t.ttl, rec.ttl)
		}
	}
	return t
}
