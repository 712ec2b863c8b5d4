package config

type rawRouter struct {
	Name         value[name]               `key:"name" required:"yes"`
	Interface    value[device]             `key:"interface" required:"yes"`
	ID           value[number]             `key:"id" range:"1..255" required:"yes"`
	Version      value[word]               `key:"version" oneof:"3 2" default:"3"`
	Priority     value[number]             `key:"priority" range:"1..255" default:"100"`
	Interval     value[interval]           `key:"advert_interval" range:"10ms..255s" default:"1s"`
	Preempt      value[boolean]            `key:"preempt" default:"true"`
	PreemptDelay value[span]               `key:"preempt_delay" range:"0s..1h" default:"0s"`
	PreemptSync  value[span]               `key:"preempt_after_sync" range:"0s..1h" default:"0s"`
	Source       value[address]            `key:"source"`
	Peers        list[value[address]]      `key:"peers"`
	Heartbeats   list[block[rawHeartbeat]] `key:"heartbeats"`
	Auth         block[rawAuth]            `key:"auth" secret:"yes"`
	Addresses    list[block[rawAddress]]   `key:"addresses" required:"yes"`
	Extra        list[block[rawAddress]]   `key:"extra_addresses"`
	Routes       list[block[rawRoute]]     `key:"routes"`
	Rules        list[block[rawRule]]      `key:"rules"`
	VirtualMAC   value[boolean]            `key:"virtual_mac" default:"false"`
	Lease        value[span]               `key:"lease" range:"0s..1h" step:"1s" default:"3s"`
	GARP         block[rawGARP]            `key:"garp"`
	Checksum     value[word]               `key:"checksum" oneof:"pseudo-header rfc9568-none" default:"pseudo-header"`
	Track        list[block[rawTrack]]     `key:"track"`
	Sync         block[rawConnectionSync]  `key:"connection_sync"`
}

type rawHeartbeat struct {
	Interface value[device]        `key:"interface" required:"yes"`
	Source    value[address]       `key:"source"`
	Peers     list[value[address]] `key:"peers"`
}

type rawAuth struct {
	HMAC         some[block[rawHMAC]] `key:"hmac" secret:"yes"`
	PasswordFile value[secretPath]    `key:"password_file"`
}

type rawHMAC struct {
	KeyID   value[number]     `key:"key_id" range:"1..255" required:"yes"`
	KeyFile value[secretPath] `key:"key_file" required:"yes"`
}

type rawGARP struct {
	Repeat   value[number] `key:"repeat" range:"1..100" default:"5"`
	Delay    value[span]   `key:"delay" range:"0s..1h" default:"5s"`
	Refresh  value[span]   `key:"refresh" range:"0s..24h" default:"60s"`
	Interval value[span]   `key:"interval" range:"0s..1s" default:"0s"`
}

// The defaults and the bounds of maxlen are the kernel's (ip_vs_sync.c).
type rawConnectionSync struct {
	Interface value[device]    `key:"interface" required:"yes"`
	ID        value[number]    `key:"id" range:"0..255"`
	Group     value[multicast] `key:"group" default:"224.0.0.81"`
	Port      value[number]    `key:"port" range:"1..65535" default:"8848"`
	TTL       value[number]    `key:"ttl" range:"1..255" default:"1"`
	MaxLen    value[number]    `key:"maxlen" range:"1..65507"`
	Threshold value[number]    `key:"threshold" range:"0..1000000" default:"2"`
	Period    value[number]    `key:"period" range:"0..1000000" default:"3"`
	Refresh   value[span]      `key:"refresh" range:"0s..1h" step:"1s" default:"10s"`
	Retries   value[number]    `key:"retries" range:"0..3" default:"0"`
}

type rawSyncGroup struct {
	Name    value[name]       `key:"name" required:"yes"`
	Routers list[value[name]] `key:"routers" required:"yes"`
}

func (rawRouter) kind() string         { return "router" }
func (rawHeartbeat) kind() string      { return "heartbeat" }
func (rawAuth) kind() string           { return "auth" }
func (rawHMAC) kind() string           { return "hmac" }
func (rawGARP) kind() string           { return "garp" }
func (rawConnectionSync) kind() string { return "connection_sync" }
func (rawSyncGroup) kind() string      { return "sync group" }
