package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"baton/internal/check"
	"baton/internal/pool"
)

// checksOf builds the checks of a server: its own, else the service's, else the
// default of the protocol.
func (b *builder) checksOf(s *service, r *rawServer, server built) []pool.CheckID {
	checks := &s.Check
	if r.Check.set {
		checks = &r.Check
	}
	if !checks.set {
		return b.defaultChecks(s, server)
	}
	return b.listed(s, checks, server)
}

// listed builds the checks of a list for one server.
func (b *builder) listed(s *service, checks *some[block[rawCheck]], server built) []pool.CheckID {
	var ids []pool.CheckID
	for i := range checks.items {
		if c := &checks.items[i]; b.isProbe(c) {
			ids = b.addJob(ids, s, c, server)
		}
	}
	return ids
}

// defaultChecks is a connection for TCP and nothing for everything else, where
// an answer to a mere connection says nothing or the port is not known.
func (b *builder) defaultChecks(s *service, server built) []pool.CheckID {
	if s.bad || s.isMark() || s.Protocol.v != "tcp" || b.probePort(s, server) == 0 {
		return nil
	}
	c := block[rawCheck]{at: s.at, set: true}
	c.v.TCP = block[rawTCP]{at: s.at, set: true}
	c.inheritInto(&b.defaultCheck)
	c.finish(b.problems, &rule{key: "check"}, "service", s.at)
	return b.addJob(nil, s, &c, server)
}

// isProbe reports whether a check says what to probe, which it does by exactly
// one kind that is not "none".
func (b *builder) isProbe(c *block[rawCheck]) bool {
	if c.bad {
		return false
	}
	kinds := c.v.kinds()
	switch {
	case len(kinds) == 1:
		return !c.v.None.set
	case len(kinds) > 1:
		b.add(c.at, "check: found %s; allowed: one kind in each check; write a list for more", strings.Join(kinds, " and "))
	case !c.odd: // else the kind is the key that was refused
		b.add(c.at, "check: found no kind; allowed: one of %s", strings.Join(checkKinds, ", "))
	}
	return false
}

// checkKinds are the keys that name a kind, in the order of the documentation.
var checkKinds = []string{
	"tcp", "http", "https", "tls", "dns", "smtp", "udp", "ping", "grpc", "exec", "file",
	"ftp", "imap", "pop3", "nntp", "ldap", "mysql", "postgresql", "redis", "ntp", "radius", "sip", "none",
}

// kinds returns the kinds that a check names. It is asked for each server, so it
// goes without [fields].
func (c *rawCheck) kinds() (kinds []string) {
	for i, set := range [...]bool{
		c.TCP.set, c.HTTP.set, c.HTTPS.set, c.TLS.set, c.DNS.set, c.SMTP.set, c.UDP.set, c.Ping.set, c.GRPC.set, c.Exec.set, c.File.set,
		c.FTP.set, c.IMAP.set, c.POP3.set, c.NNTP.set, c.LDAP.set, c.MySQL.set, c.PostgreSQL.set, c.Redis.set, c.NTP.set, c.RADIUS.set, c.SIP.set, c.None.set,
	} {
		if set {
			kinds = append(kinds, checkKinds[i])
		}
	}
	return kinds
}

// checkUnused finds the mistakes in the checks of a service whose servers all
// have their own, or that has no servers.
func (b *builder) checkUnused(s *service) {
	for i := range s.Check.items {
		if c := &s.Check.items[i]; b.isProbe(c) {
			b.jobOf(&c.v)
		}
	}
}

// probePort returns the port that a server is probed at: its own, or the first
// one of a service with a range; 0 when there is none.
func (b *builder) probePort(s *service, server built) uint16 {
	if server.Port != 0 || len(s.out.Keys) == 0 {
		return server.Port
	}
	return s.out.Keys[0].Port
}

// addJob builds one probe of a server and appends its ID, unless it has the same
// one already.
func (b *builder) addJob(ids []pool.CheckID, s *service, c *block[rawCheck], server built) []pool.CheckID {
	if b.throughVIP(s, c, server) {
		return b.addVIPJobs(ids, s, c, server)
	}
	target, ok := b.target(s, c, server)
	if !ok {
		return ids
	}
	job := b.jobOf(&c.v)
	job.Spec.Target = target
	if e := job.Spec.Exec; e != nil {
		var vip netip.Addr
		if len(s.out.Keys) > 0 {
			vip = s.out.Keys[0].Address
		}
		job.Spec.Exec = e.With(vip, server.Weight)
	}
	return b.put(ids, job)
}

