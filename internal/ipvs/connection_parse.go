package ipvs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Columns says which of the kernel's two lists of connections is read: no list
// has all columns.
type Columns uint8

// The lists of ip_vs_conn.c.
const (
	WithEngine Columns = iota // /proc/net/ip_vs_conn, with the data of persistence engines
	WithOrigin                // /proc/net/ip_vs_conn_sync, with the origin
)

// name is the list's file in /proc/net.
func (c Columns) name() string {
	if c == WithOrigin {
		return "ip_vs_conn_sync"
	}
	return "ip_vs_conn"
}

// header is the list's first line, by its words.
func (c Columns) header() string {
	if c == WithOrigin {
		return "Pro FromIP FPrt ToIP TPrt DestIP DPrt State Origin Expires"
	}
	return "Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires PEName PEData"
}

// LineError is a line of the connection table that is not understood.
type LineError struct {
	Line int // from 1, the header
	Text string
	Err  error
}

// Unwrap returns what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

func (e *LineError) Error() string {
	return fmt.Sprintf("the kernel's connection table, line %d: %v: %q", e.Line, e.Err, e.Text)
}

// connectionParser understands the lines of one list. It is made for millions of
// them: nothing is allocated for a line, but for the data of an engine.
type connectionParser struct {
	columns Columns
	states  map[string]string // one copy of each word that was seen
	rest    []byte
	err     error
}

// parse reads one entry, as ip_vs_conn_seq_show and ip_vs_conn_sync_seq_show write
// it.
func (p *connectionParser) parse(line []byte) (Connection, error) {
	p.rest, p.err = line, nil
	c := Connection{
		Protocol: p.protocol(),
		Client:   p.addrPort("client"),
		Virtual:  p.addrPort("virtual address"),
		Server:   p.addrPort("server"),
		State:    p.state(),
	}
	if p.columns == WithOrigin {
		c.Origin = p.origin()
	}
	c.Expires = p.expires()
	if p.columns == WithEngine {
		c.Engine, c.EngineData = p.engine()
	} else if len(p.word()) > 0 {
		p.fail("there is more than the columns known")
	}
	if c.Client.Addr().Is4() != c.Virtual.Addr().Is4() {
		p.fail("the client and the virtual address are of two families")
	}
	return c, p.err
}

// fail notes the first mistake.
func (p *connectionParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// word takes the next word; it is empty at the end.
func (p *connectionParser) word() []byte {
	b := bytes.TrimLeft(p.rest, " ")
	n := bytes.IndexByte(b, ' ')
	if n < 0 {
		n = len(b)
	}
	p.rest = b[n:]
	return b[:n]
}

func (p *connectionParser) protocol() Protocol {
	w := p.word()
	for _, n := range protocolNames {
		if string(w) == n.name {
			return n.number
		}
	}
	if digits, ok := bytes.CutPrefix(w, []byte("IP_")); ok {
		if n, err := strconv.ParseUint(string(digits), 10, 16); err == nil {
			return Protocol(n)
		}
	}
	p.fail("%q is no protocol", w)
	return 0
}

func (p *connectionParser) addrPort(what string) netip.AddrPort {
	text, digits := p.word(), p.word()
	if p.err != nil {
		return netip.AddrPort{} // the rest is not where it belongs
	}
	a, err := hexAddress(text)
	if err != nil {
		p.fail("the %s %q is no address: %w", what, text, err)
	}
	var port [2]byte
	if len(digits) != 4 || !decodeHex(port[:], digits) {
		p.fail("the port of the %s, %q, has not four hexadecimal digits", what, digits)
	}
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port[:]))
}

// hexAddress reads an address in one of the kernel's forms: eight hexadecimal
// digits (%08X), or eight groups of four with a colon between (%pI6).
func hexAddress(b []byte) (netip.Addr, error) {
	switch len(b) {
	case 8:
		var v4 [4]byte
		if decodeHex(v4[:], b) {
			return netip.AddrFrom4(v4), nil
		}
	case 39:
		var v6 [16]byte
		for i := range 8 {
			if i > 0 && b[5*i-1] != ':' || !decodeHex(v6[2*i:2*i+2], b[5*i:5*i+4]) {
				return netip.Addr{}, errDigits
			}
		}
		return netip.AddrFrom16(v6), nil
	}
	return netip.Addr{}, errDigits
}

var errDigits = errors.New("it is neither 8 hexadecimal digits nor 8 groups of 4")

func decodeHex(to, digits []byte) bool {
	_, err := hex.Decode(to, digits)
	return err == nil
}

// longestState bounds a state's word; the longest of Linux 6.12 has 17 letters.
const longestState = 32

// mostStates bounds how many words are remembered; Linux 6.12 has 33.
const mostStates = 256

func (p *connectionParser) state() string {
	w := p.word()
	if s, ok := p.states[string(w)]; ok {
		return s
	}
	if len(w) == 0 || len(w) > longestState {
		p.fail("%q is no state", w)
		return ""
	}
	for _, c := range w {
		// "ERR!" and "BUG!" are among the kernel's words.
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '!' && c != '?' {
			p.fail("%q is no state", w)
			return ""
		}
	}
	s := string(w)
	if len(p.states) < mostStates && p.err == nil {
		p.states[s] = s
	}
	return s
}

func (p *connectionParser) origin() Origin {
	switch w := p.word(); string(w) {
	case "LOCAL":
		return Local
	case "SYNC":
		return Synced
	default:
		p.fail("%q is no origin", w)
		return Unknown
	}
}

// expires reads seconds. The kernel's number is unsigned, 32 bits.
func (p *connectionParser) expires() time.Duration {
	w := p.word()
	if len(w) == 0 || len(w) > 10 {
		p.fail("%q is no number of seconds", w)
		return 0
	}
	var n uint64
	for _, c := range w {
		if c < '0' || c > '9' {
			p.fail("%q is no number of seconds", w)
			return 0
		}
		n = n*10 + uint64(c-'0')
	}
	if n > 1<<32-1 {
		p.fail("%q is no number of seconds", w)
	}
	return time.Duration(n) * time.Second
}

// engine reads the name of a persistence engine and its data, or nothing.
func (p *connectionParser) engine() (engine, data string) {
	w := p.word()
	if len(w) == 0 {
		return "", ""
	}
	if !name.Match(w) || len(w) > engineNameMax {
		p.fail("%q is no persistence engine", w)
		return "", ""
	}
	return string(w), string(bytes.TrimPrefix(p.rest, []byte(" ")))
}
