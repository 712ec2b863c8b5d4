package config

type rawService struct {
	Name        value[name]            `key:"name" required:"yes"`
	Address     some[value[ports]]     `key:"address"`
	FWMark      value[number]          `key:"fwmark" range:"1..4294967295"`
	Family      value[word]            `key:"family" oneof:"inet inet6" default:"inet"`
	Protocol    value[word]            `key:"protocol" oneof:"tcp udp sctp" default:"tcp"`
	Router      value[name]            `key:"router"`
	Scheduler   value[word]            `key:"scheduler" oneof:"rr wrr lc wlc lblc lblcr dh sh mh sed nq fo ovf twos" default:"wlc"`
	Flags       list[value[word]]      `key:"scheduler_flags" oneof:"sh-port sh-fallback mh-port mh-fallback"`
	Forward     value[word]            `key:"forward" oneof:"nat dr tun" default:"nat"`
	SourceNAT   value[boolean]         `key:"source_nat" default:"false"`
	Persistence block[rawPersistence]  `key:"persistence"`
	OnePacket   value[boolean]         `key:"one_packet" default:"false"`
	Engine      value[word]            `key:"persistence_engine" oneof:"sip"`
	Quorum      block[rawQuorum]       `key:"quorum"`
	Fallback    block[rawFallback]     `key:"fallback"`
	OnFailure   value[word]            `key:"on_failure" oneof:"remove quiesce" default:"remove"`
	Admit       value[word]            `key:"admit" oneof:"checked at-once" default:"checked"`
	Drain       value[span]            `key:"drain_timeout" range:"0s..24h" default:"0s"`
	SlowStart   value[span]            `key:"slow_start" range:"0s..24h" default:"0s"`
	Panic       value[percent]         `key:"panic_threshold" range:"0..100" default:"0"`
	Agent       block[rawAgent]        `key:"agent"`
	Check       some[block[rawCheck]]  `key:"check"`
	Servers     list[block[rawServer]] `key:"servers"`
	ServersFrom list[block[rawSource]] `key:"servers_from"`
}

type rawPersistence struct {
	Timeout value[span]   `key:"timeout" range:"0s..744h" step:"1s" default:"300s"`
	Netmask value[number] `key:"netmask" range:"1..128"`
}

type rawQuorum struct {
	Min        value[number] `key:"min" range:"1..1000000000000" default:"1"`
	Hysteresis value[number] `key:"hysteresis" range:"0..1000000000000" default:"0"`

	Up   list[value[text]] `key:"up"`
	Down list[value[text]] `key:"down"`
}

// rawAgent is what asks the servers how they want to be used; "none" switches off
// an inherited one.
type rawAgent struct {
	Port     value[number] `key:"port" range:"1..65535"`
	Interval value[span]   `key:"interval" range:"100ms..1h" default:"2s"`
	Timeout  value[span]   `key:"timeout" range:"1ms..1h" default:"1s"`
	Send     value[text]   `key:"send"`

	none bool
}

func (a *rawAgent) decodeShort(_ *problems, _ *rule, n *node) bool {
	a.none = n.text == "none"
	return a.none
}

func (*rawAgent) shortForm() string { return "none, or a mapping such as {port: 8078}" }

// rawServer is a real server; its short form is the address alone.
type rawServer struct {
	Address value[endpoint]       `key:"address" required:"yes"`
	Weight  value[number]         `key:"weight" range:"0..2147483647" default:"1"`
	Name    value[name]           `key:"name"`
	Forward value[word]           `key:"forward" oneof:"nat dr tun"`
	Tunnel  block[rawTunnel]      `key:"tunnel"`
	Upper   value[number]         `key:"upper" range:"0..2147483647" default:"0"`
	Lower   value[number]         `key:"lower" range:"0..2147483647" default:"0"`
	Backup  value[boolean]        `key:"backup" default:"false"`
	Check   some[block[rawCheck]] `key:"check"`
}

// rawFallback is the sorry server; its short form is the address alone.
type rawFallback struct {
	Address value[endpoint]       `key:"address" required:"yes"`
	Forward value[word]           `key:"forward" oneof:"nat dr tun"`
	Tunnel  block[rawTunnel]      `key:"tunnel"`
	Check   some[block[rawCheck]] `key:"check"`
}

type rawTunnel struct {
	Type     value[word]   `key:"type" oneof:"ipip gue gre" default:"ipip"`
	Port     value[number] `key:"port" range:"1..65535"`
	Checksum value[word]   `key:"checksum" oneof:"none csum remcsum" default:"none"`
}

const serverShortForm = "an address such as 10.0.0.11:80, or a mapping such as {address: 10.0.0.11:80}"

func (s *rawServer) decodeShort(p *problems, r *rule, n *node) bool {
	s.Address.decode(p, r, n)
	return true
}

func (*rawServer) shortForm() string { return serverShortForm }

func (s *rawFallback) decodeShort(p *problems, r *rule, n *node) bool {
	s.Address.decode(p, r, n)
	return true
}

func (*rawFallback) shortForm() string { return serverShortForm }

func (rawService) kind() string     { return "service" }
func (rawPersistence) kind() string { return "persistence" }
func (rawQuorum) kind() string      { return "quorum" }
func (rawAgent) kind() string       { return "agent" }
func (rawServer) kind() string      { return "server" }
func (rawFallback) kind() string    { return "fallback" }
func (rawTunnel) kind() string      { return "tunnel" }
