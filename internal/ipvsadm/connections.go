package ipvsadm

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"baton/internal/ipvs"
	"baton/internal/pool"
)

// Filter chooses connections; the zero value takes all. Those that match all of
// what is set are chosen.
type Filter struct {
	Protocol   string       // of the service: tcp, udp, sctp or fwmark
	Client     netip.Prefix // of the client's address
	Service    pool.Key     // not one by firewall mark: a connection does not say its mark
	Server     netip.Addr
	ServerPort uint16 // 0: any
	State      string // the kernel's word, in small or capital letters
	Persistent bool   // persistence entries only
	Synced     bool   // only those that another director told of
}

// Check reports what in the filter can match nothing.
func (f Filter) Check() error {
	switch f.Protocol {
	case "", "tcp", "udp", "sctp", "fwmark":
	default:
		return fmt.Errorf("there are no connections of the protocol %q; there are tcp, udp, sctp and fwmark", f.Protocol)
	}
	if f.Service.FWMark != 0 {
		return errors.New("a connection does not say by which firewall mark it was chosen; look for --server or --client")
	}
	return nil
}

// Match reports whether a connection is chosen.
func (f Filter) Match(c ipvs.Connection) bool {
	switch {
	case f.Protocol != "" && f.Protocol != pool.Protocol(c.Protocol).String(),
		f.Client.IsValid() && !f.Client.Contains(c.Client.Addr()),
		f.Service != (pool.Key{}) && !at(f.Service, c),
		f.Server.IsValid() && f.Server != c.Server.Addr(),
		f.ServerPort != 0 && f.ServerPort != c.Server.Port(),
		f.State != "" && !strings.EqualFold(f.State, c.State),
		f.Persistent && !c.Template(),
		f.Synced && c.Origin != ipvs.Synced:
		return false
	}
	return true
}

// at reports whether a connection belongs to a service; one at port 0 has those
// of all ports.
func at(k pool.Key, c ipvs.Connection) bool {
	return k.Protocol == pool.Protocol(c.Protocol) && k.Address == c.Virtual.Addr() && (k.Port == 0 || k.Port == c.Virtual.Port())
}

// Form says how connections are written.
type Form struct {
	JSON   bool // one document a line
	Origin bool // with the column of the origin
	Engine bool // with the columns of the persistence engine
	Limit  int  // so many at most; 0: all
}

// WriteConnections writes the chosen ones of a series of connections as "ipvsadm
// -Lnc" does, one by one. A line of the kernel's that is not understood is given
// to bad, and what follows is written. It returns how many were written.
func WriteConnections(out io.Writer, list iter.Seq2[ipvs.Connection, error], f Filter, form Form, bad func(error)) (n int, err error) {
	w := bufio.NewWriterSize(out, 64<<10)
	if !form.JSON {
		_, _ = w.WriteString("IPVS connection entries\n" + form.title()) // as below
	}
	documents := json.NewEncoder(w)
	documents.SetEscapeHTML(false)
	var line []byte
	for c, broken := range list {
		if broken != nil {
			bad(broken)
			continue
		}
		if !f.Match(c) {
			continue
		}
		if form.JSON {
			err = documents.Encode(connectionDocument(c))
		} else {
			line = form.appendLine(line[:0], c)
			_, err = w.Write(line)
		}
		if n++; err != nil || n == form.Limit {
			break
		}
	}
	if err == nil {
		err = w.Flush() // bufio keeps an earlier error
	}
	return n, err
}

func (form Form) title() string {
	text := "pro expire state       source             virtual            destination"
	switch {
	case form.Engine:
		return text + "        pe name          pe_data\n"
	case form.Origin:
		return text + "        origin\n"
	}
	return text + "\n"
}

// appendLine writes one connection in columns. A value that is wider than its
// column moves the others, as in ipvsadm.
func (form Form) appendLine(b []byte, c ipvs.Connection) []byte {
	b = pad(append(b, c.Protocol.String()...), len(b), 3)
	from := len(b)
	b = appendTwo(b, int64(c.Expires/time.Minute))
	b = append(b, ':')
	b = pad(appendTwo(b, int64(c.Expires/time.Second%60)), from, 6)
	b = pad(append(b, c.State...), len(b), 11)
	from = len(b)
	b = pad(c.Client.AppendTo(b), from, 18)
	from = len(b)
	b = pad(c.Virtual.AppendTo(b), from, 18)
	from = len(b)
	b = c.Server.AppendTo(b)
	switch {
	case form.Engine && c.Engine != "":
		b = pad(b, from, 16)
		b = pad(append(b, c.Engine...), len(b), 18)
		b = append(b, c.EngineData...)
	case form.Origin:
		b = pad(b, from, 18)
		b = append(b, c.Origin.String()...)
	}
	return append(b, '\n')
}

// pad fills what was written since from up to a width, and adds a blank.
func pad(b []byte, from, width int) []byte {
	for len(b) < from+width {
		b = append(b, ' ')
	}
	return append(b, ' ')
}

// appendTwo writes a number with two digits at least.
func appendTwo(b []byte, n int64) []byte {
	if n < 10 {
		b = append(b, '0')
	}
	return strconv.AppendInt(b, n, 10)
}
