package check

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver answers a query as edit makes it: with 192.0.2.1 and 192.0.2.2 unless
// it changes that.
func resolver(t *testing.T, edit func(*dnsmessage.Message)) func([]byte) [][]byte {
	return func(query []byte) [][]byte {
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
			t.Errorf("query %x: %v", query, err)
			return nil
		}
		h := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeA}
		m.Response = true
		m.Answers = []dnsmessage.Resource{
			{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
			{Header: h, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}}},
		}
		if edit != nil {
			edit(&m)
		}
		out, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{out}
	}
}

func TestDNS(t *testing.T) {
	name := dnsmessage.MustNewName
	answers := func(typ dnsmessage.Type, bodies ...dnsmessage.ResourceBody) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) {
			m.Answers = nil
			for _, b := range bodies {
				h := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, Type: typ}
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: b})
			}
		}
	}
	rcode := func(c dnsmessage.RCode) func(*dnsmessage.Message) {
		return func(m *dnsmessage.Message) { m.RCode, m.Answers = c, nil }
	}
	for _, tt := range []struct {
		name   string
		edit   func(*dnsmessage.Message)
		check  DNS
		code   Code
		detail string
	}{
		{name: "answered", code: L7OK, detail: "TARGET answered 192.0.2.1 for A web.example"},
		{name: "expected", check: DNS{Expect: []string{"192.0.2.2", "192.0.2.1"}}, code: L7OK},
		{name: "not expected", check: DNS{Expect: []string{"192.0.2.3"}}, code: L7RSP, detail: `TARGET answered "192.0.2.1, 192.0.2.2" for A web.example, and not "192.0.2.3"`},
		{name: "no name", edit: rcode(dnsmessage.RCodeNameError), code: L7STS, detail: "answered NXDOMAIN for A web.example, expected NOERROR"},
		{name: "no name, as expected", edit: rcode(dnsmessage.RCodeNameError), check: DNS{RCode: "NXDOMAIN"}, code: L7OK},
		{name: "a name, not expected", check: DNS{RCode: "NXDOMAIN"}, code: L7STS, detail: "answered NOERROR"},
		{name: "broken", edit: rcode(dnsmessage.RCodeServerFailure), code: L7STS, detail: "SERVFAIL"},
		{name: "strange code", edit: rcode(11), code: L7STS, detail: "RCODE11"},
		{name: "no data", edit: answers(dnsmessage.TypeA), code: L7RSP, detail: "TARGET has no A for web.example"},
		{name: "refused without the question", edit: func(m *dnsmessage.Message) {
			m.RCode, m.Answers, m.Questions = dnsmessage.RCodeRefused, nil, nil
		}, code: L7STS, detail: "REFUSED"},
		{name: "another question", edit: func(m *dnsmessage.Message) { m.Questions[0].Name = name("other.example.") }, code: L7RSP, detail: "another question"},
		{name: "a query", edit: func(m *dnsmessage.Message) { m.Response = false }, code: L7RSP, detail: "no answer to the query"},
		{name: "upper case", edit: func(m *dnsmessage.Message) { m.Questions[0].Name = name("WEB.example.") }, code: L7OK},
		{name: "mx", check: DNS{Type: "MX", Expect: []string{"10 MX.example"}}, edit: answers(dnsmessage.TypeMX, &dnsmessage.MXResource{Pref: 10, MX: name("mx.example.")}), code: L7OK},
		{name: "srv", check: DNS{Type: "SRV", Expect: []string{"0 5 443 a.example."}}, edit: answers(dnsmessage.TypeSRV, &dnsmessage.SRVResource{Weight: 5, Port: 443, Target: name("a.example.")}), code: L7OK},
		{name: "txt", check: DNS{Type: "TXT", Expect: []string{"one two"}}, edit: answers(dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: []string{"one ", "two"}}), code: L7OK},
		{name: "ipv6", check: DNS{Type: "AAAA", Expect: []string{"2001:DB8:0::1"}}, edit: answers(dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}), code: L7OK},
		{name: "soa", check: DNS{Type: "SOA"}, edit: answers(dnsmessage.TypeSOA, &dnsmessage.SOAResource{NS: name("ns.example."), MBox: name("a.example."), Serial: 7}), code: L7OK, detail: "ns.example. a.example. 7 0 0 0 0"},
		{name: "alias beside", edit: func(m *dnsmessage.Message) {
			h := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeCNAME}
			m.Answers = append([]dnsmessage.Resource{{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: name("real.example.")}}}, m.Answers...)
		}, code: L7OK, detail: "answered 192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check := tt.check
			check.Name = "web.example"
			if check.Type == "" {
				check.Type = "A"
			}
			holdAgainst(t, Spec{Target: serveUDP(t, resolver(t, tt.edit)), Timeout: time.Second, DNS: &check}, tt.code, tt.detail)
		})
	}
}

// A late answer to an earlier query must not be taken for that to this one.
func TestDNSIgnoresOtherAnswers(t *testing.T) {
	good := resolver(t, nil)
	target := serveUDP(t, func(query []byte) [][]byte {
		other := append([]byte(nil), good(query)[0]...)
		other[0] ^= 0xff
		return [][]byte{other, {1}, good(query)[0]}
	})
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, DNS: &DNS{Name: "a.example.", Type: "A"}}, L7OK, "")
}

// What does not fit is asked for again over TCP, at the same port.
func TestDNSOverTCP(t *testing.T) {
	answer := resolver(t, nil)
	target := serve(t, func(c net.Conn) {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(c, query); err != nil {
			return
		}
		reply := answer(query)[0]
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	})
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, DNS: &DNS{Name: "a.example", Type: "A", TCP: true}}, L7OK, "")
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(target))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	go func() {
		buf := make([]byte, 512)
		n, from, err := u.ReadFromUDPAddrPort(buf)
		if err == nil {
			cut := resolver(t, func(m *dnsmessage.Message) { m.Truncated, m.Answers = true, nil })
			_, _ = u.WriteToUDPAddrPort(cut(buf[:n])[0], from)
		}
	}()
	holdAgainst(t, Spec{Target: target, Timeout: time.Second, DNS: &DNS{Name: "a.example", Type: "A"}}, L7OK, "answered 192.0.2.1")
}

func TestDNSNameThatCannotBe(t *testing.T) {
	long := make([]byte, 300)
	for i := range long {
		long[i] = 'a'
	}
	for _, n := range []string{string(long), "a..b"} {
		r := Probe(t.Context(), Spec{Target: refusingUDP(t), Timeout: time.Second, DNS: &DNS{Name: n, Type: "A"}})
		if r.Code != L7RSP {
			t.Errorf("%q: %s (%s)", n, r.Code, r.Detail)
		}
	}
}
