package config

import (
	"fmt"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"baton/internal/check"
)

// rawCheck is a check; "none" is the short form of {none: {}}.
type rawCheck struct {
	Interval     value[span]       `key:"interval" range:"10ms..24h" default:"2s"`
	Timeout      value[span]       `key:"timeout" range:"1ms..1h" default:"1s"`
	Rise         value[number]     `key:"rise" range:"1..1000" default:"2"`
	Fall         value[number]     `key:"fall" range:"1..1000" default:"3"`
	FastInterval value[span]       `key:"fast_interval" range:"10ms..24h"`
	Jitter       value[percent]    `key:"jitter" range:"0..50" default:"10"`
	Connect      block[rawConnect] `key:"connect"`

	TCP   block[rawTCP]   `key:"tcp"`
	HTTP  block[rawHTTP]  `key:"http"`
	HTTPS block[rawHTTPS] `key:"https"`
	None  block[rawNone]  `key:"none"`
}

type rawConnect struct {
	Address   value[address] `key:"address"`
	Port      value[number]  `key:"port" range:"1..65535"`
	Source    value[address] `key:"source"`
	Interface value[device]  `key:"interface"`
	FWMark    value[number]  `key:"fwmark" range:"0..4294967295" default:"0"`
}

type rawTCP struct {
	Send        value[text]    `key:"send"`
	Expect      value[text]    `key:"expect"`
	ExpectRegex value[pattern] `key:"expect_regex"`
	TLS         block[rawTLS]  `key:"tls"`
}

type rawHTTP struct {
	Method          value[token]        `key:"method" default:"GET"`
	Path            value[urlPath]      `key:"path" default:"/"`
	Host            value[host]         `key:"host"`
	Headers         headers             `key:"headers"`
	Body            value[text]         `key:"body"`
	Status          some[value[status]] `key:"status"`
	ExpectBody      value[text]         `key:"expect_body"`
	ExpectBodyRegex value[pattern]      `key:"expect_body_regex"`
	Version         value[word]         `key:"version" oneof:"1.0 1.1" default:"1.1"`
	Username        value[text]         `key:"username"`
	PasswordFile    value[path]         `key:"password_file"`
	Follow          value[number]       `key:"follow" range:"0..10" default:"0"`
	MaxBody         value[size]         `key:"max_body" range:"1..16777216" default:"64KiB"`
	TLS             block[rawTLS]       `key:"tls"`
}

// rawHTTPS has the keys of rawHTTP under another name.
type rawHTTPS rawHTTP

type rawTLS struct {
	ServerName  value[host]    `key:"server_name"`
	Verify      value[boolean] `key:"verify" default:"true"`
	CAFile      value[path]    `key:"ca_file"`
	CertFile    value[path]    `key:"cert_file"`
	KeyFile     value[path]    `key:"key_file"`
	MinDaysLeft value[number]  `key:"min_days_left" range:"0..3650" default:"0"`
}

type rawNone struct{}

func (c *rawCheck) decodeShort(_ *problems, _ *rule, n *node) bool {
	c.None.set, c.None.at = n.text == "none", n.at
	return c.None.set
}

func (*rawCheck) shortForm() string { return "none, or a mapping such as {tcp: {}}" }

func (rawCheck) kind() string   { return "check" }
func (rawConnect) kind() string { return "connect" }
func (rawTCP) kind() string     { return "tcp" }
func (rawHTTP) kind() string    { return "http" }
func (rawHTTPS) kind() string   { return "https" }
func (rawTLS) kind() string     { return "tls" }
func (rawNone) kind() string    { return "none" }

// token is a method of HTTP.
type token string

func (v *token) parse(n *node, _ *rule) error {
	if !httpguts.ValidHeaderFieldName(n.text) || strings.ToUpper(n.text) != n.text || n.text == "CONNECT" {
		return fmt.Errorf("%s is not a method", quote(n.text))
	}
	*v = token(n.text)
	return nil
}

func (*token) allowed(*rule) string { return "a method in capitals, such as GET or HEAD" }

// urlPath is what a request asks for.
type urlPath string

func (v *urlPath) parse(n *node, _ *rule) error {
	outside := func(r rune) bool { return r <= ' ' || r > '~' || r == '#' }
	if !strings.HasPrefix(n.text, "/") || strings.ContainsFunc(n.text, outside) {
		return fmt.Errorf("%s is not a path", quote(n.text))
	}
	*v = urlPath(n.text)
	return nil
}

func (*urlPath) allowed(*rule) string {
	return "a path from / on, with its query, in ASCII without spaces and #"
}

// host is the name of a host, with or without a port.
type host string

func (v *host) parse(n *node, _ *rule) error {
	if n.text == "" || len(n.text) > 260 || !httpguts.ValidHostHeader(n.text) || strings.ContainsAny(n.text, "/@") {
		return fmt.Errorf("%s is not a host name", quote(n.text))
	}
	*v = host(n.text)
	return nil
}

func (*host) allowed(*rule) string { return "a host name or address" }

// status is one status code of HTTP or a range of them.
type status check.StatusRange

func (v *status) parse(n *node, _ *rule) error {
	low, high, isRange := strings.Cut(n.text, "-")
	if !isRange {
		high = low
	}
	from, errFrom := strconv.Atoi(low)
	to, errTo := strconv.Atoi(high)
	if errFrom != nil || errTo != nil || len(low) != 3 || len(high) != 3 || from < 100 || from > to || to > 599 {
		return fmt.Errorf("%s is not a status", quote(n.text))
	}
	*v = status{from, to}
	return nil
}

func (*status) allowed(*rule) string {
	return "a status code from 100 to 599, or a range such as 200-299"
}

// headers are header fields of a request, by canonical name.
type headers struct {
	at    pos
	set   bool
	pairs map[string]string
}

// reservedHeaders follow from other keys of the check.
var reservedHeaders = map[string]string{
	"Host":              "use the key host",
	"Content-Length":    "it follows from body",
	"Transfer-Encoding": "it follows from body",
	"Connection":        "each probe has a connection of its own",
	"Authorization":     "use username and password_file: secrets have no place in this file",
}

func (h *headers) decode(p *problems, r *rule, n *node) {
	h.at, h.set = n.at, true
	if n.kind != mappingNode {
		wrongKind(p, r, n, "a mapping of header names to values")
		return
	}
	h.pairs = make(map[string]string, len(n.fields))
	seen := make(map[string]*entry, len(n.fields))
	for _, e := range n.fields {
		key := textproto.CanonicalMIMEHeaderKey(e.key)
		hint, reserved := reservedHeaders[key]
		switch first := seen[key]; {
		case !httpguts.ValidHeaderFieldName(e.key):
			p.add(e.at, "%s: %s is not the name of a header", r.key, quote(e.key))
		case reserved:
			p.add(e.at, "%s: %s cannot be set here: %s", r.key, e.key, hint)
		case first != nil:
			p.add(e.at, "%s: %s is given twice, names have no case; first at %s", r.key, e.key, first.at)
		case e.value.kind != scalarNode || e.value.null || !httpguts.ValidHeaderFieldValue(e.value.text):
			p.add(e.value.at, "%s: %s: found %s; allowed: text in one line", r.key, e.key, e.value.found())
		default:
			h.pairs[key] = e.value.text
		}
		seen[key] = e
	}
}

func (h *headers) inherit(from any) {
	if !h.set {
		*h = *from.(*headers)
	}
}

func (h *headers) finish(*problems, *rule, string, pos) {}

func (h *headers) isSet() (pos, bool) { return h.at, h.set }

func (h *headers) forget() { *h = headers{} }
