package ipvsadm

import (
	"baton/internal/ipvs"
	"baton/internal/pool"
)

// Rule is one line: a command and what it is about.
type Rule struct {
	Line    int
	Command Command
	// Service is the service by its key, and with AddService and EditService its
	// settings. For [Zero] the zero key means all services.
	Service pool.VirtualService
	// Server is meaningful for the commands of servers; for DeleteServer only its
	// address and port count.
	Server   pool.RealServer
	Timeouts ipvs.Timeouts   // of SetTimeouts; zero: as it is
	Sync     ipvs.SyncDaemon // of StartDaemon and StopDaemon
}

// kinds are the changes that rules of services and servers are.
var kinds = map[Command]ipvs.OpKind{
	AddService: ipvs.NewService, EditService: ipvs.EditService, DeleteService: ipvs.DelService,
	AddServer: ipvs.NewServer, EditServer: ipvs.EditServer, DeleteServer: ipvs.DelServer,
}

// Op returns the rule as a change to the table; ok is false for rules that are
// none, such as those of timeouts.
func (r Rule) Op() (op ipvs.Op, ok bool) {
	kind, ok := kinds[r.Command]
	return ipvs.Op{Kind: kind, Service: r.Service, Server: r.Server}, ok
}
