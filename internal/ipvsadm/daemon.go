package ipvsadm

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"baton/internal/ipvs"
)

// TimeoutsText is the line of "ipvsadm -L --timeout".
func TimeoutsText(t ipvs.Timeouts) string {
	d := TimeoutsDocumentOf(t)
	return fmt.Sprintf("Timeout (tcp tcpfin udp): %d %d %d\n", d.TCP, d.TCPFin, d.UDP)
}

// TimeoutsDocument is how long idle connections are kept, in JSON.
type TimeoutsDocument struct {
	TCP    int64 `json:"tcp_seconds"`
	TCPFin int64 `json:"tcp_fin_seconds"`
	UDP    int64 `json:"udp_seconds"`
}

// TimeoutsDocumentOf returns the document of the timeouts.
func TimeoutsDocumentOf(t ipvs.Timeouts) TimeoutsDocument {
	return TimeoutsDocument{int64(t.TCP / time.Second), int64(t.TCPFin / time.Second), int64(t.UDP / time.Second)}
}

// DaemonText has the lines of "ipvsadm -L --daemon", one for each sync daemon.
func DaemonText(list []ipvs.SyncDaemon) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%s sync daemon (mcast=%s, syncid=%d, maxlen=%d, group=%s, port=%d, ttl=%d)\n",
			d.Role, d.Interface, d.ID, d.MaxLen, d.Group, d.Port, d.TTL)
	}
	return b.String()
}

// DaemonsDocument are the sync daemons in JSON.
type DaemonsDocument struct {
	Daemons []DaemonDocument `json:"daemons"`
}

// DaemonDocument is one sync daemon.
type DaemonDocument struct {
	Role      string `json:"role"` // master, backup
	Interface string `json:"interface"`
	ID        uint8  `json:"id"`
	Group     string `json:"group"`
	Port      uint16 `json:"port"`
	TTL       uint8  `json:"ttl"`
	MaxLength uint16 `json:"max_length"`
}

// DaemonDocuments returns the document of the daemons.
func DaemonDocuments(list []ipvs.SyncDaemon) DaemonsDocument {
	out := DaemonsDocument{Daemons: make([]DaemonDocument, len(list))}
	for i, d := range list {
		out.Daemons[i] = DaemonDocument{d.Role.String(), d.Interface, d.ID, d.Group.String(), d.Port, d.TTL, d.MaxLen}
	}
	return out
}

// DaemonFlags are the settings of a sync daemon as text; what is empty or zero is
// the kernel's choice.
type DaemonFlags struct {
	Interface string
	ID        uint8
	Group     string
	Port      uint16
	TTL       uint8
	MaxLen    uint16
}

// Daemon returns the daemon in one role.
func (f DaemonFlags) Daemon(role ipvs.SyncRole) (ipvs.SyncDaemon, error) {
	d := ipvs.SyncDaemon{Role: role, Interface: f.Interface, ID: f.ID, Port: f.Port, TTL: f.TTL, MaxLen: f.MaxLen}
	if f.Group != "" {
		a, err := netip.ParseAddr(f.Group)
		if err != nil || !a.IsMulticast() || a.Zone() != "" {
			return d, fmt.Errorf("%q is no multicast address, such as 224.0.0.81", f.Group)
		}
		d.Group = a
	}
	if !validInterface(f.Interface) {
		return d, fmt.Errorf("%q is no interface; its name has 1 to 15 letters and digits", f.Interface)
	}
	return d, nil
}

// validInterface reports whether the kernel may have an interface of that name
// (dev_valid_name).
func validInterface(name string) bool {
	return name != "" && len(name) <= 15 && !strings.ContainsAny(name, "/: \t\n")
}
