package catalogue

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/dns/dnsmessage"
)

// NameServer is a DNS server that says what a test wants.
type NameServer struct {
	mu     sync.Mutex
	answer func(q dnsmessage.Message, tcp bool) []byte
	forged func(q dnsmessage.Message) []byte
	asked  []string
	ports  map[string]bool
	ids    map[uint16]bool
}

// Says replaces what it says: answer writes the answer to a query, or returns nil
// for none. What was asked is forgotten.
func (s *NameServer) Says(answer func(q dnsmessage.Message, tcp bool) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.asked = answer, nil
}

// Forges has another packet come before each answer.
func (s *NameServer) Forges(packet func(q dnsmessage.Message) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forged = packet
}

// Asked are the questions, such as "www.example A udp".
func (s *NameServer) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Variety is from how many addresses and ports, and with how many numbers, it was
// asked.
func (s *NameServer) Variety() (ports, ids int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ports), len(s.ids)
}

// ServePacket answers datagrams until the socket is closed.
func (s *NameServer) ServePacket(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, reply := range s.reply(buf[:n], from.String(), false) {
			_, _ = conn.WriteTo(reply, from) // what is lost is asked for again
		}
	}
}

// Serve answers one query on each connection until the listener is closed.
func (s *NameServer) Serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.serveConn(conn)
		_ = conn.Close() // the client has its answer, or sees that it has none
	}
}

func (s *NameServer) serveConn(conn net.Conn) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return
	}
	for _, reply := range s.reply(buf, "", true) {
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	}
}

func (s *NameServer) reply(packet []byte, from string, tcp bool) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var q dnsmessage.Message
	if err := q.Unpack(packet); err != nil || len(q.Questions) != 1 {
		s.asked = append(s.asked, "nonsense")
		return nil
	}
	over := "udp"
	if tcp {
		over = "tcp"
	}
	if len(q.Additionals) == 0 {
		over += " without EDNS"
	}
	asked := q.Questions[0]
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s",
		strings.TrimSuffix(asked.Name.String(), "."), strings.TrimPrefix(asked.Type.String(), "Type"), over))
	if s.ports == nil {
		s.ports, s.ids = map[string]bool{}, map[uint16]bool{}
	}
	s.ports[from], s.ids[q.ID] = true, true
	reply := s.answer(q, tcp)
	switch {
	case reply == nil:
		return nil
	case s.forged != nil:
		return [][]byte{s.forged(q), reply}
	}
	return [][]byte{reply}
}

// Zone answers from lines such as "www.example. 60 A 10.0.0.1", with the addresses
// of SRV targets beside if Extras is set. A name that is in no line does not exist.
type Zone struct {
	Lines  []string
	Extras bool
	// Nothing is how many seconds it holds that there is nothing.
	Nothing uint32
	RCodes  map[string]dnsmessage.RCode // by name, instead of an answer
	Most    int                         // bytes over UDP; 0: all
}

// Answer writes the answer to a query.
func (z Zone) Answer(q dnsmessage.Message, tcp bool) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true}, Questions: q.Questions}
	asked := q.Questions[0]
	name, exists := asked.Name.String(), false
	if rcode, ok := z.RCodes[name]; ok {
		m.RCode = rcode
		return Packed(m)
	}
	for range 10 { // CNAMEs
		next := ""
		for _, l := range z.Lines {
			r := resource(l)
			if !strings.EqualFold(r.Header.Name.String(), name) {
				continue
			}
			exists = true
			if r.Header.Type == asked.Type || r.Header.Type == dnsmessage.TypeCNAME {
				m.Answers = append(m.Answers, r)
			}
			if c, ok := r.Body.(*dnsmessage.CNAMEResource); ok {
				next = c.CNAME.String()
			}
		}
		if next == "" {
			break
		}
		name, exists = next, false
	}
	if !exists {
		m.RCode = dnsmessage.RCodeNameError
	}
	if len(m.Answers) == 0 {
		m.Authorities = append(m.Authorities, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("example."), Type: dnsmessage.TypeSOA, Class: dnsmessage.ClassINET, TTL: 40},
			Body:   &dnsmessage.SOAResource{NS: dnsmessage.MustNewName("ns.example."), MBox: dnsmessage.MustNewName("x.example."), MinTTL: z.Nothing},
		})
	}
	if z.Extras && asked.Type == dnsmessage.TypeSRV {
		for _, l := range z.Lines {
			if r := resource(l); r.Header.Type == dnsmessage.TypeA || r.Header.Type == dnsmessage.TypeAAAA {
				m.Additionals = append(m.Additionals, r)
			}
		}
	}
	out := Packed(m)
	if !tcp && z.Most > 0 && len(out) > z.Most {
		m.Truncated, m.Answers, m.Additionals = true, m.Answers[:1], nil
		return Packed(m)
	}
	return out
}

// Packed is a message on the wire.
func Packed(m dnsmessage.Message) []byte {
	out, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return out
}

// resource reads a line of a zone.
func resource(line string) dnsmessage.Resource {
	var name, kind string
	var ttl uint32
	var rest [4]string
	_, _ = fmt.Sscan(line, &name, &ttl, &kind, &rest[0], &rest[1], &rest[2], &rest[3]) // there may be less
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: ttl}}
	switch kind {
	case "A":
		r.Header.Type, r.Body = dnsmessage.TypeA, &dnsmessage.AResource{A: netip.MustParseAddr(rest[0]).As4()}
	case "AAAA":
		r.Header.Type, r.Body = dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(rest[0]).As16()}
	case "CNAME":
		r.Header.Type, r.Body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(rest[0])}
	case "SRV":
		var n [3]uint16
		_, _ = fmt.Sscan(strings.Join(rest[:3], " "), &n[0], &n[1], &n[2])
		r.Header.Type = dnsmessage.TypeSRV
		r.Body = &dnsmessage.SRVResource{Priority: n[0], Weight: n[1], Port: n[2], Target: dnsmessage.MustNewName(rest[3])}
	default:
		panic(line)
	}
	return r
}
