package main

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// The bounds that the part holds baton against.
const (
	restoreBound = 0.5 // of ipvsadm -R, for baton's program from the order to the full table
	startBound   = 0.4 // of keepalived, from the start to the full table
	stopBound    = 2 * time.Second
)

func (b *bench) printIPVS(r *ipvsResult) {
	b.printFilled(r)
	b.printKept(r)
	b.printReloads(r)
	b.printSizes(r)
	b.printCompared(r)
}

// extremes are the smallest and the largest value.
func extremes[T any, V number](list []T, value func(T) V) (least, most V) {
	for i, v := range list {
		if i == 0 {
			least, most = value(v), value(v)
		}
		least, most = min(least, value(v)), max(most, value(v))
	}
	return least, most
}

// verdict holds a ratio or a time against its bound.
func verdict(within bool, bound any) string {
	if within {
		return fmt.Sprintf("%v kept", bound)
	}
	return fmt.Sprintf("%v BROKEN", bound)
}

func (b *bench) printFilled(r *ipvsResult) {
	if len(r.filled) == 0 {
		return
	}
	f := farm{services: b.ipvsServices}
	t := table{
		title: fmt.Sprintf("The table alone, %d services with %d servers in all, by a program that does nothing else; %d runs.", f.services, f.servers(), len(r.filled)),
		head:  []string{"WORK", "PROGRAM", "WALL best", "worst", "USER", "SYSTEM", "RATIO best", "worst", "BOUND"},
	}
	t.note("baton: internal/ipvs from the order to the full table, with the comparison before it. Processor times are those of the last run.")
	row := func(work, who string, of func(filled) cost) []string {
		least, most := extremes(r.filled, func(f filled) time.Duration { return of(f).Wall })
		last := of(r.filled[len(r.filled)-1])
		return []string{work, who, milliseconds(least), milliseconds(most), milliseconds(last.User), milliseconds(last.System)}
	}
	against := func(cells []string, ours, theirs func(filled) cost) []string {
		share := func(f filled) int { return int(1000 * ours(f).Wall / theirs(f).Wall) }
		least, most := extremes(r.filled, share)
		return append(cells, thousandths(least), thousandths(most))
	}
	fill := func(f filled) cost { return f.program.Fill }
	restore := func(f filled) cost { return f.restore }
	_, most := extremes(r.filled, func(f filled) int { return int(1000 * f.program.Fill.Wall / f.restore.Wall) })
	t.add(row("fill", "ipvsadm -R", restore)...)
	t.add(append(against(row("fill", "baton", fill), fill, restore), verdict(float64(most) <= 1000*restoreBound, restoreBound))...)
	compare := func(f filled) cost { return f.program.Compare }
	list := func(f filled) cost { return f.list }
	t.add(row("read all", "ipvsadm -Ln", list)...)
	t.add(against(row("read and compare all", "baton", compare), compare, list)...)
	t.add(row(fmt.Sprintf("one weight, %d write", r.filled[0].program.Writes), "baton", func(f filled) cost { return f.program.Change })...)
	t.add(row("withdraw all", "baton", func(f filled) cost { return f.program.Withdraw })...)
	t.print()
}

func thousandths(n int) string { return fmt.Sprintf("%.3f", float64(n)/1000) }

// admitted says when servers are used, for each program in its own words.
func (f farm) admitted() string {
	if f.trusted {
		return "at once"
	}
	return "after a check"
}

// of are the runs of one program with servers used at once, or not.
func (r *ipvsResult) of(name string, trusted bool) (list []*kept) {
	for _, m := range r.kept {
		if m.keeper.name() == name && m.farm.trusted == trusted && m.fill > 0 {
			list = append(list, m)
		}
	}
	return list
}

func (b *bench) printKept(r *ipvsResult) {
	t := table{
		title: fmt.Sprintf("Daemons with that table: from the start of the program to the full table, and from SIGTERM to its end; %d runs.", b.ipvsRuns),
		head:  []string{"SERVERS USED", "PROGRAM", "FULL AFTER best", "worst", "RATIO best", "worst", "BOUND", "STOPPED WITHIN best", "worst", "BOUND", "LEFT BEHIND"},
	}
	t.note("Used at once: baton with admit: at-once, keepalived as it is by default; checked every %s. After a check: baton by default,", quietInterval)
	t.note("keepalived with alpha; checked every %s, where keepalived spreads the first checks over that and baton over 2s at most.", checkInterval)
	for _, trusted := range []bool{true, false} {
		ours, theirs := r.of(baton{}.name(), trusted), r.of(keepalived{}.name(), trusted)
		for _, list := range [][]*kept{theirs, ours} {
			if len(list) == 0 {
				continue
			}
			least, most := extremes(list, func(m *kept) time.Duration { return m.fill })
			quick, slow := extremes(list, func(m *kept) time.Duration { return m.stop })
			left, _ := extremes(list, func(m *kept) int { return -m.left.services - m.left.servers })
			cells := []string{list[0].farm.admitted(), list[0].keeper.name(), milliseconds(least), milliseconds(most), "", "", ""}
			stop := ""
			if _, isOurs := list[0].keeper.(baton); isOurs {
				stop = verdict(slow <= stopBound, stopBound)
				if len(ours) == len(theirs) {
					low, high := pairs(ours, theirs)
					cells[4], cells[5], cells[6] = thousandths(low), thousandths(high), verdict(float64(high) <= 1000*startBound, startBound)
				}
			}
			t.add(append(cells, milliseconds(quick), milliseconds(slow), stop, fmt.Sprint(-left))...)
		}
	}
	t.print()
}

