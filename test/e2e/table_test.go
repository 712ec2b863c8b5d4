//go:build vm

package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"baton/internal/api"
	"baton/test/lab"
	"baton/test/scene"
)

// table is a virtual server table, as far as both ipvsadm and baton's status show
// it, sorted.
type table []virtual

type virtual struct {
	Key       string // tcp 10.0.0.100:80
	Scheduler string
	Servers   []server
}

type server struct {
	Address          string
	Forward          scene.Forward
	Weight           uint32
	Active, Inactive uint32
}

func (t table) sort() table {
	slices.SortFunc(t, func(a, b virtual) int { return strings.Compare(a.Key, b.Key) })
	for _, v := range t {
		slices.SortFunc(v.Servers, func(a, b server) int { return strings.Compare(a.Address, b.Address) })
	}
	return t
}

// idle is the table without its connections.
func (t table) idle() table {
	out := make(table, len(t))
	for i, v := range t {
		out[i] = virtual{v.Key, v.Scheduler, slices.Clone(v.Servers)}
		for j := range out[i].Servers {
			out[i].Servers[j].Active, out[i].Servers[j].Inactive = 0, 0
		}
	}
	return out
}

// find returns a service, or nil.
func (t table) find(key string) *virtual {
	for i := range t {
		if t[i].Key == key {
			return &t[i]
		}
	}
	return nil
}

// server returns a server, or nil.
func (v *virtual) server(address string) *server {
	if v == nil {
		return nil
	}
	for i := range v.Servers {
		if v.Servers[i].Address == address {
			return &v.Servers[i]
		}
	}
	return nil
}

// partOf returns an error if another table does not have all of this one.
func (t table) partOf(have table) error { return have.missing(t) }

// missing says what of want is not there as it should be; connections do not
// count.
func (t table) missing(want table) error {
	have := t.idle()
	for _, v := range want.idle() {
		got := have.find(v.Key)
		if got == nil {
			return fmt.Errorf("the service %s is missing", v.Key)
		}
		for _, s := range v.Servers {
			switch g := got.server(s.Address); {
			case g == nil:
				return fmt.Errorf("the server %s of %s is missing", s.Address, v.Key)
			case *g != s:
				return fmt.Errorf("the server %s of %s is %+v, not %+v", s.Address, v.Key, *g, s)
			}
		}
	}
	return nil
}

var forwards = map[string]scene.Forward{"Masq": scene.NAT, "Route": scene.DR, "Tunnel": scene.TUN}

// parseTable reads what "ipvsadm -Ln" prints, and the kernel's /proc/net/ip_vs,
// which has the same form with addresses in hexadecimal.
func parseTable(text string) (table, error) {
	var out table
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 3 && f[0] == "FWM":
			key, rest := "fwmark "+f[1], f[2:]
			if rest[0] == "IPv6" && len(rest) > 1 {
				key, rest = key+" inet6", rest[1:]
			}
			out = append(out, virtual{Key: key, Scheduler: rest[0]})
		case len(f) >= 3 && (f[0] == "TCP" || f[0] == "UDP" || f[0] == "SCTP"):
			at, err := parseAddress(f[1])
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			out = append(out, virtual{Key: strings.ToLower(f[0]) + " " + at, Scheduler: f[2]})
		case len(f) == 6 && f[0] == "->" && forwards[f[2]] != "":
			s := server{Forward: forwards[f[2]]}
			var err error
			if s.Address, err = parseAddress(f[1]); err != nil || len(out) == 0 {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			for i, to := range []*uint32{&s.Weight, &s.Active, &s.Inactive} {
				n, err := strconv.ParseUint(f[3+i], 10, 32)
				if err != nil {
					return nil, fmt.Errorf("%q: %w", line, err)
				}
				*to = uint32(n)
			}
			v := &out[len(out)-1]
			v.Servers = append(v.Servers, s)
		case strings.HasPrefix(line, "IP Virtual Server"), len(f) > 1 && (f[0] == "Prot" || f[1] == "RemoteAddress:Port"):
		default:
			return nil, fmt.Errorf("%q is not understood", line)
		}
	}
	return out.sort(), nil
}

// parseAddress reads 10.0.0.100:80, [fd00::1]:80, 0A000064:0050 and
// [fd00:0000:…:0001]:0050.
func parseAddress(text string) (string, error) {
	host, port, ok := strings.Cut(text, ":")
	if strings.HasPrefix(text, "[") {
		i := strings.LastIndex(text, "]:")
		if i < 0 {
			return "", fmt.Errorf("%q is no address with a port", text)
		}
		addr, err := netip.ParseAddr(text[1:i])
		if err != nil {
			return "", err
		}
		// Only the kernel writes the groups of an address in full.
		port, base := text[i+2:], 10
		if len(text[1:i]) == len("0000:0000:0000:0000:0000:0000:0000:0000") {
			base = 16
		}
		n, err := strconv.ParseUint(port, base, 16)
		return netip.AddrPortFrom(addr, uint16(n)).String(), err
	}
	if raw, err := hex.DecodeString(host); ok && err == nil && len(raw) == 4 {
		n, err := strconv.ParseUint(port, 16, 16)
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw)), uint16(n)).String(), err
	}
	at, err := netip.ParseAddrPort(text)
	return at.String(), err
}

