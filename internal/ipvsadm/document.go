package ipvsadm

import (
	"strings"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// TableDocument is the table in JSON. Fields are added to it, never renamed or
// removed; those of a service and a server that the status of the daemon has too
// have its names.
type TableDocument struct {
	Version         string            `json:"version"`               // of the kernel's IPVS
	ConnectionTable uint32            `json:"connection_table_size"` // buckets
	Total           *Counters         `json:"total,omitempty"`
	TotalRates      *Counters         `json:"total_rates,omitempty"`
	Services        []ServiceDocument `json:"services"`
}

// ServiceDocument is one service.
type ServiceDocument struct {
	Address     string               `json:"address"`  // IP:port, or "fwmark N"
	Protocol    string               `json:"protocol"` // tcp, udp, sctp, fwmark
	Family      string               `json:"family"`   // inet, inet6
	Scheduler   string               `json:"scheduler"`
	Flags       []string             `json:"scheduler_flags"`
	OnePacket   bool                 `json:"one_packet"`
	Persistence *PersistenceDocument `json:"persistence"` // null: none
	Engine      string               `json:"persistence_engine,omitempty"`
	Packets     Counters             `json:"packets"`
	Rates       Counters             `json:"rates"`
	Servers     []RealServerDocument `json:"servers"`
}

// PersistenceDocument says how clients stay with their server.
type PersistenceDocument struct {
	Seconds uint32 `json:"timeout_seconds"`
	Prefix  uint8  `json:"netmask"` // prefix length; 0: the kernel has a mask that is none
}

// RealServerDocument is one server.
type RealServerDocument struct {
	Address    string          `json:"address"`
	Forward    string          `json:"forward"` // nat, dr, tun
	Tunnel     *TunnelDocument `json:"tunnel,omitempty"`
	Weight     uint32          `json:"weight"`
	Upper      uint32          `json:"upper"`
	Lower      uint32          `json:"lower"`
	Active     uint32          `json:"active"`
	Inactive   uint32          `json:"inactive"`
	Persistent uint32          `json:"persistent"`
	Packets    Counters        `json:"packets"`
	Rates      Counters        `json:"rates"`
}

// TunnelDocument is the encapsulation of a server with tunneling.
type TunnelDocument struct {
	Type     string `json:"type"` // ipip, gue, gre
	Port     uint16 `json:"port,omitempty"`
	Checksum string `json:"checksum,omitempty"` // none, checksum, remote-checksum
}

// Counters are the kernel's counters, or rates per second.
type Counters struct {
	Connections uint64 `json:"connections"`
	In          uint64 `json:"in"`
	Out         uint64 `json:"out"`
	InBytes     uint64 `json:"in_bytes"`
	OutBytes    uint64 `json:"out_bytes"`
}

// RestoredDocument is the outcome of rules in JSON.
type RestoredDocument struct {
	Done     int               `json:"done"`     // with --flush, changes that were made
	Failures []FailureDocument `json:"failures"` // rules that the kernel refused
	Mistakes []MistakeDocument `json:"mistakes"` // with any of them nothing was done
}

// FailureDocument is a rule that was not carried out.
type FailureDocument struct {
	Line  int    `json:"line"` // 0: what no rule names
	Error string `json:"error"`
}

// MistakeDocument is a mistake in a rule.
type MistakeDocument struct {
	Line   int    `json:"line"`
	Column int    `json:"column"` // 0: the rule as a whole
	Text   string `json:"text"`
}

// Document returns the outcome for JSON.
func (o Restored) Document() RestoredDocument {
	d := RestoredDocument{Done: o.Done, Failures: []FailureDocument{}, Mistakes: []MistakeDocument{}}
	for _, f := range o.Failures {
		d.Failures = append(d.Failures, FailureDocument{f.Line, f.Err.Error()})
	}
	return d
}

// Document returns the mistakes for JSON, as the outcome of rules of which none
// was carried out.
func (m Mistakes) Document() RestoredDocument {
	d := Restored{}.Document()
	for _, one := range m {
		d.Mistakes = append(d.Mistakes, MistakeDocument(one))
	}
	return d
}

// ConnectionDocument is one connection in JSON.
type ConnectionDocument struct {
	Protocol   string `json:"protocol"` // tcp, udp, sctp; fwmark: the persistence entry of such a service
	State      string `json:"state"`    // the kernel's word
	Client     string `json:"client"`
	Virtual    string `json:"virtual"`
	Server     string `json:"server"`
	Expires    int64  `json:"expires_seconds"`
	Persistent bool   `json:"persistent"`       // a persistence entry, not a connection
	Origin     string `json:"origin,omitempty"` // local, sync
	Engine     string `json:"persistence_engine,omitempty"`
	EngineData string `json:"persistence_data,omitempty"`
}

func connectionDocument(c ipvs.Connection) ConnectionDocument {
	return ConnectionDocument{
		Protocol: pool.Protocol(c.Protocol).String(), State: c.State,
		Client: c.Client.String(), Virtual: c.Virtual.String(), Server: c.Server.String(),
		Expires: int64(c.Expires / time.Second), Persistent: c.Template(),
		Origin: strings.ToLower(c.Origin.String()), Engine: c.Engine, EngineData: c.EngineData,
	}
}

// Document returns the table for JSON.
func (l Listing) Document() TableDocument {
	d := TableDocument{Version: l.Info.Version, ConnectionTable: l.Info.ConnectionTable, Services: make([]ServiceDocument, len(l.Services))}
	if l.Total != nil {
		total, rates := countersOf(*l.Total)
		d.Total, d.TotalRates = &total, &rates
	}
	for i, s := range l.Services {
		d.Services[i] = serviceDocument(s)
	}
	return d
}

func serviceDocument(s ipvs.Service) ServiceDocument {
	v := s.Settings
	d := ServiceDocument{
		Family: "inet", Scheduler: v.Scheduler, Flags: append([]string{}, flagNames(v.Scheduler, v.Flags)...),
		OnePacket: v.Flags&pool.OnePacket != 0, Engine: v.PersistenceEngine,
		Servers: make([]RealServerDocument, len(s.Servers)),
	}
	d.Protocol, d.Address, _ = strings.Cut(v.Key.String(), " ")
	if v.FWMark != 0 {
		d.Address = strings.TrimSuffix(v.Key.String(), " inet6")
	}
	if v.IPv6 {
		d.Family = "inet6"
	}
	if v.Flags&pool.Persistent != 0 {
		d.Persistence = &PersistenceDocument{v.PersistenceSeconds, v.PersistencePrefix}
	}
	d.Packets, d.Rates = countersOf(s.Stats)
	for i, srv := range s.Servers {
		d.Servers[i] = serverDocument(srv)
	}
	return d
}

func serverDocument(s ipvs.Server) RealServerDocument {
	d := RealServerDocument{
		Address: s.AddrPort().String(), Forward: s.Forward.String(), Weight: s.Weight, Upper: s.Upper, Lower: s.Lower,
		Active: s.Active, Inactive: s.Inactive, Persistent: s.Persistent,
	}
	if s.Forward == pool.TUN {
		d.Tunnel = tunnelDocument(s.Tunnel)
	}
	d.Packets, d.Rates = countersOf(s.Stats)
	return d
}

func tunnelDocument(t pool.Tunnel) *TunnelDocument {
	d := TunnelDocument{Type: "ipip"}
	for name, known := range tunnelTypes {
		if known.typ == t.Type {
			d.Type = name
		}
	}
	if t.Type == pool.IPIP {
		return &d
	}
	d.Port = t.Port
	if sums := [...]string{"none", "checksum", "remote-checksum"}; int(t.Flags) < len(sums) {
		d.Checksum = sums[t.Flags]
	}
	return &d
}

func countersOf(s ipvs.Stats) (total, rates Counters) {
	return Counters{s.Connections, s.PacketsIn, s.PacketsOut, s.BytesIn, s.BytesOut},
		Counters{s.ConnectionRate, s.PacketRateIn, s.PacketRateOut, s.ByteRateIn, s.ByteRateOut}
}
