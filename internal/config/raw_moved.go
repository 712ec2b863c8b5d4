package config

// What moves with a router: addresses, routes and rules.

// rawAddress is a VIP; its short form is the address alone.
type rawAddress struct {
	Address   value[vip]    `key:"address" required:"yes"`
	Interface value[device] `key:"interface"`
	Label     value[label]  `key:"label"`
}

type rawRoute struct {
	To        value[prefix]  `key:"to" oneof:"default" required:"yes"`
	Via       value[address] `key:"via"`
	Interface value[device]  `key:"interface"`
	Source    value[address] `key:"source"`
	Table     value[table]   `key:"table" range:"1..4294967295" oneof:"main default local"`
	Metric    value[number]  `key:"metric" range:"0..4294967295" default:"0"`
	Scope     value[word]    `key:"scope" oneof:"global link host"`
}

type rawRule struct {
	From     value[prefix] `key:"from"`
	To       value[prefix] `key:"to"`
	IIF      value[device] `key:"iif"`
	FWMark   value[number] `key:"fwmark" range:"1..4294967295"`
	Table    value[table]  `key:"table" range:"1..4294967295" oneof:"main default local" required:"yes"`
	Priority value[number] `key:"priority" range:"1..4294967295"`
}

func (a *rawAddress) decodeShort(p *problems, r *rule, n *node) bool {
	a.Address.decode(p, r, n)
	return true
}

func (*rawAddress) shortForm() string {
	return "an address such as 10.0.0.100/24, or a mapping of address, interface, label"
}

func (rawAddress) kind() string { return "addresses" }
func (rawRoute) kind() string   { return "route" }
func (rawRule) kind() string    { return "rule" }
