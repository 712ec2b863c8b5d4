package director

import (
	"context"
	"net"
	"time"

	"baton/internal/config"
	"baton/internal/ipvs"
)

// syncSpec is what the configuration says.
type syncSpec struct {
	daemon  ipvs.SyncDaemon // without a role
	routers []string        // that it follows; empty: off
	waits   map[string]bool // those that wait for the connections before they preempt
	manage  bool            // the kernel's settings
	settled bool            // and they were looked at, or the file has them
	every   time.Duration   // at which the table is read
}

// syncSpecOf takes what the keeper needs from a configuration.
func syncSpecOf(cfg *config.Config) syncSpec {
	s := syncSpec{
		waits:  map[string]bool{},
		manage: cfg.Sysctls == config.SysctlsManage,
		every:  max(time.Second, cfg.Balancer.Resync),
	}
	for _, c := range cfg.ConnectionSync {
		s.settled = c.Timing.Written // what the file says is seen to elsewhere
		s.routers = append(s.routers, c.Router)
		s.daemon = ipvs.SyncDaemon{
			Interface: c.Interface, ID: c.ID, Group: c.Group, Port: c.Port, TTL: c.TTL, MaxLen: c.MaxLen,
		}
	}
	for _, r := range cfg.Routers {
		s.waits[r.Name] = r.PreemptAfterSync > 0
	}
	return s
}

// newSync makes the keeper for the director.
func (d *Director) newSync(cfg *config.Config) *syncKeeper {
	var ours bool
	if _, err := d.store.load(syncFile, &ours); err != nil {
		d.log.Warn("whether an earlier run left a connection sync daemon is not known", "error", err)
	}
	k := newSyncKeeper(syncWorld{
		open: func(ctx context.Context) (syncKernel, error) {
			k, err := ipvs.Open(ctx, ipvs.Options{})
			if err != nil {
				return nil, err
			}
			return k, nil
		},
		index: func(ifname string) (int, error) {
			i, err := net.InterfaceByName(ifname)
			if err != nil {
				return 0, err
			}
			return i.Index, nil
		},
		routers:  d.pulse.status.Load,
		services: d.balancer.Status,
		settle:   func(manage bool) { d.settings.once(neededSyncSysctls(), manage, time.Now()) },
		refresh:  syncRefresh,
		caughtUp: d.pulse.synced,
		event:    d.event,
		remember: d.keepSync,
		log:      d.log,
	}, ours)
	k.configure(cfg)
	return k
}

func (d *Director) keepSync(ours bool) {
	if err := d.store.save(syncFile, ours); err != nil {
		d.log.Warn("that the connection sync daemon is ours could not be kept; it will outlive a crash "+
			"after which connection_sync is no longer configured", "error", err)
	}
}
