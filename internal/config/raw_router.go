package config

type rawRouter struct {
	Name         value[name]             `key:"name" required:"yes"`
	Interface    value[device]           `key:"interface" required:"yes"`
	ID           value[number]           `key:"id" range:"1..255" required:"yes"`
	Version      value[word]             `key:"version" oneof:"3" default:"3"`
	Priority     value[number]           `key:"priority" range:"1..255" default:"100"`
	Interval     value[span]             `key:"advert_interval" range:"10ms..40.95s" step:"10ms" default:"1s"`
	Preempt      value[boolean]          `key:"preempt" default:"true"`
	PreemptDelay value[span]             `key:"preempt_delay" range:"0s..1h" default:"0s"`
	Source       value[address]          `key:"source"`
	Peers        list[value[address]]    `key:"peers"`
	Addresses    list[block[rawAddress]] `key:"addresses" required:"yes"`
	Lease        value[span]             `key:"lease" range:"0s..1h" step:"1s" default:"3s"`
	GARP         block[rawGARP]          `key:"garp"`
	Checksum     value[word]             `key:"checksum" oneof:"pseudo-header rfc9568-none" default:"pseudo-header"`
}

type rawGARP struct {
	Repeat   value[number] `key:"repeat" range:"1..100" default:"5"`
	Delay    value[span]   `key:"delay" range:"0s..1h" default:"5s"`
	Refresh  value[span]   `key:"refresh" range:"0s..24h" default:"60s"`
	Interval value[span]   `key:"interval" range:"0s..1s" default:"0s"`
}

// rawAddress is a VIP; its short form is the address alone.
type rawAddress struct {
	Address   value[vip]    `key:"address" required:"yes"`
	Interface value[device] `key:"interface"`
}

func (a *rawAddress) decodeShort(p *problems, r *rule, n *node) bool {
	a.Address.decode(p, r, n)
	return true
}

func (*rawAddress) shortForm() string {
	return "an address such as 10.0.0.100/24, or a mapping of address, interface"
}

func (rawRouter) kind() string  { return "router" }
func (rawGARP) kind() string    { return "garp" }
func (rawAddress) kind() string { return "addresses" }
