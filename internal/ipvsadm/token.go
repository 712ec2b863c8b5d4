package ipvsadm

import (
	"path"
	"strings"
)

// token is one word of a line with its place.
type token struct {
	text   string
	column int // from 1
}

// tokens takes a line apart: words between blanks; what follows a # at the
// beginning of a word is a comment. The name of the program may come first, as
// in a script.
func tokens(line string) []token {
	var out []token
	for i := 0; i < len(line); {
		if isBlank(line[i]) {
			i++
			continue
		}
		if line[i] == '#' {
			break
		}
		end := i
		for end < len(line) && !isBlank(line[end]) {
			end++
		}
		out = append(out, token{line[i:end], i + 1})
		i = end
	}
	if len(out) > 0 && path.Base(out[0].text) == "ipvsadm" {
		out = out[1:]
	}
	return out
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// given is one option of a line with its value.
type given struct {
	option
	token
	value    string
	valueAt  int  // the column of the value
	hasValue bool // an optional one may be missing
}

// splitter takes the options of a line apart as popt does: values stand in the
// next word, after an equals sign, or right behind a short option; short options
// without a value may share a word.
type splitter struct {
	line    int
	rest    []token
	given   []given
	loose   []token // words that belong to no option
	mistake func(column int, text string)
}

func (s *splitter) run() {
	for len(s.rest) > 0 {
		t := s.rest[0]
		s.rest = s.rest[1:]
		switch {
		case strings.HasPrefix(t.text, "--"):
			s.long(t)
		case len(t.text) > 1 && t.text[0] == '-':
			s.short(token{t.text[1:], t.column + 1})
		default:
			s.loose = append(s.loose, t)
		}
	}
}

func (s *splitter) long(t token) {
	name, value, has := strings.Cut(t.text[2:], "=")
	for _, o := range options {
		if o.long == name {
			s.take(given{option: o, token: t}, value, t.column+2+len(name)+1, has)
			return
		}
	}
	if s.isCommand(func(w word) bool { return w.long == name }) {
		s.mistake(t.column, "a second command, --"+name+"; a line has one, at its beginning")
		return
	}
	s.mistake(t.column, "there is no option --"+name)
}

// short takes a word of short options, without its minus sign.
func (s *splitter) short(t token) {
	for i := range len(t.text) {
		at := t.column + i
		o, ok := shortOption(t.text[i])
		if !ok {
			what := "there is no option -" + t.text[i:i+1]
			if s.isCommand(func(w word) bool { return w.short == t.text[i] }) {
				what = "a second command, -" + t.text[i:i+1] + "; a line has one, at its beginning"
			}
			s.mistake(at, what)
			return
		}
		g := given{option: o, token: token{t.text[i : i+1], at}}
		if o.argument == none {
			s.given = append(s.given, g)
			continue
		}
		value := t.text[i+1:]
		from := at + 1
		if after, cut := strings.CutPrefix(value, "="); cut {
			value, from = after, from+1
		}
		s.take(g, value, from, i+1 < len(t.text))
		return
	}
}

func shortOption(c byte) (option, bool) {
	for _, o := range options {
		if o.short == c {
			return o, true
		}
	}
	return option{}, false
}

func (s *splitter) isCommand(is func(word) bool) bool {
	for _, w := range commands {
		if is(w) {
			return true
		}
	}
	return false
}

// take gives an option its value, from the same word if has is set.
func (s *splitter) take(g given, value string, column int, has bool) {
	switch {
	case g.argument == none && has:
		s.mistake(column, g.spelled()+" takes no value")
		return
	case g.argument == none:
	case has:
		g.value, g.valueAt, g.hasValue = value, column, true
	case len(s.rest) > 0 && (g.argument == required || !strings.HasPrefix(s.rest[0].text, "-")):
		g.value, g.valueAt, g.hasValue = s.rest[0].text, s.rest[0].column, true
		s.rest = s.rest[1:]
	case g.argument == required:
		s.mistake(g.column, g.spelled()+" needs a value")
		return
	}
	s.given = append(s.given, g)
}
