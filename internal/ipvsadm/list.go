package ipvsadm

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// Style says which columns a listing has.
type Style uint8

// The styles, each with the option of "ipvsadm -Ln" that it is the same as.
const (
	Plain       Style = iota // without one
	Stats                    // --stats
	Rate                     // --rate
	Thresholds               // --thresholds
	Persistence              // --persistent-conn
	Tunnels                  // --tun-info
)

// Listing is the table as it was read, to be shown.
type Listing struct {
	Info     ipvs.Info
	Services []ipvs.Service
	Style    Style
	Exact    bool // large numbers in full
	One      bool // it is one service that was asked for: without the line of the version
	// Total are the counters of all services together, shown below the others with
	// Stats and Rate; nil: they are not shown.
	Total *ipvs.Stats
}

// Write writes the table as "ipvsadm -Ln" does, to the byte.
func (l Listing) Write(out io.Writer) error {
	w := bufio.NewWriter(out)
	if !l.One {
		fmt.Fprintf(w, "IP Virtual Server version %s (size=%d)\n", l.Info.Version, l.Info.ConnectionTable)
	}
	l.title(w)
	for _, s := range l.Services {
		l.service(w, s)
		for _, d := range s.Servers {
			l.server(w, d)
		}
	}
	if l.Total != nil {
		fmt.Fprintf(w, "%-33s", "Total")
		l.counters(w, *l.Total)
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// Only leaves one service.
func (l *Listing) Only(k pool.Key) error {
	for _, s := range l.Services {
		if s.Key() == k {
			l.Services, l.One = []ipvs.Service{s}, true
			return nil
		}
	}
	return fmt.Errorf("the kernel has no service %v", k)
}

func (l Listing) title(w io.Writer) {
	const local, remote = "Prot LocalAddress:Port", "  -> RemoteAddress:Port"
	switch l.Style {
	case Stats:
		fmt.Fprintf(w, "%-33s %8s %8s %8s %8s %8s\n%s\n", local, "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes", remote)
	case Rate:
		fmt.Fprintf(w, "%-33s %8s %8s %8s %8s %8s\n%s\n", local, "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS", remote)
	case Thresholds:
		fmt.Fprintf(w, "%-33s %-10s %-10s %-10s %-10s\n%s\n", local, "Uthreshold", "Lthreshold", "ActiveConn", "InActConn", remote)
	case Persistence:
		fmt.Fprintf(w, "%-33s %-9s %-11s %-10s %-10s\n%s\n", local, "Weight", "PersistConn", "ActiveConn", "InActConn", remote)
	case Tunnels:
		fmt.Fprintf(w, "%s Scheduler Flags\n%-33s Forward TunnelInfo    Weight ActiveConn InActConn\n", local, remote)
	default:
		fmt.Fprintf(w, "%s Scheduler Flags\n%-33s Forward Weight ActiveConn InActConn\n", local, remote)
	}
}

// keyTitle is a service in the first column.
func keyTitle(k pool.Key) string {
	if k.FWMark != 0 {
		text := "FWM  " + strconv.FormatUint(uint64(k.FWMark), 10)
		if k.IPv6 {
			text += " IPv6"
		}
		return text
	}
	name, at, _ := strings.Cut(k.String(), " ")
	return fmt.Sprintf("%-4s %s", strings.ToUpper(name), at)
}

func (l Listing) service(w io.Writer, s ipvs.Service) {
	switch l.Style {
	case Stats, Rate:
		fmt.Fprintf(w, "%-33s", keyTitle(s.Key()))
		l.counters(w, s.Stats)
		fmt.Fprintln(w)
	default:
		fmt.Fprintf(w, "%s %s\n", keyTitle(s.Key()), settingsTitle(s.Settings))
	}
}

// settingsTitle is the scheduler with what is unusual about the service.
func settingsTitle(v pool.VirtualService) string {
	text := v.Scheduler
	if flags := flagNames(v.Scheduler, v.Flags); len(flags) > 0 {
		text += " (" + strings.Join(flags, ",") + ")"
	}
	if v.Flags&pool.Persistent != 0 {
		text += fmt.Sprintf(" persistent %d", v.PersistenceSeconds)
		switch mask := maskText(v); {
		case v.PersistencePrefix == 0:
			text += " mask that is no prefix"
		case mask != "":
			text += " mask " + mask
		}
		if v.PersistenceEngine != "" {
			text += " pe " + v.PersistenceEngine
		}
	}
	if v.Flags&pool.OnePacket != 0 {
		text += " ops"
	}
	return text
}

func (l Listing) server(w io.Writer, d ipvs.Server) {
	fmt.Fprintf(w, "  -> %-28s", d.AddrPort())
	switch l.Style {
	case Stats:
		l.counters(w, d.Stats)
	case Rate:
		fmt.Fprintf(w, " %8d %8d %8d", d.Stats.ConnectionRate, d.Stats.PacketRateIn, d.Stats.PacketRateOut)
		fmt.Fprint(w, l.large(d.Stats.ByteRateIn), l.large(d.Stats.ByteRateOut))
	case Thresholds:
		fmt.Fprintf(w, " %-10d %-10d %-10d %-10d", d.Upper, d.Lower, d.Active, d.Inactive)
	case Persistence:
		fmt.Fprintf(w, " %-9d %-11d %-10d %-10d", d.Weight, d.Persistent, d.Active, d.Inactive)
	case Tunnels:
		fmt.Fprintf(w, " %-7s %-13s %-6d %-10d %-10d", forwardTitle(d.Forward), tunnelTitle(d.RealServer), d.Weight, d.Active, d.Inactive)
	default:
		fmt.Fprintf(w, " %-7s %-6d %-10d %-10d", forwardTitle(d.Forward), d.Weight, d.Active, d.Inactive)
	}
	fmt.Fprintln(w)
}

func forwardTitle(f pool.Forward) string {
	switch f {
	case pool.NAT:
		return "Masq"
	case pool.TUN:
		return "Tunnel"
	case pool.DR:
		return "Route"
	}
	return "Local"
}

// tunnelTitle is the type of a tunnel, its port and its checksums.
func tunnelTitle(s pool.RealServer) string {
	if s.Forward != pool.TUN {
		return "n/a"
	}
	sum := "?"
	if marks := [...]string{"-c", "+c", "r+c"}; int(s.Tunnel.Flags) < len(marks) {
		sum = marks[s.Tunnel.Flags]
	}
	switch s.Tunnel.Type {
	case pool.IPIP:
		return "ipip"
	case pool.GUE:
		return fmt.Sprintf("gue:%d:%s", s.Tunnel.Port, sum)
	case pool.GRE:
		return "gre:" + sum
	}
	return fmt.Sprintf("type %d", s.Tunnel.Type)
}

// counters writes the five counters, or with Rate the five rates.
func (l Listing) counters(w io.Writer, s ipvs.Stats) {
	five := [...]uint64{s.Connections, s.PacketsIn, s.PacketsOut, s.BytesIn, s.BytesOut}
	if l.Style == Rate {
		five = [...]uint64{s.ConnectionRate, s.PacketRateIn, s.PacketRateOut, s.ByteRateIn, s.ByteRateOut}
	}
	for _, n := range five {
		fmt.Fprint(w, l.large(n))
	}
}

// large is a number in nine columns, in thousands and so on from a hundred million
// up, unless it is to be exact.
func (l Listing) large(n uint64) string {
	switch {
	case l.Exact:
		return fmt.Sprintf(" %8d", n)
	case n < 1e8:
		return fmt.Sprintf("%9d", n)
	case n < 1e9:
		return fmt.Sprintf("%8dK", n/1e3)
	case n < 1e11:
		return fmt.Sprintf("%8dM", n/1e6)
	case n < 1e14:
		return fmt.Sprintf("%8dG", n/1e9)
	}
	return fmt.Sprintf("%8dT", n/1e12)
}
