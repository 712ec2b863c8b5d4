package config

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"time"

	"baton/internal/balancer"
	"baton/internal/check"
	"baton/internal/network"
	"baton/internal/pool"
)

// builder turns raw structs into a [Config] and checks what cannot be said of
// one value alone.
type builder struct {
	*problems
	cfg *Config
	raw rawFile

	defaults *node // the block "defaults" as it stands in the file; nil: none

	readSecret func(name string) ([]byte, fs.FileMode, error)
	secrets    map[string]secretFile // by path

	defaultCheck block[rawCheck] // of "defaults", for servers without a check
	routers      map[string]pos  // by name
	vips         map[netip.Addr]owned
	vrids        map[vrid]vridOwner
	routes       map[routeKey]owned
	rules        map[network.Rule]owned
	syncs        []syncOwner
	grouped      map[string]owned // the sync group of each router
	services     map[string]pos   // by name
	keys         map[pool.Key]owned
	vias         map[via]bool // servers that are checked through a VIP
	lastSpec     check.Spec   // of the job that was built last
}

// owned is the router or service that has something, and where it says so.
type owned struct {
	name string
	at   pos
}

func newBuilder(cfg *Config, p *problems, readSecret func(name string) ([]byte, fs.FileMode, error)) *builder {
	return &builder{
		problems:   p,
		cfg:        cfg,
		readSecret: readSecret,
		secrets:    make(map[string]secretFile),
		routers:    make(map[string]pos),
		vips:       make(map[netip.Addr]owned),
		vrids:      make(map[vrid]vridOwner),
		routes:     make(map[routeKey]owned),
		rules:      make(map[network.Rule]owned),
		grouped:    make(map[string]owned),
		services:   make(map[string]pos),
		keys:       make(map[pool.Key]owned),
		vias:       make(map[via]bool),
	}
}

// build decodes a tree into cfg.
func build(cfg *Config, p *problems, root *node, readSecret func(name string) ([]byte, fs.FileMode, error)) {
	b := newBuilder(cfg, p, readSecret)
	b.defaults = root.field("defaults")
	decodeBlock(p, root, &b.raw)
	b.checkDefaults()
	b.inheritDefaults()
	b.defaultCheck = b.raw.Defaults.v.Check
	b.raw.Defaults.forget() // handed down; incomplete by nature
	finishBlock(p, &b.raw, root.at)
	b.daemon()
	b.buildRouters()
	b.buildSyncGroups()
	b.checkSharedSync()
	b.cfg.Balancer.Jobs = make(map[pool.CheckID]*check.Job)
	for i := range b.raw.Services.items {
		b.buildService(&b.raw.Services.items[i], root.field("services").items[i])
	}
	b.checkMarks()
}

// daemon builds what belongs to the process as a whole.
func (b *builder) daemon() {
	r := &b.raw
	b.cfg.Node = string(r.Node.v)
	b.cfg.StateDir = string(r.StateDir.v)
	b.cfg.MaintenanceDir = string(r.Marks.v)
	if r.Marks.ok() && r.Marks.v != "" && b.cfg.MaintenanceDir == b.cfg.StateDir {
		b.add(r.Marks.at, "maintenance_dir: %s is the state_dir, whose files are no servers; name a folder of its own", r.Marks.v)
	}
	b.cfg.API.Socket = string(r.API.v.Socket.v)
	b.cfg.Metrics.Listen = string(r.Metrics.v.Listen.v)
	b.cfg.Log = Log{Level: levels[r.Log.v.Level.v], Format: LogFormat(r.Log.v.Format.v)}
	ipvs := &r.IPVS.v
	b.cfg.Sysctls = Sysctls(ipvs.Sysctls.v)
	timeouts := &ipvs.Timeouts.v
	b.cfg.Balancer = balancer.Spec{
		Resync:        time.Duration(ipvs.Resync.v),
		RemoveForeign: ipvs.Foreign.v == "remove",
		Withdraw:      ipvs.OnStop.v == "withdraw",
		Cold:          ipvs.Standby.v == "cold",
		Timeouts: balancer.Timeouts{
			TCP:    time.Duration(timeouts.TCP.v),
			TCPFin: time.Duration(timeouts.TCPFin.v),
			UDP:    time.Duration(timeouts.UDP.v),
		},
	}
}

var levels = map[word]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"error": slog.LevelError,
}
