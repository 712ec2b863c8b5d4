package config

import (
	"net/netip"
	"strings"

	"baton/internal/discovery"
)

// Sources are the sources of servers of one service.
type Sources struct {
	Service  string
	List     []discovery.Source // in the order of the file
	Template Template           // what a server that is found gets from the service
}

// buildSources builds "servers_from"; block is the service as it stands in the file.
func (b *builder) buildSources(s *service, block *node) {
	if s.ServersFrom.bad || len(s.ServersFrom.items) == 0 {
		return
	}
	out := Sources{Service: s.out.Name}
	seen := make(map[string]pos)
	for i := range s.ServersFrom.items {
		raw := &s.ServersFrom.items[i]
		if raw.bad {
			continue
		}
		source, ok := b.source(s, raw)
		if !ok {
			continue
		}
		if first, twice := seen[source.String()]; twice {
			b.add(raw.at, "servers_from: %s is given twice; first at %s", source, first)
			continue
		}
		seen[source.String()] = raw.at
		out.List = append(out.List, source)
	}
	out.Template = Template{Service: seedOfBlock(block, "servers", "servers_from"), Synced: len(b.syncs) > 0}
	if b.defaults != nil {
		out.Template.Defaults = seedOfBlock(b.defaults, "router")
	}
	b.cfg.Sources = append(b.cfg.Sources, out)
}

// source builds one source. It reports false when it is not known what it is.
func (b *builder) source(s *service, raw *block[rawSource]) (discovery.Source, bool) {
	r := &raw.v
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"file", r.File.set}, {"dns", r.DNS.set}, {"consul", r.Consul.set}} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	switch {
	case len(kinds) > 1:
		b.add(raw.at, "servers_from: found %s; allowed: one of them in each item", strings.Join(kinds, " and "))
	case len(kinds) == 0 && !raw.odd:
		b.add(raw.at, "servers_from: found no source; allowed: one of file, dns, consul")
	}
	if len(kinds) != 1 {
		return discovery.Source{}, false
	}
	b.strayKeys(r, kinds[0])
	switch kinds[0] {
	case "dns":
		return b.dnsSource(s, r)
	case "consul":
		return b.consulSource(r)
	}
	return discovery.Source{File: string(r.File.v)}, r.File.ok()
}

// sourceKeys are the keys that go with each kind of source.
var sourceKeys = map[string]string{
	"type": "dns", "port": "dns", "resolver": "dns",
	"service": "consul", "tag": "consul", "datacenter": "consul", "namespace": "consul",
	"token_file": "consul", "ca_file": "consul", "server_name": "consul",
}

func (b *builder) strayKeys(r *rawSource, kind string) {
	fields(r, func(rule *rule, f field) {
		if at, set := f.isSet(); set && sourceKeys[rule.key] != "" && sourceKeys[rule.key] != kind {
			b.add(at, "%s: it belongs to %s, but the source is %s", rule.key, sourceKeys[rule.key], kind)
		}
	})
}

func (b *builder) dnsSource(s *service, r *rawSource) (discovery.Source, bool) {
	d := &discovery.DNS{Name: strings.TrimSuffix(string(r.DNS.v), "."), Type: string(r.Type.v), Port: uint16(r.Port.v)}
	family := "A"
	if s.ipv6 {
		family = "AAAA"
	}
	switch {
	case r.DNS.ok() && d.Name == "":
		b.add(r.DNS.at, "dns: the root has no servers; allowed: a domain name such as www.example.net")
		return discovery.Source{}, false
	case r.Type.bad:
		return discovery.Source{}, false
	case d.Type == "":
		d.Type = family
	case d.Type == "SRV" && r.Port.ok():
		b.add(r.Port.at, "port: SRV records have the ports themselves; leave it out")
	case d.Type != "SRV" && d.Type != family && !s.bad && s.Forward.v != "tun":
		b.add(r.Type.at, "type: %s records are addresses of another family than the service's; write %s", d.Type, family)
	}
	d.IPv6 = d.Type == "SRV" && s.ipv6
	for i := range r.Resolvers.items {
		if e := &r.Resolvers.items[i]; e.ok() {
			port := uint16(53)
			if e.v.hasPort {
				port = e.v.port
			}
			d.Resolvers = append(d.Resolvers, netip.AddrPortFrom(e.v.addr, port))
		}
	}
	return discovery.Source{DNS: d}, r.DNS.ok()
}

func (b *builder) consulSource(r *rawSource) (discovery.Source, bool) {
	c := &discovery.Consul{
		URL: strings.TrimSuffix(string(r.Consul.v), "/"), Service: string(r.Service.v),
		Datacenter: string(r.Datacenter.v), Namespace: string(r.Namespace.v),
		TokenFile: string(r.TokenFile.v), CAFile: string(r.CAFile.v), ServerName: string(r.ServerName.v),
	}
	switch {
	case !r.Service.set:
		b.add(r.Consul.at, "%q is missing in source: the name of the service in Consul", "service")
	case r.Service.ok() && c.Service == "":
		b.add(r.Service.at, "service: the name is empty; allowed: the name of the service in Consul")
	}
	for i := range r.Tags.items {
		if t := &r.Tags.items[i]; t.ok() {
			c.Tags = append(c.Tags, string(t.v))
		}
	}
	if !strings.HasPrefix(c.URL, "https:") && r.Consul.ok() {
		for _, f := range []struct {
			key string
			at  pos
			set bool
		}{{"ca_file", r.CAFile.at, r.CAFile.set}, {"server_name", r.ServerName.at, r.ServerName.set}} {
			if f.set {
				b.add(f.at, "%s: it belongs to an https URL", f.key)
			}
		}
	}
	return discovery.Source{Consul: c}, r.Consul.ok() && r.Service.ok()
}
