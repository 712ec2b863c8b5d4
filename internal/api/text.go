package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Text is the status as a page for a terminal: what needs attention first, then
// routers, services and what else is in the kernel.
func (s Status) Text(color bool) string {
	p := &printer{color: color}
	p.header(s)
	p.problems(s.Problems)
	p.routers(s)
	for _, svc := range s.Services {
		p.service(svc, s.At)
	}
	if len(s.Services) == 0 {
		p.line()
		p.line(p.paint("SERVICES", bold), "  none")
	}
	p.absent(s)
	p.foreign(s.Foreign)
	return p.b.String()
}

func (p *printer) header(s Status) {
	node := s.Node
	if node == "" {
		node = "this director"
	}
	p.line(p.paint(node, bold), "  baton ", s.Version, "  ", s.At.Local().Format("2006-01-02 15:04:05"))
	if s.Config.Loaded.IsZero() {
		p.line("no configuration is loaded")
		return
	}
	p.line("configuration ", s.Config.Path, " (", s.Config.Hash, "), loaded ", age(s.At, s.Config.Loaded), " ago")
}

func (p *printer) problems(problems []string) {
	if len(problems) == 0 {
		return
	}
	p.line()
	p.line(p.paint(fmt.Sprintf("ATTENTION (%d)", len(problems)), bad))
	for _, text := range problems {
		p.line("  ", p.paint("!", bad), " ", text)
	}
}

func (p *printer) routers(s Status) {
	p.line()
	if len(s.Routers) == 0 {
		p.line(p.paint("ROUTERS", bold), "  none")
		return
	}
	p.line(p.paint("ROUTERS", bold))
	rows := [][]cell{head("NAME", "STATE", ">VRID", "INTERFACE", ">PRIORITY", "OWNER", ">SINCE", "ADDRESSES", "REASON")}
	for _, r := range s.Routers {
		state, style := r.stateText()
		rows = append(rows, []cell{
			{r.Name, bold, false},
			{state, style, false},
			{strconv.Itoa(int(r.ID)), plain, true},
			{r.Interface, plain, false},
			{r.priorityText(), plain, true},
			{r.ownerText(), plain, false},
			{age(s.At, r.Since), plain, true},
			{strings.Join(r.Addresses, " "), plain, false},
			{r.Reason, plain, false},
		})
	}
	p.table(rows)
}

func (r Router) stateText() (string, style) {
	text, s := r.State, plain
	switch r.State {
	case "master":
		s = good
	case "fault":
		s = bad
	case "init":
		s = warn
	}
	switch {
	case r.HandingOver:
		return text + " (leaving)", warn
	case r.Resigned:
		return text + " (resigned)", warn
	}
	return text, s
}

func (r Router) priorityText() string {
	text := strconv.Itoa(int(r.EffectivePriority))
	if r.EffectivePriority != r.Priority {
		text += " of " + strconv.Itoa(int(r.Priority))
	}
	return text
}

func (r Router) ownerText() string {
	switch {
	case r.State == "master":
		return "here"
	case r.Owner == "":
		return "unknown"
	}
	return r.Owner
}

func (p *printer) service(s Service, at time.Time) {
	p.line()
	state, style := "UP", good
	if !s.Up {
		state, style = "DOWN", bad
	}
	where := s.Protocol + " " + s.Address
	if s.Protocol == "fwmark" {
		where = s.Address
	}
	forward := s.Forward
	if s.SourceNAT {
		forward += " source_nat"
	}
	p.line(p.paint("SERVICE "+s.Name, bold), "  ", where, "  ", s.Scheduler, " ", forward, "  ",
		p.paint(state, style), " for ", age(at, s.Since), ", weight ", strconv.FormatUint(s.Quorum.Weight, 10),
		" (needs ", strconv.FormatUint(s.Quorum.Min, 10), ")")
	if s.Standby {
		p.line("  not programmed here: standby")
	}
	if s.Panic {
		p.line("  ", p.paint("panic", bad), ": ", s.Reason)
	}
	if s.BackupsActive {
		p.line("  ", p.paint("its backups serve", warn))
	}
	if !s.Up && s.Reason != "" && !s.Panic {
		p.line("  ", s.Reason)
	}
	for _, source := range s.Sources {
		p.source(source, at)
	}
	if len(s.Servers) == 0 && s.Fallback == nil {
		p.line("  no servers")
		return
	}
	rows := [][]cell{head("SERVER", "NAME", "STATE", "FORWARD", ">WEIGHT", ">ACTIVE", ">INACTIVE", "CHECK", ">AGO", ">SINCE", "DETAIL")}
	for _, srv := range s.Servers {
		rows = append(rows, srv.row(s, at))
	}
	if f := s.Fallback; f != nil {
		row := f.row(s, at)
		row[1].text = strings.TrimSpace(f.Name + " (fallback)")
		switch {
		case s.FallbackActive:
			row[2] = cell{"serving", warn, false}
		case f.State == "up":
			row[2] = cell{"standby", plain, false}
		}
		rows = append(rows, row)
	}
	p.table(rows)
}

// source is where a service finds servers.
func (p *printer) source(s Source, at time.Time) {
	text := fmt.Sprintf("  from %s %s: ", s.Kind, s.Target)
	if s.LastSuccess.IsZero() {
		text += "no answer yet"
	} else {
		plural := "s"
		if s.Servers == 1 {
			plural = ""
		}
		text += fmt.Sprintf("%d server%s, answered %s ago", s.Servers, plural, age(at, s.LastSuccess))
	}
	if s.Held > 0 {
		text += p.paint(fmt.Sprintf(", %d of them kept although it does not name them", s.Held), warn)
	}
	if s.Error != "" {
		text += p.paint(", fails: "+s.Error, bad)
	}
	p.line(text)
}

