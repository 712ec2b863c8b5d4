package maintenance

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mark is a file of the folder.
type Mark struct {
	Name  string
	Since time.Time    // when it was written
	Hosts []netip.Addr // that its name stands for, where it is a host's
	// Pending: it may be the name of a host and has not been looked up yet.
	Pending bool
}

// Marks are the files of a folder. They do not change.
type Marks struct {
	Dir  string
	list []Mark // by name

	byAddress map[netip.Addr]int
	byPlace   map[netip.AddrPort]int
	byName    map[string]int
}

// newMarks makes them of files, sorted by name.
func newMarks(dir string, list []Mark) *Marks {
	m := &Marks{
		Dir: dir, list: list,
		byAddress: make(map[netip.Addr]int), byPlace: make(map[netip.AddrPort]int), byName: make(map[string]int),
	}
	for i, f := range list {
		n := parseName(f.Name)
		m.byName[f.Name] = i
		addresses := f.Hosts
		if n.address.IsValid() {
			addresses = []netip.Addr{n.address}
		}
		for _, a := range addresses {
			if n.port == 0 {
				m.byAddress[a] = i
			} else {
				m.byPlace[netip.AddrPortFrom(a, n.port)] = i
			}
		}
	}
	return m
}

// All returns the files, sorted by name.
func (m *Marks) All() []Mark {
	if m == nil {
		return nil
	}
	return m.list
}

// Of returns the file that is named like a server, by its address, its address and
// port, or its name, which may be shortened to what stands before the first dot,
// with or without the port; nil: there is none. A server without a port of its own
// has port 0.
func (m *Marks) Of(name string, at netip.AddrPort) *Mark {
	if m == nil || len(m.list) == 0 {
		return nil
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	if i, ok := m.byPlace[at]; ok {
		return &m.list[i]
	}
	if i, ok := m.byAddress[at.Addr()]; ok {
		return &m.list[i]
	}
	for _, n := range shortened(name) {
		if i, ok := m.byName[n]; ok {
			return &m.list[i]
		}
		if i, ok := m.byName[n+":"+strconv.Itoa(int(at.Port()))]; ok && at.Port() != 0 {
			return &m.list[i]
		}
	}
	return nil
}

// Reason says why a server is to drain; empty: it need not.
func (m *Marks) Reason(name string, at netip.AddrPort) string {
	f := m.Of(name, at)
	if f == nil {
		return ""
	}
	return fmt.Sprintf("file %s exists since %s", filepath.Join(m.Dir, f.Name), f.Since.Local().Format("2006-01-02 15:04"))
}

// equal reports whether both say the same of all servers.
func (m *Marks) equal(o *Marks) bool {
	return m.Dir == o.Dir && slices.EqualFunc(m.list, o.list, func(a, b Mark) bool {
		return a.Name == b.Name && a.Since.Equal(b.Since) && a.Pending == b.Pending && slices.Equal(a.Hosts, b.Hosts)
	})
}

// shortened returns a name, and what stands before its first dot where it has one.
func shortened(name string) []string {
	if name == "" {
		return nil
	}
	if short, _, dotted := strings.Cut(name, "."); dotted && short != "" {
		return []string{name, short}
	}
	return []string{name}
}

// fileName is what the name of a file may mean.
type fileName struct {
	address netip.Addr // invalid: it is none
	host    string     // what may be the name of a server or a host
	port    uint16     // 0: all ports
}

// parseName takes a name apart: 10.0.0.11, 10.0.0.11:80, fd00::11, [fd00::11],
// [fd00::11]:80, web1, web1:80.
func parseName(name string) fileName {
	if ap, err := netip.ParseAddrPort(name); err == nil {
		return fileName{address: ap.Addr().Unmap(), port: ap.Port()}
	}
	bare := name
	if inner, ok := strings.CutPrefix(name, "["); ok {
		bare = strings.TrimSuffix(inner, "]")
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		return fileName{address: a.Unmap()}
	}
	host, port, cut := strings.Cut(name, ":")
	if !cut {
		return fileName{host: name}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fileName{}
	}
	return fileName{host: host, port: uint16(n)}
}

// isHost reports whether a text can be the name of a host (RFC 1123).
func isHost(text string) bool {
	if text == "" || len(text) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return true
}
