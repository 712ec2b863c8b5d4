package ipvs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"baton/internal/pool"
)

// glancePath is the whole table as text, for people and for old tools. It lacks
// limits, tunnels and counters, but costs a twentieth of what the same by netlink
// costs, so it tells which services have to be read there.
const glancePath = "/proc/thread-self/net/ip_vs"

// glance is, for each service by its name in that text, a digest of what the text
// says of its servers: addresses, forwarding and weights. Services that have the
// same name there, those of one firewall mark and both families, share one.
type glance map[string]uint64

// takeGlance reads the text. Without it (no /proc, another network namespace)
// there is nothing to be seen, and nothing wrong.
func (o Options) takeGlance() glance {
	if o.NetNS != 0 {
		return nil
	}
	f, err := os.Open(glancePath)
	if err != nil {
		return nil
	}
	defer f.Close()
	g, err := readGlance(f)
	if err != nil {
		return nil
	}
	return g
}

// readGlance reads what ip_vs_info_seq_show writes: three lines of headings, then
// for each service a line and one more for each of its servers, which begins with
// an arrow and ends with two numbers of connections.
func readGlance(r io.Reader) (glance, error) {
	g := make(glance)
	lines := bufio.NewReaderSize(r, 64<<10)
	name, sum := "", uint64(0)
	for n := 0; ; n++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			if name != "" {
				g[name] = sum
			}
			return g, nil
		case err != nil:
			return nil, err
		case n < 3:
		case bytes.HasPrefix(line, arrow):
			sum = digest(sum, withoutConnections(line))
		default:
			if name != "" {
				g[name] = sum
			}
			name = glancedName(line)
			sum = g[name] // of the other family, or else 0
		}
	}
}

var arrow = []byte("  -> ")

// glancedName is the protocol with address and port, or the firewall mark, of a
// service's line: "TCP  0A000064:0050 wlc ".
func glancedName(line []byte) string {
	const prefix = 6 // a protocol has up to four letters, and two spaces follow
	if len(line) > prefix {
		if i := bytes.IndexByte(line[prefix:], ' '); i >= 0 {
			return string(line[:prefix+i])
		}
	}
	return string(line)
}

// withoutConnections cuts the last two columns off.
func withoutConnections(line []byte) []byte {
	for range 2 {
		line = bytes.TrimRight(line, " \n")
		line = line[:bytes.LastIndexByte(line, ' ')+1]
	}
	return line
}

// digest is FNV-1a, which like any of its kind may miss one change of 2⁶⁴.
func digest(sum uint64, b []byte) uint64 {
	if sum == 0 {
		sum = 14695981039346656037
	}
	for _, c := range b {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return sum
}

// nameInGlance is what the text calls a service.
func nameInGlance(k pool.Key) string {
	if k.FWMark != 0 {
		return fmt.Sprintf("FWM  %08X", k.FWMark)
	}
	protocol := strings.ToUpper(k.Protocol.String())
	if k.IPv6 {
		return fmt.Sprintf("%s  [%s]:%04X", protocol, k.Address.StringExpanded(), k.Port)
	}
	b := k.Address.As4()
	return fmt.Sprintf("%s  %02X%02X%02X%02X:%04X", protocol, b[0], b[1], b[2], b[3], k.Port)
}
