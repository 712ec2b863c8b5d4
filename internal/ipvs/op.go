package ipvs

import (
	"fmt"

	"baton/internal/pool"
)

// OpKind is one of the six changes that can be made to the table.
type OpKind uint8

// The changes, in the order of the kernel's commands (IPVS_CMD_*).
const (
	NewService OpKind = iota + 1
	EditService
	DelService // with all its servers
	NewServer
	EditServer
	DelServer
)

// String returns a short name, fit for a metric's label: new_service,
// edit_service, del_service, new_server, edit_server, del_server.
func (k OpKind) String() string {
	switch k {
	case NewService:
		return "new_service"
	case EditService:
		return "edit_service"
	case DelService:
		return "del_service"
	case NewServer:
		return "new_server"
	case EditServer:
		return "edit_server"
	case DelServer:
		return "del_server"
	}
	return fmt.Sprintf("op_%d", uint8(k))
}

// ofServer reports whether the change is to a server and not to a service.
func (k OpKind) ofServer() bool { return k >= NewServer }

// Op is one change to the table.
type Op struct {
	Kind OpKind
	// Service is the service to change, or the one that the server belongs to.
	// Its servers are ignored; for DelService and the server ops only its key
	// counts.
	Service pool.VirtualService
	// Server is meaningful for the server ops; for DelServer only its address
	// and port count.
	Server pool.RealServer
}

// String says what the op does, in words: "add server 10.0.0.11:80 to tcp
// 10.0.0.100:80".
func (o Op) String() string {
	switch o.Kind {
	case NewService:
		return "add service " + o.Service.Key.String()
	case EditService:
		return "change service " + o.Service.Key.String()
	case DelService:
		return "delete service " + o.Service.Key.String()
	case NewServer:
		return fmt.Sprintf("add server %v to %v", o.Server.AddrPort(), o.Service.Key)
	case EditServer:
		return fmt.Sprintf("change server %v of %v", o.Server.AddrPort(), o.Service.Key)
	case DelServer:
		return fmt.Sprintf("delete server %v from %v", o.Server.AddrPort(), o.Service.Key)
	}
	return o.Kind.String()
}

// equal reports whether both ops ask the kernel for exactly the same.
func (o Op) equal(p Op) bool {
	if o.Kind != p.Kind || o.Service.Key != p.Service.Key {
		return false
	}
	if o.Kind.ofServer() {
		return o.Server == p.Server
	}
	return o.Service.EqualSettings(p.Service)
}
