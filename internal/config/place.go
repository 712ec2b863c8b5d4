package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
)

// path is the absolute path of a file or folder.
type path string

func (v *path) parse(n *node, _ *rule) error {
	if !filepath.IsAbs(n.text) || strings.ContainsRune(n.text, 0) {
		return fmt.Errorf("%s is not an absolute path", quote(n.text))
	}
	*v = path(filepath.Clean(n.text))
	return nil
}

func (*path) allowed(*rule) string { return "an absolute path" }

// folder is the absolute path of a folder, or empty: none.
type folder string

func (v *folder) parse(n *node, r *rule) error {
	if n.text == "" {
		return nil
	}
	return (*path)(v).parse(n, r)
}

func (*folder) allowed(*rule) string { return "the absolute path of a folder, or \"\" for none" }

// secretPath is the absolute path of a file that holds a secret.
type secretPath string

func (v *secretPath) parse(n *node, r *rule) error {
	var p path
	if err := p.parse(n, r); err != nil {
		return errors.New("found text that is no path; it is not shown here because it may be the secret itself")
	}
	*v = secretPath(p)
	return nil
}

func (*secretPath) allowed(*rule) string { return "the absolute path of a file with the secret" }

// maxSocket is what a unix socket's address holds (unix(7)), less the final 0.
const maxSocket = 107

// socket is the path of a unix socket.
type socket string

func (v *socket) parse(n *node, r *rule) error {
	var p path
	if err := p.parse(n, r); err != nil {
		return err
	}
	if len(p) > maxSocket {
		return fmt.Errorf("%s has %d bytes", quote(n.text), len(p))
	}
	*v = socket(p)
	return nil
}

func (*socket) allowed(*rule) string {
	return fmt.Sprintf("an absolute path of at most %d bytes", maxSocket)
}

// device is the name of a network interface (dev_valid_name of the kernel).
type device string

var deviceForm = regexp.MustCompile(`^[!-.0-9;-~]{1,15}$`) // no space, slash or colon

func (v *device) parse(n *node, _ *rule) error {
	if !deviceForm.MatchString(n.text) || n.text == "." || n.text == ".." {
		return fmt.Errorf("%s is not an interface name", quote(n.text))
	}
	*v = device(n.text)
	return nil
}

func (*device) allowed(*rule) string {
	return "an interface name of up to 15 characters without space, slash or colon"
}

// dnsName is a name to ask a DNS server for.
type dnsName string

func (v *dnsName) parse(n *node, _ *rule) error {
	name := strings.TrimSuffix(n.text, ".")
	if n.text != "." {
		for label := range strings.SplitSeq(name, ".") {
			if len(label) < 1 || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }) {
				return fmt.Errorf("%s is not a domain name", quote(n.text))
			}
		}
	}
	if len(name) > 253 {
		return fmt.Errorf("%s is longer than 253 characters", quote(n.text))
	}
	*v = dnsName(n.text)
	return nil
}

func (*dnsName) allowed(*rule) string {
	return "a domain name such as www.example.net, or . for the root"
}

// listen is a TCP address to listen on.
type listen string

func (v *listen) parse(n *node, _ *rule) error {
	full := n.text
	if strings.HasPrefix(full, ":") {
		full = "[::]" + full
	}
	if ap, err := netip.ParseAddrPort(full); err != nil || ap.Port() == 0 {
		return fmt.Errorf("%s is not an address and port", quote(n.text))
	}
	*v = listen(n.text)
	return nil
}

func (*listen) allowed(*rule) string {
	return "IP:port, [IPv6]:port, or :port for all addresses"
}

// label is the name of an address (ifa_label of the kernel).
type label string

var labelForm = regexp.MustCompile(`^[!-.0-~]{1,15}$`) // no space and no slash

func (v *label) parse(n *node, _ *rule) error {
	if !labelForm.MatchString(n.text) {
		return fmt.Errorf("%s is not a label", quote(n.text))
	}
	*v = label(n.text)
	return nil
}

func (*label) allowed(*rule) string {
	return "up to 15 characters without space and slash, such as eth0:web"
}