// put appends the ID of a probe, unless it is there already.
func (b *builder) put(ids []pool.CheckID, job check.Job) []pool.CheckID {
	id := pool.CheckID(job.ID())
	if slices.Contains(ids, id) {
		return ids
	}
	b.keepJob(id, job)
	return append(ids, id)
}

// keepJob has the balancer run a job. Equal ones are one.
func (b *builder) keepJob(id pool.CheckID, job check.Job) {
	if b.cfg.Balancer.Jobs[id] != nil {
		return
	}
	share(&job.Spec, &b.lastSpec)
	b.cfg.Balancer.Jobs[id], b.lastSpec = &job, job.Spec
}

// share has a probe point to what another one asks for, where it asks for the same:
// the servers of a service mostly have one check.
func share(s, other *check.Spec) {
	switch {
	case s.TCP != nil && reflect.DeepEqual(s.TCP, other.TCP):
		s.TCP = other.TCP
	case s.HTTP != nil && reflect.DeepEqual(s.HTTP, other.HTTP):
		s.HTTP = other.HTTP
	}
}

// jobOf builds a job without its target.
func (b *builder) jobOf(c *rawCheck) check.Job {
	b.checkConnect(c)
	job := check.Job{Spec: b.specOf(c), Schedule: b.scheduleOf(c)}
	job.Spec.Timeout = b.timeoutOf(c)
	return job
}

// target returns where a probe of a server connects to. What does not depend on
// the server, or not on its port, is the same for all, so that it is done once.
func (b *builder) target(s *service, c *block[rawCheck], server built) (netip.AddrPort, bool) {
	to := &c.v.Connect.v
	addr, port := server.Address, b.probePort(s, server)
	if to.Address.ok() {
		addr = to.Address.v.Addr
	}
	if to.Port.ok() {
		port = uint16(to.Port.v)
	}
	if to.Source.ok() && to.Source.v.Is6() != addr.Is6() {
		b.add(to.Source.at, "source: %s is of another family than %s, which is to be checked", to.Source.v, addr)
	}
	switch {
	case c.v.File.set:
		return netip.AddrPort{}, true
	case c.v.Ping.set:
		return netip.AddrPortFrom(addr, 0), true
	case c.v.Exec.set: // which may not want a port
	case port == 0 && !to.Port.bad && !s.bad:
		b.add(c.at, "check: there is no port to connect to, because the service has none; write connect: {port: …}, or check: none")
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, port), true
}

// checkConnect refuses keys of connect that have no effect.
func (b *builder) checkConnect(c *rawCheck) {
	if !c.Connect.set {
		return
	}
	fields(&c.Connect.v, func(r *rule, v field) {
		at, set := v.isSet()
		switch {
		case !set:
		case c.File.set:
			b.add(at, "%s: a check of kind file connects to nothing", r.key)
		case c.Ping.set && r.key == "port":
			b.add(at, "port: a ping has no port")
		case c.Exec.set && r.key != "address" && r.key != "port":
			b.add(at, "%s: it has no effect on a program; give it to the program as an argument", r.key)
		}
	})
}

func (b *builder) scheduleOf(c *rawCheck) check.Schedule {
	out := check.Schedule{
		Interval:     time.Duration(c.Interval.v),
		FastInterval: time.Duration(c.FastInterval.v),
		Jitter:       int(c.Jitter.v),
		Rise:         int(c.Rise.v),
		Fall:         int(c.Fall.v),
	}
	if c.FastInterval.ok() && !c.Interval.bad && out.FastInterval > out.Interval {
		b.add(c.FastInterval.at, "fast_interval: %s is longer than the interval of %s", out.FastInterval, out.Interval)
	}
	if out.FastInterval == out.Interval {
		out.FastInterval = 0 // the same, so that equal schedules look equal
	}
	return out
}

// timeoutOf returns the time for one probe. The built-in timeout gives way to an
// interval that is shorter.
func (b *builder) timeoutOf(c *rawCheck) time.Duration {
	timeout, interval := time.Duration(c.Timeout.v), time.Duration(c.Interval.v)
	if timeout <= interval || c.Interval.bad {
		return timeout
	}
	if c.Timeout.ok() {
		b.add(c.Timeout.at, "timeout: %s is longer than the interval of %s, so a probe would not end before the next one starts", timeout, interval)
	}
	return interval
}
