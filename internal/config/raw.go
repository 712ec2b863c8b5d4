package config

// The raw structs are the definition of the format: see [rule] for their tags.
// Every key is documented in conf/reference.yaml, which a test holds against
// them.

type rawFile struct {
	Env      value[boolean]     `key:"env"`     // acted on when the tree is built
	Include  list[value[text]]  `key:"include"` // acted on when files are merged
	Node     value[name]        `key:"node"`
	StateDir value[path]        `key:"state_dir" default:"/var/lib/baton"`
	Marks    value[folder]      `key:"maintenance_dir"`
	API      block[rawAPI]      `key:"api"`
	Metrics  block[rawMetrics]  `key:"metrics"`
	Log      block[rawLog]      `key:"log"`
	IPVS     block[rawIPVS]     `key:"ipvs"`
	Defaults block[rawDefaults] `key:"defaults"`

	Routers    list[block[rawRouter]]    `key:"routers"`
	SyncGroups list[block[rawSyncGroup]] `key:"sync_groups"`
	Services   list[block[rawService]]   `key:"services"`
}

type rawAPI struct {
	Socket value[socket] `key:"socket" default:"/run/baton/baton.sock"`
}

type rawMetrics struct {
	Listen value[listen] `key:"listen" required:"yes"`
}

type rawLog struct {
	Level  value[word] `key:"level" oneof:"debug info warn error" default:"info"`
	Format value[word] `key:"format" oneof:"text json" default:"text"`
}

type rawIPVS struct {
	Timeouts block[rawTimeouts] `key:"timeouts"`
	Sysctls  value[word]        `key:"sysctls" oneof:"manage leave" default:"manage"`
	Foreign  value[word]        `key:"foreign" oneof:"keep remove" default:"keep"`
	Resync   value[span]        `key:"resync" range:"100ms..1h" default:"1s"`
	OnStop   value[word]        `key:"on_stop" oneof:"withdraw keep" default:"withdraw"`
	Standby  value[word]        `key:"standby" oneof:"warm cold" default:"warm"`
	Marks    value[marks]       `key:"vip_check_marks" default:"0x62610000-0x62613fff"`
}

// The longest timeout is the kernel's for connections and templates: what still
// fits its arithmetic in ticks, 31 days as in ipvsadm.
type rawTimeouts struct {
	TCP    value[span] `key:"tcp" range:"0s..744h" step:"1s" default:"0s"`
	TCPFin value[span] `key:"tcp_fin" range:"0s..744h" step:"1s" default:"0s"`
	UDP    value[span] `key:"udp" range:"0s..744h" step:"1s" default:"0s"`
}

type rawDefaults struct {
	Router  block[rawRouter]  `key:"router"`
	Service block[rawService] `key:"service"`
	Check   block[rawCheck]   `key:"check"`
}

func (rawFile) kind() string     { return "file" }
func (rawAPI) kind() string      { return "api" }
func (rawMetrics) kind() string  { return "metrics" }
func (rawLog) kind() string      { return "log" }
func (rawIPVS) kind() string     { return "ipvs" }
func (rawTimeouts) kind() string { return "timeouts" }
func (rawDefaults) kind() string { return "defaults" }