// admTable is what ipvsadm sees on a director.
func admTable(t *testing.T, d *scene.Director) table {
	t.Helper()
	out, err := parseTable(ipvsadm(t, d, "-Ln"))
	must(t, err)
	return out
}

// kernelTable is the same from /proc, which takes no program to read.
func kernelTable(h *lab.Host) (table, error) {
	var text []byte
	err := h.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/ip_vs")
		return err
	})
	if err != nil {
		return nil, err
	}
	return parseTable(string(text))
}

// statusTable is what baton shows of the kernel's table, by its command line.
func statusTable(t *testing.T, d *scene.Director) table {
	t.Helper()
	st := status(t, d)
	var out table
	for _, svc := range st.Services {
		v := virtual{Key: svc.Protocol + " " + svc.Address, Scheduler: svc.Scheduler}
		for _, s := range svc.Servers {
			if s.InKernel {
				v.Servers = append(v.Servers, server{
					Address: s.Address, Forward: scene.Forward(s.Forward), Weight: s.Weight, Active: s.Active, Inactive: s.Inactive,
				})
			}
		}
		out = append(out, v)
	}
	return out.sort()
}

// status is "baton status --json".
func status(t *testing.T, d *scene.Director) api.Status {
	t.Helper()
	var st api.Status
	if err := json.Unmarshal([]byte(baton(t, d, "status", "--json")), &st); err != nil {
		t.Fatalf("%s: baton status --json: %v", d.Name, err)
	}
	return st
}

// agree waits until ipvsadm and baton tell the same of a director: the counters
// in baton's status are up to a second old.
func agree(t *testing.T, d *scene.Director) table {
	t.Helper()
	var adm table
	lab.Eventually(t, time.Second, func() error {
		adm = admTable(t, d)
		if diff := cmp.Diff(adm, statusTable(t, d)); diff != "" {
			return fmt.Errorf("%s (-ipvsadm +baton):\n%s", d.Name, diff)
		}
		return nil
	})
	return adm
}

// expected is the table that the scene's configuration asks for.
func expected(s *scene.Scene) table {
	v := virtual{Key: "tcp " + scene.Service.String(), Scheduler: "wrr"}
	for _, r := range s.Real {
		v.Servers = append(v.Servers, server{Address: r.Address.String(), Forward: s.Forward, Weight: uint32(r.Weight)})
	}
	return table{v}.sort()
}

// tableWatch looks at a director's table all the time.
type tableWatch struct {
	stop  chan struct{}
	done  sync.WaitGroup
	looks int
	wrong []span
}

// span is a time in which a table was not as it should be.
type span struct {
	from, to time.Time
	why      error // at first
}

// watchTable begins to look at the kernel's table with check.
func watchTable(d *scene.Director, check func(table) error) *tableWatch {
	w := &tableWatch{stop: make(chan struct{})}
	w.done.Go(func() {
		well := true
		for {
			have, err := kernelTable(d.Host)
			if err == nil {
				err = check(have)
			}
			w.looks++
			now := time.Now()
			if err != nil && well {
				w.wrong = append(w.wrong, span{from: now, why: err})
			}
			if well = err == nil; !well {
				w.wrong[len(w.wrong)-1].to = now
			}
			select {
			case <-w.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return w
}

// end ends the watch.
func (w *tableWatch) end(t *testing.T) []span {
	t.Helper()
	close(w.stop)
	w.done.Wait()
	if w.looks < 20 {
		t.Errorf("the table was looked at only %d times", w.looks)
	}
	return w.wrong
}

// always ends the watch and fails the test if the table ever was not as it
// should be.
func (w *tableWatch) always(t *testing.T, what string) {
	t.Helper()
	for _, s := range w.end(t) {
		t.Errorf("%s: at %s, for %s: %v", what, s.from.Format("15:04:05.000"), s.to.Sub(s.from), s.why)
	}
	t.Logf("%s: the table was looked at %d times", what, w.looks)
}

// longest ends the watch and returns the longest time that the table was not as
// it should be.
func (w *tableWatch) longest(t *testing.T) (longest time.Duration) {
	t.Helper()
	for _, s := range w.end(t) {
		longest = max(longest, s.to.Sub(s.from))
	}
	return longest
}

// samples are metrics, by family and labels as they are written.
type samples map[string]float64

// scrape reads a director's metrics.
func scrape(t *testing.T, d *scene.Director) samples {
	t.Helper()
	text, err := d.Metrics()
	must(t, err)
	out := samples{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if i < 0 || err != nil {
			t.Fatalf("metrics of %s: %q: %v", d.Name, line, err)
		}
		out[line[:i]] = value
	}
	return out
}

// sum adds all samples of a family.
func (s samples) sum(family string) (sum float64) {
	for name, value := range s {
		if name == family || strings.HasPrefix(name, family+"{") {
			sum += value
		}
	}
	return sum
}

// one returns a sample that must be there.
func (s samples) one(t *testing.T, name string) float64 {
	t.Helper()
	value, ok := s[name]
	if !ok {
		t.Fatalf("there is no metric %s", name)
	}
	return value
}
