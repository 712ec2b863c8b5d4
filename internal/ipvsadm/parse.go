package ipvsadm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Options say how rules are read.
type Options struct {
	// Resolver finds the addresses of host names and the ports of service names,
	// and is asked for nothing that is numeric; nil: the host's.
	Resolver Resolver
}

// Resolver looks names up; a *[net.Resolver] is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupPort(ctx context.Context, network, service string) (int, error)
}

// longestLine bounds a line of rules, in bytes.
const longestLine = 16 << 10

// Parse reads a file of rules. All mistakes are found in one go: the error is
// then of the type [Mistakes], and there are no rules. Whether the rules fit
// each other is the matter of [Table].
func Parse(ctx context.Context, r io.Reader, o Options) ([]Rule, error) {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	var rules []Rule
	var mistakes Mistakes
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	n := 0
	for lines.Scan() {
		n++
		p := parser{ctx: ctx, resolver: o.Resolver, rule: Rule{Line: n}}
		if p.line(lines.Text()) {
			rules = append(rules, p.rule)
		}
		mistakes = append(mistakes, p.mistakes...)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		mistakes = append(mistakes, Mistake{Line: n + 1, Text: fmt.Sprintf("more than %d bytes in one line", longestLine)})
	case err != nil:
		return nil, fmt.Errorf("read the rules, line %d: %w", n+1, err)
	}
	if err := mistakes.orNil(); err != nil {
		return nil, err
	}
	return rules, nil
}

// parser reads one line.
type parser struct {
	ctx      context.Context
	resolver Resolver
	rule     Rule
	given    map[string]given // by the long name
	mistakes Mistakes
}

func (p *parser) mistake(column int, text string) {
	p.mistakes = append(p.mistakes, Mistake{Line: p.rule.Line, Column: column, Text: text})
}

// wrong notes that an option's value is not allowed.
func (p *parser) wrong(g given, allowed string) {
	p.mistake(g.valueAt, fmt.Sprintf("%s %q: %s", g.spelled(), g.value, allowed))
}

// line reads one line and reports whether it is a rule.
func (p *parser) line(text string) bool {
	words := tokens(text)
	if len(words) == 0 {
		return false
	}
	w, argument, rest, ok := p.command(words)
	if !ok {
		return false
	}
	p.rule.Command = w.command
	s := splitter{line: p.rule.Line, rest: rest, mistake: p.mistake}
	s.run()
	if w.command == SetTimeouts {
		p.timeouts(words[0], s.loose)
	} else {
		for _, t := range s.loose {
			p.mistake(t.column, fmt.Sprintf("%q belongs to no option", t.text))
		}
	}
	p.collect(w, words[0], s.given)
	p.values(w, argument)
	return len(p.mistakes) == 0
}

// command reads the first word: the command, and its argument where it has one.
func (p *parser) command(words []token) (w word, argument token, rest []token, ok bool) {
	first, rest := words[0], words[1:]
	name, value, has := strings.Cut(first.text, "=")
	i := slices.IndexFunc(commands, func(w word) bool { return "--"+w.long == name })
	if i < 0 && len(first.text) > 1 && first.text[0] == '-' {
		c := first.text[1]
		i = slices.IndexFunc(commands, func(w word) bool { return w.short != 0 && w.short == c })
		if len(first.text) > 2 {
			// "-At": the options that share the word.
			rest = append([]token{{"-" + first.text[2:], first.column + 1}}, rest...)
		}
		has = false
	}
	if i < 0 {
		p.mistake(first.column, fmt.Sprintf("%q is no command; a line begins with one of %s", first.text, commandNames))
		return w, argument, nil, false
	}
	w = commands[i]
	switch {
	case w.why != "":
		p.mistake(first.column, fmt.Sprintf("%q cannot stand here: %s", first.text, w.why))
		return w, argument, nil, false
	case w.argument && has:
		argument = token{value, first.column + len(name) + 1}
	case w.argument && len(rest) > 0:
		argument, rest = rest[0], rest[1:]
	case w.argument:
		p.mistake(first.column, name+" needs master or backup")
		return w, argument, nil, false
	case has:
		p.mistake(first.column, name+" takes no value")
		return w, argument, nil, false
	}
	return w, argument, rest, true
}

// collect takes the options of the line and holds them against what the command
// needs and takes.
func (p *parser) collect(w word, first token, list []given) {
	p.given = make(map[string]given, len(list))
	allowed := func(g given) bool {
		return slices.Contains(w.needs, g.long) || slices.Contains(w.takes, g.long) ||
			slices.Contains(w.needs, serviceNeeded) && slices.Contains(services, g.long)
	}
	for _, g := range list {
		switch _, twice := p.given[g.long]; {
		case twice:
			p.mistake(g.column, g.spelled()+" is given twice")
		case !allowed(g):
			p.mistake(g.column, fmt.Sprintf("%s does not belong to --%s", g.spelled(), w.long))
		default:
			p.given[g.long] = g
		}
	}
	for _, need := range w.needs {
		found := false
		for _, g := range list {
			found = found || g.long == need || need == serviceNeeded && slices.Contains(services, g.long)
		}
		if !found {
			p.mistake(first.column, fmt.Sprintf("--%s needs %s", w.long, spell(need)))
		}
	}
	p.exclusive(services...)
	p.exclusive("gatewaying", "ipip", "masquerading")
	p.exclusive("tun-nocsum", "tun-csum", "tun-remcsum")
}

// exclusive notes a mistake where more than one of the options is given.
func (p *parser) exclusive(names ...string) {
	var seen string
	for _, name := range names {
		g, ok := p.given[name]
		if ok && seen != "" {
			p.mistake(g.column, fmt.Sprintf("%s beside %s; a rule has one of them", g.spelled(), seen))
			delete(p.given, name)
		} else if ok {
			seen = g.spelled()
		}
	}
}

// values reads what the options say.
func (p *parser) values(w word, argument token) {
	switch w.command {
	case SetTimeouts, Clear:
	case StartDaemon, StopDaemon:
		p.daemon(w, argument)
	default:
		p.key()
		switch w.command {
		case AddService, EditService:
			p.settings()
		case AddServer, EditServer:
			p.server()
			p.forward()
		case DeleteServer:
			p.server()
		}
	}
}
