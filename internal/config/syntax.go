package config

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// checkText reports the first byte that YAML text may not contain. The library
// finds these too, but does not say where.
func checkText(p *problems, file string, data []byte) bool {
	at := pos{file, 1, 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		switch {
		case r == utf8.RuneError && size == 1:
			p.add(at, "the byte 0x%02x is not UTF-8; allowed: UTF-8 text", data[0])
			return false
		case !printable(r):
			p.add(at, "the control character %U is not allowed; write it as an escape in double quotes", r)
			return false
		case r == '\n':
			at.line, at.column = at.line+1, 1
		default:
			at.column++
		}
		data = data[size:]
	}
	return true
}

// printable is YAML's c-printable, with the byte order mark.
func printable(r rune) bool {
	switch {
	case r == '\t', r == '\n', r == '\r', r == 0x85:
		return true
	case r < 0x20, r >= 0x7f && r < 0xa0, r == 0xfffe, r == 0xffff:
		return false
	}
	return true
}

// syntaxError reports what the YAML library did not understand.
func syntaxError(p *problems, file string, data []byte, err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		p.add(pos{file, 1, 1}, "not valid YAML: %v", err)
		return
	}
	at := pos{file, max(le.Mark.Line, 1), max(le.Mark.Column, 1)}
	if byteAt(data, at) == '\t' {
		p.add(at, "a tab stands where YAML allows only spaces")
		return
	}
	message := le.Message
	if start := (pos{file, le.ContextMark.Line, le.ContextMark.Column}); le.ContextMsg != "" && start.line > 0 && comparePos(start, at) < 0 {
		message += fmt.Sprintf(", %s that starts at %d:%d", le.ContextMsg, start.line, start.column)
	}
	p.add(at, "not valid YAML: %s", message)
}

// byteAt returns the first byte of the character at a place, or 0.
func byteAt(data []byte, at pos) byte {
	line, column := 1, 1
	for len(data) > 0 {
		if line == at.line && column == at.column {
			return data[0]
		}
		r, size := utf8.DecodeRune(data)
		if r == '\n' {
			line, column = line+1, 0
		}
		column++
		data = data[size:]
	}
	return 0
}
