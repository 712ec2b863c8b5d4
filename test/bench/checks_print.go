package main

import (
	"fmt"
	"time"
)

func (b *bench) printChecks(r *checksResult) {
	b.printMany(r.many)
	b.printShared(r.shared)
	b.printRemoved(r.removed)
	b.printRolled(r.rolled)
}

// printMany prints what many checks cost and when they came.
func (b *bench) printMany(list []*checked) {
	t := table{
		title: fmt.Sprintf("One check of each server every %s: all processes of the program for %s, then the wire for %s.",
			checkInterval, b.checksWatch, pausesFor(farm{interval: checkInterval})),
		head: []string{
			"CHECKS", "PROGRAM", "CPU/s", "CHECKS/s", "CPU/CHECK", "RATIO", "BOUND", "MEMORY (PSS)", "BOUND", "PAUSE p50", "p99", "max", "BOUND",
		},
	}
	t.note("The ratio is that of the processor time of one check: on a host that is too slow, not every program makes them all.")
	t.note("Pause: between two checks of one server, as they come to it. baton moves each by up to a tenth either way, so that checks do not fall into step.")
	var theirs *checked
	for _, m := range pairwise(list) {
		per := time.Duration(float64(m.cpu) / b.checksWatch.Seconds())
		cells := []string{fmt.Sprintf("%d %s", m.farm.servers(), m.farm.kind), m.keeper.name(), milliseconds(per), fmt.Sprintf("%.0f", float64(m.made)/b.checksWatch.Seconds()), micros(m.each()), "", "", fmt.Sprintf("%.1f MiB", float64(m.memory)/1024), ""}
		late := ""
		if _, isOurs := m.keeper.(baton); !isOurs {
			theirs = m
		} else {
			if theirs != nil && theirs.farm == m.farm {
				bound := map[string]float64{"tcp": tcpBound, "http": httpBound}[m.farm.kind]
				ours, other := m.each(), theirs.each()
				cells[5], cells[6] = ratio(ours, other), verdict(float64(ours) <= bound*float64(other), bound)
			}
			most := memoryBound[m.farm.kind]
			cells[8] = verdict(m.memory <= most, fmt.Sprintf("%d MiB", most>>10))
			late = verdict(float64(largest(m.pauses)) <= lateBound*float64(m.farm.interval), fmt.Sprintf("%.1f intervals", lateBound))
		}
		t.add(append(cells, milliseconds(median(m.pauses)), milliseconds(quantile(m.pauses, 0.99)), milliseconds(largest(m.pauses)), late)...)
	}
	t.print()
}

// pairwise puts the other program before baton, so that its line has the ratio.
func pairwise(list []*checked) (out []*checked) {
	for i := 0; i < len(list); i++ {
		_, isOurs := list[i].keeper.(baton)
		if isOurs && i+1 < len(list) && list[i+1].farm == list[i].farm {
			out = append(out, list[i+1], list[i])
			i++
			continue
		}
		out = append(out, list[i])
	}
	return out
}

// printShared prints how many checks servers get that several services have.
func (b *bench) printShared(list []*checked) {
	t := table{
		title: "Services that all have the same servers: checks that come to the servers.",
		head:  []string{"SERVICES", "SERVERS OF EACH", "PROGRAM", "CHECKS EACH INTERVAL", "BOUND", "CPU/s", "MEMORY (PSS)"},
	}
	for _, m := range list {
		per := float64(m.checks) / float64(pausesFor(m.farm)/m.farm.interval)
		bound := ""
		if _, isOurs := m.keeper.(baton); isOurs {
			// The jitter lets one more or less fall into the time.
			bound = verdict(per <= 1.1*float64(m.farm.per()), m.farm.per())
		}
		t.add(fmt.Sprint(m.farm.services), fmt.Sprint(m.farm.per()), m.keeper.name(), fmt.Sprintf("%.0f", per), bound,
			milliseconds(time.Duration(float64(m.cpu)/b.checksWatch.Seconds())), fmt.Sprintf("%.1f MiB", float64(m.memory)/1024))
	}
	t.print()
}

// printRemoved prints how long dead servers stayed in the table.
func (b *bench) printRemoved(list []*removed) {
	most := map[string]time.Duration{
		deaths[0].name: victimFall*victimInterval + removalBound,
		deaths[1].name: victimFall*victimInterval + victimTimeout + removalBound,
	}
	t := table{
		title: fmt.Sprintf("A server dies, one of %d among %d others; checks every %s with a timeout of %s, down after %d failures in a row.",
			victims, othersAlive, victimInterval, victimTimeout, victimFall),
		head: []string{"IT", "PROGRAM", "REMOVED AFTER p50", "max", "BOUND", "STILL THERE"},
	}
	t.note("From its death to the kernel's being told. The bound is interval × fall + 100 ms, and the timeout where the server is silent.")
	for _, m := range list {
		bound := ""
		if _, isOurs := m.keeper.(baton); isOurs {
			bound = verdict(m.lost == 0 && largest(m.after) <= most[m.death], most[m.death])
		}
		t.add(m.death, m.keeper.name(), milliseconds(median(m.after)), milliseconds(largest(m.after)), bound, fmt.Sprint(m.lost))
	}
	t.print()
}

// printRolled prints what clients saw while servers were killed.
func (b *bench) printRolled(list []*rolled) {
	t := table{
		title: fmt.Sprintf("Servers of a service killed in turn, without being drained before: %d clients with one request after the other; checks every %s, down after 2 failures in a row.",
			visitors, victimInterval),
		head: []string{"PROGRAM", "KILLED", "REQUESTS", "FAILED", "FAILED FOR EACH"},
	}
	t.note("A server that is drained first loses none: test/e2e.")
	for _, m := range list {
		t.add(m.name, fmt.Sprint(m.kills), fmt.Sprint(m.visits.OK+m.visits.Failed), fmt.Sprint(m.visits.Failed),
			fmt.Sprintf("%.1f", float64(m.visits.Failed)/float64(m.kills)))
	}
	t.print()
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }
