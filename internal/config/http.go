package config

import (
	"crypto/md5" //nolint:gosec // the digest that keepalived compares pages by
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"baton/internal/check"
)

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

func (*host) allowed(*rule) string { return "a host name or address, with or without a port" }

// hostName is the name of a host without a port, or an address.
type hostName string

func (v *hostName) parse(n *node, r *rule) error {
	var h host
	if _, err := netip.ParseAddr(n.text); err != nil && strings.Contains(n.text, ":") || h.parse(n, r) != nil {
		return fmt.Errorf("%s is not a host name", quote(n.text))
	}
	*v = hostName(n.text)
	return nil
}

func (*hostName) allowed(*rule) string { return "a host name or address without a port" }

// digest is an MD5 digest in hex, in lower case.
type digest string

func (v *digest) parse(n *node, _ *rule) error {
	if b, err := hex.DecodeString(n.text); err != nil || len(b) != md5.Size {
		return fmt.Errorf("%s is not an MD5 digest", quote(n.text))
	}
	*v = digest(strings.ToLower(n.text))
	return nil
}

func (*digest) allowed(*rule) string { return "32 hex digits, as md5sum prints them" }

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
