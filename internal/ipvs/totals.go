package ipvs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// ReadTotals reads the counters of all services together, of the calling thread's
// network namespace, those since deleted included. It needs no privilege. The
// error matches [ErrNoIPVS] where the kernel has no IPVS.
func ReadTotals() (Stats, error) {
	f, err := os.Open("/proc/thread-self/net/ip_vs_stats")
	if errors.Is(err, fs.ErrNotExist) {
		return Stats{}, fmt.Errorf("read the total counters: %w", noIPVS(nil))
	}
	if err != nil {
		return Stats{}, fmt.Errorf("read the total counters: %w", err)
	}
	defer f.Close()
	return parseTotals(f)
}

// parseTotals reads what ip_vs_stats_show writes: two lines of titles, a line of
// counters, an empty one, a line of titles, a line of rates; each number is
// hexadecimal, 64 bits.
func parseTotals(r io.Reader) (Stats, error) {
	var rows [][5]uint64
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if n != 3 && n != 6 {
			continue
		}
		row, err := fiveHex(lines.Text())
		if err != nil {
			return Stats{}, fmt.Errorf("read the total counters: line %d: %w: %q", n, err, lines.Text())
		}
		rows = append(rows, row)
	}
	if err := lines.Err(); err != nil {
		return Stats{}, fmt.Errorf("read the total counters: %w", err)
	}
	if len(rows) != 2 {
		return Stats{}, fmt.Errorf("read the total counters: %w", errForm)
	}
	c, r2 := rows[0], rows[1]
	return Stats{
		Connections: c[0], PacketsIn: c[1], PacketsOut: c[2], BytesIn: c[3], BytesOut: c[4],
		ConnectionRate: r2[0], PacketRateIn: r2[1], PacketRateOut: r2[2], ByteRateIn: r2[3], ByteRateOut: r2[4],
	}, nil
}

func fiveHex(line string) (row [5]uint64, err error) {
	words := strings.Fields(line)
	if len(words) != len(row) {
		return row, fmt.Errorf("%d numbers instead of %d", len(words), len(row))
	}
	for i, w := range words {
		if row[i], err = strconv.ParseUint(w, 16, 64); err != nil {
			return row, err
		}
	}
	return row, nil
}