// row is one server in the table of its service.
func (s RealServer) row(of Service, at time.Time) []cell {
	style := plain
	switch s.State {
	case "up":
		style = good
	case "down":
		style = bad
	case "checking", "draining":
		style = warn
	case "disabled":
		style = faint
	}
	forward := "" // said above
	if s.Forward != of.Forward {
		forward = s.Forward
	}
	code, ago, detail := "", "", s.Reason
	if s.Check != nil {
		code, ago = s.Check.Code, age(at, s.Check.At)
		if detail == "" || s.State == "up" || s.State == "down" {
			detail = s.Check.Detail // the reason says the same, and more
			if s.Override != nil && s.Override.Weight != nil {
				detail += "; " + s.Override.weightText()
			}
		}
	}
	if s.Drained {
		detail += "; it has left the table"
	}
	if !s.DrainUntil.IsZero() {
		detail += fmt.Sprintf("; taken out in %s at the latest", age(s.DrainUntil, at))
	}
	if s.Agent != nil && s.Agent.Last.Failures == 0 && s.Agent.Says != "nothing" {
		detail += "; its agent says " + s.Agent.Says
	}
	if s.SlowStartPercent > 0 {
		detail += fmt.Sprintf("; starts slowly, at %d %%", s.SlowStartPercent)
	}
	if s.Kept {
		detail += "; it serves on"
	}
	if s.Backup {
		detail += "; a backup"
	}
	share := s.ConfiguredWeight
	if o := s.Override; o != nil && o.Weight != nil {
		share = *o.Weight
	}
	weight := plain
	if s.State == "up" && uint64(s.KernelWeight) != uint64(share)*uint64(of.WeightFactor) {
		weight = warn // it works and does not get its share
	}
	return []cell{
		{s.Address, plain, false},
		{s.Name, plain, false},
		{s.State, style, false},
		{forward, plain, false},
		{s.weightText(of), weight, true},
		{number(s.Active), plain, true},
		{number(s.Inactive), plain, true},
		{code, plain, false},
		{ago, plain, true},
		{age(at, s.Since), plain, true},
		{detail, plain, false},
	}
}

// weightText is the weight, with the parts of it that a slow start or an agent
// leaves.
func (s RealServer) weightText(of Service) string {
	text := number(s.Weight)
	if f := of.WeightFactor; f > 1 {
		text = strings.TrimRight(strings.TrimRight(strconv.FormatFloat(float64(s.KernelWeight)/float64(f), 'f', 2, 64), "0"), ".")
	}
	if text != number(s.ConfiguredWeight) {
		text += " of " + number(s.ConfiguredWeight)
	}
	return text
}

func (p *printer) foreign(services []ForeignService) {
	if len(services) == 0 {
		return
	}
	p.line()
	p.line(p.paint("FOREIGN SERVICES", bold), "  in the kernel, not in the configuration, left alone")
	rows := [][]cell{head("PROTOCOL", "ADDRESS", "SCHEDULER", ">SERVERS")}
	for _, f := range services {
		rows = append(rows, []cell{
			{f.Protocol, plain, false},
			{f.Address, plain, false},
			{f.Scheduler, plain, false},
			{strconv.Itoa(f.Servers), plain, true},
		})
	}
	p.table(rows)
}

// absent lists what is wanted of servers that there are not.
func (p *printer) absent(s Status) {
	if len(s.Absent) == 0 {
		return
	}
	p.line()
	p.line(p.paint("OVERRIDES", bold), "  of servers that are in no service just now; \"baton server reset\" forgets them at once")
	rows := [][]cell{head("SERVICE", "SERVER", "OVERRIDE", "FORGOTTEN")}
	for _, a := range s.Absent {
		rows = append(rows, []cell{
			{a.Service, plain, false},
			{a.Server, plain, false},
			{a.Override.text(), plain, false},
			{"in " + age(a.Until, s.At), plain, false},
		})
	}
	p.table(rows)
}

// text says what is wanted, by whom and why.
func (o Override) text() string {
	var parts []string
	if o.State != "" {
		parts = append(parts, wantedBy(o.State, o.By, o.At, o.Reason))
	}
	if o.Weight != nil {
		parts = append(parts, o.weightText())
	}
	return strings.Join(parts, "; ")
}

func (o Override) weightText() string {
	return wantedBy("weight "+number(*o.Weight), o.WeightBy, o.WeightAt, o.WeightReason)
}

func wantedBy(what, by string, at time.Time, reason string) string {
	text := fmt.Sprintf("%s by %s %s", what, by, minute(at))
	if reason != "" {
		text += ": " + reason
	}
	return text
}

func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// Text is the event as one line.
func (e Event) Text(color bool) string {
	p := &printer{color: color}
	what := string(e.Kind) + " " + e.Name
	if e.Server != "" {
		what = "server " + e.Server + " of " + e.Name
	}
	change := p.paint(e.To, stateStyle(e.To))
	if e.From != "" && e.From != e.To {
		change = e.From + " → " + change
	}
	text := e.At.Local().Format("2006-01-02 15:04:05.000") + "  " + p.paint(what, bold) + ": " + change
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

func stateStyle(state string) style {
	switch state {
	case "master", "up", "running":
		return good
	case "fault", "down", "dead":
		return bad
	case "init", "checking", "draining", "disabled":
		return warn
	}
	return plain
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// age is the time from then to now in its two largest units, short enough for a
// column.
func age(now, then time.Time) string {
	if then.IsZero() {
		return "-"
	}
	d := max(now.Sub(then), 0)
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < day:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d/day), int(d.Hours())%24)
}
