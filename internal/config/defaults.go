package config

import "slices"

// checkDefaults refuses defaults for what tells one router, service or check
// from another.
func (b *builder) checkDefaults() {
	d := &b.raw.Defaults.v
	b.noDefault(&d.Router.v, "name", "id", "addresses", "extra_addresses", "routes", "rules")
	b.noDefault(&d.Service.v, "name", "address", "fwmark", "servers", "servers_from")
	b.noDefault(&d.Check.v, checkKinds...)
}

func (b *builder) noDefault(of raw, keys ...string) {
	fields(of, func(r *rule, v field) {
		if at, set := v.isSet(); set && slices.Contains(keys, r.key) {
			b.add(at, "%q cannot be a default: each %s has its own", r.key, of.kind())
			v.forget()
		}
	})
}

// inheritDefaults hands the blocks of "defaults" down. It comes before the
// built-in defaults, which fill what is still empty.
func (b *builder) inheritDefaults() {
	d := &b.raw.Defaults.v
	for i := range b.raw.Routers.items {
		b.raw.Routers.items[i].inheritInto(&d.Router)
	}
	d.inheritChecks(&d.Service.v.Check)
	d.inheritChecks(&d.Service.v.Fallback.v.Check)
	for i := range b.raw.Services.items {
		s := &b.raw.Services.items[i]
		d.inheritChecks(&s.v.Check)
		d.inheritChecks(&s.v.Fallback.v.Check)
		for j := range s.v.Servers.items {
			d.inheritChecks(&s.v.Servers.items[j].v.Check)
		}
		s.inheritInto(&d.Service)
	}
}

func (d *rawDefaults) inheritChecks(checks *some[block[rawCheck]]) {
	for i := range checks.items {
		checks.items[i].inheritInto(&d.Check)
	}
}

// inheritInto takes from a block of defaults. Unlike [block.inherit] it leaves a
// block that is not set or not understood alone.
func (b *block[T]) inheritInto(from *block[T]) {
	if b.set && !b.bad && from.set && !from.bad {
		inheritBlock(b.raw(), from.raw())
	}
}
