package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// MaxServers is how many servers a source may name. An answer with more is taken
// for a mistake.
const MaxServers = 1024

// Source says where servers are found. Exactly one of the three is set.
type Source struct {
	File   string  `json:",omitempty"` // absolute path
	DNS    *DNS    `json:",omitempty"`
	Consul *Consul `json:",omitempty"`
}

// DNS is a source in the DNS.
type DNS struct {
	Name      string
	Type      string           // A, AAAA or SRV
	Port      uint16           `json:",omitempty"` // A and AAAA: of the servers; 0: the service's
	IPv6      bool             `json:",omitempty"` // SRV: the targets' addresses are AAAA records
	Resolvers []netip.AddrPort `json:",omitempty"` // none: those of /etc/resolv.conf
}

// Consul is a service in the catalogue of Consul.
type Consul struct {
	URL        string   // of the agent: http or https, host and port
	Service    string   // its name there
	Tags       []string `json:",omitempty"` // that an instance has all of
	Datacenter string   `json:",omitempty"` // empty: the agent's
	Namespace  string   `json:",omitempty"` // Consul Enterprise only
	TokenFile  string   `json:",omitempty"` // read at each request; never printed
	CAFile     string   `json:",omitempty"` // https; empty: the system's
	ServerName string   `json:",omitempty"` // https: the name in its certificate; empty: the URL's
}

// Kind returns the key that the configuration has for the source: file, dns or
// consul.
func (s Source) Kind() string {
	switch {
	case s.DNS != nil:
		return "dns"
	case s.Consul != nil:
		return "consul"
	}
	return "file"
}

// Target says in one line what is asked for. Two sources of a service with the
// same kind and target are the same.
func (s Source) Target() string {
	switch {
	case s.DNS != nil:
		t := s.DNS.Name + " " + s.DNS.Type
		if s.DNS.Port != 0 {
			t += fmt.Sprintf(" port %d", s.DNS.Port)
		}
		return t
	case s.Consul != nil:
		return s.Consul.target()
	}
	return s.File
}

func (c *Consul) target() string {
	t := c.URL + " " + c.Service
	for _, part := range []struct{ key, value string }{
		{"tag", strings.Join(c.Tags, ",")}, {"datacenter", c.Datacenter}, {"namespace", c.Namespace},
	} {
		if part.value != "" {
			t += " " + part.key + " " + part.value
		}
	}
	return t
}

// String is the kind and the target, as logs, events and metrics name the source.
func (s Source) String() string { return s.Kind() + " " + s.Target() }

// Server is a server that a source names.
type Server struct {
	Address netip.Addr `json:"address"`
	Port    uint16     `json:"port,omitempty"`   // 0: the service's
	Weight  uint32     `json:"weight,omitempty"` // 0: not said, unless Entry says it
	Backup  bool       `json:"backup,omitempty"` // serves only while the others do not suffice
	// Entry is all that a file says of the server, in a form that only its parser
	// knows; nil for other sources.
	Entry json.RawMessage `json:"entry,omitempty"`

	// Place is where a file says it, as "file:line:column", for messages. Two
	// servers that differ in nothing else are equal.
	Place string `json:"-"`
}

// AddrPort returns the server's address and port, by which it is known.
func (s Server) AddrPort() netip.AddrPort { return netip.AddrPortFrom(s.Address, s.Port) }

// String returns the address, with the port if the source names one.
func (s Server) String() string {
	if s.Port == 0 {
		return s.Address.String()
	}
	return s.AddrPort().String()
}

// Equal reports whether both are the same server with the same settings.
func (s Server) Equal(o Server) bool {
	return s.AddrPort() == o.AddrPort() && s.Weight == o.Weight && s.Backup == o.Backup && bytes.Equal(s.Entry, o.Entry)
}

// Compare orders servers by address and port.
func (s Server) Compare(o Server) int { return s.AddrPort().Compare(o.AddrPort()) }
