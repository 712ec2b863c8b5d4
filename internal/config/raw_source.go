package config

import (
	"fmt"
	"net/url"
)

// rawSource is where servers are found: one of the first three keys says where.
type rawSource struct {
	File   value[path]    `key:"file"`
	DNS    value[dnsName] `key:"dns"`
	Consul value[webURL]  `key:"consul"`

	Type      value[word]           `key:"type" oneof:"A AAAA SRV"`
	Port      value[number]         `key:"port" range:"1..65535"`
	Resolvers some[value[endpoint]] `key:"resolver"`

	Service    value[text]       `key:"service"`
	Tags       some[value[text]] `key:"tag"`
	Datacenter value[name]       `key:"datacenter"`
	Namespace  value[name]       `key:"namespace"`
	TokenFile  value[secretPath] `key:"token_file"`
	CAFile     value[path]       `key:"ca_file"`
	ServerName value[hostName]   `key:"server_name"`
}

func (rawSource) kind() string { return "source" }

// webURL is the address of a server that speaks HTTP.
type webURL string

func (v *webURL) parse(n *node, _ *rule) error {
	u, err := url.Parse(n.text)
	var h host
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || h.parse(&node{text: u.Host}, nil) != nil:
		return fmt.Errorf("%s is not the URL of a server", quote(withoutUser(n.text, u)))
	case u.User != nil:
		return fmt.Errorf("%s has a user in it; write a token_file", quote(withoutUser(n.text, u)))
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return fmt.Errorf("%s has more than a server in it", quote(u.Scheme+"://"+u.Host+u.Path+"…"))
	}
	*v = webURL(n.text)
	return nil
}

// withoutUser returns what of a URL may be shown.
func withoutUser(text string, u *url.URL) string {
	if u == nil || u.User == nil {
		return text
	}
	return u.Redacted()
}

func (*webURL) allowed(*rule) string { return "http:// or https://, a host and a port" }
