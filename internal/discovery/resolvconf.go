package discovery

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	defaultResolvConf = "/etc/resolv.conf"
	dnsPort           = 53
	// Bounds of resolv.conf(5), MAXNS, RES_MAXRETRANS and RES_MAXRETRY. The time is
	// less, because an answer after it is of no use here.
	maxResolvers  = 3
	maxDNSTimeout = 10 * time.Second
	maxAttempts   = 5
)

// resolving says who is asked, and how patiently.
type resolving struct {
	servers  []netip.AddrPort
	timeout  time.Duration // for one question to one server
	attempts int           // rounds over the servers
}

// readResolvConf reads the resolvers of the host. Without the file, or without any
// in it, it is the one of the host itself, as in resolv.conf(5).
func readResolvConf(path string) (resolving, error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return resolving{}, err
	}
	return parseResolvConf(data), nil
}

func parseResolvConf(data []byte) resolving {
	r := resolving{timeout: 5 * time.Second, attempts: 2}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text, _, _ = strings.Cut(text, ";")
		words := strings.Fields(text)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil && len(r.servers) < maxResolvers {
				r.servers = append(r.servers, netip.AddrPortFrom(a.Unmap(), dnsPort))
			}
		case "options":
			for _, o := range words[1:] {
				r.option(o)
			}
		}
	}
	if len(r.servers) == 0 {
		r.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	}
	return r
}

// option takes those that matter here. The search list does not: names in the
// configuration are complete.
func (r *resolving) option(o string) {
	key, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return
	}
	switch key {
	case "timeout":
		r.timeout = min(time.Duration(min(n, 60))*time.Second, maxDNSTimeout)
	case "attempts":
		r.attempts = min(n, maxAttempts)
	}
}