// pairs are the extremes of the ratios of runs that followed each other.
func pairs(ours, theirs []*kept) (least, most int) {
	shares := make([]int, len(ours))
	for i := range ours {
		shares[i] = int(1000 * ours[i].fill / theirs[i].fill)
	}
	return extremes(shares, func(n int) int { return n })
}

func (b *bench) printReloads(r *ipvsResult) {
	t := table{
		title: "Reloads of such a daemon: changes that it asks the kernel for, as the kernel's netlink monitor sees them, and time from the order.",
		head:  []string{"IN THE FILE", "PROGRAM", "WRITES", "LAST WRITE AFTER", "RELOAD ENDED AFTER", "RATIO"},
	}
	t.note("The ratio is that of the ends. keepalived says on its console that it has reloaded, baton answers the order.")
	for _, what := range []struct {
		name string
		of   func(*kept) *reload
	}{
		{"one weight", func(m *kept) *reload { return m.weight }},
		{"nothing", func(m *kept) *reload { return m.unchanged }},
		{"a tenth of the servers", func(m *kept) *reload { return m.replaced }},
	} {
		var ours *reload
		for _, m := range r.kept {
			one := what.of(m)
			if one == nil {
				continue
			}
			cells := []string{what.name, m.keeper.name(), fmt.Sprint(one.writes), dash, milliseconds(one.ended)}
			if one.writes > 0 {
				cells[3] = milliseconds(one.last)
			}
			if _, isOurs := m.keeper.(baton); isOurs {
				ours = one
			} else if ours != nil {
				cells = append(cells, ratio(ours.ended, one.ended))
			}
			t.add(cells...)
		}
	}
	t.print()
}

func (b *bench) printSizes(r *ipvsResult) {
	t := table{
		title: fmt.Sprintf("All processes of a daemon that keeps the table, while nothing happens for %s; servers are checked every %s.", b.ipvsWatch, quietInterval),
		head:  []string{"SERVERS", "PROGRAM", "FULL AFTER", "MEMORY (PSS)", "RATIO", "CPU/s", "RATIO", "STOPPED WITHIN"},
	}
	t.note("baton compares with the kernel every second; keepalived never does. The ratio is baton's to that of the program in the line.")
	var ours *kept
	for _, m := range slices.Concat(r.of(baton{}.name(), true)[:min(1, len(r.of(baton{}.name(), true)))], r.of(keepalived{}.name(), true)[:min(1, len(r.of(keepalived{}.name(), true)))], r.large) {
		per := time.Duration(float64(m.cpu) / b.ipvsWatch.Seconds())
		cells := []string{fmt.Sprint(m.farm.servers()), m.keeper.name(), milliseconds(m.fill), fmt.Sprintf("%.1f MiB", float64(m.memory)/1024), "", milliseconds(per), "", milliseconds(m.stop)}
		if _, isOurs := m.keeper.(baton); isOurs {
			ours = m
		} else if ours != nil && ours.farm == m.farm {
			cells[4], cells[6] = ratio(ours.memory, m.memory), ratio(ours.cpu, m.cpu)
		}
		t.add(cells...)
	}
	t.print()
}

func (b *bench) printCompared(r *ipvsResult) {
	t := table{
		title: "One comparison of the whole table with the kernel's, which lists servers only service by service.",
		head:  []string{"SERVERS", "WALL", "USER", "SYSTEM", "OF A PROCESSOR, EACH SECOND"},
	}
	for _, servers := range slices.Sorted(maps.Keys(r.sizes)) {
		c := r.sizes[servers].Compare
		t.add(fmt.Sprint(servers), milliseconds(c.Wall), milliseconds(c.User), milliseconds(c.System), fmt.Sprintf("%.1f %%", 100*(c.User+c.System).Seconds()))
	}
	t.print()
}
