package check

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	dnsTypes = map[string]dnsmessage.Type{
		"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "CNAME": dnsmessage.TypeCNAME,
		"MX": dnsmessage.TypeMX, "NS": dnsmessage.TypeNS, "PTR": dnsmessage.TypePTR,
		"SOA": dnsmessage.TypeSOA, "SRV": dnsmessage.TypeSRV, "TXT": dnsmessage.TypeTXT,
	}
	dnsRCodes = map[string]dnsmessage.RCode{
		"NOERROR": dnsmessage.RCodeSuccess, "FORMERR": dnsmessage.RCodeFormatError,
		"SERVFAIL": dnsmessage.RCodeServerFailure, "NXDOMAIN": dnsmessage.RCodeNameError,
		"NOTIMP": dnsmessage.RCodeNotImplemented, "REFUSED": dnsmessage.RCodeRefused,
	}
)

// probeDNS asks one question. An answer that does not fit into a datagram is asked
// for again over TCP, as a resolver does (RFC 7766 section 5).
func probeDNS(ctx context.Context, s Spec) (Code, string, error) {
	q, err := newQuery(s.DNS)
	if err != nil {
		return "", "", failf(L7RSP, "%s", err)
	}
	var reply dnsmessage.Message
	if !s.DNS.TCP {
		if reply, err = q.overUDP(ctx, s); err != nil {
			return "", "", err
		}
	}
	if s.DNS.TCP || reply.Truncated {
		if reply, err = q.overTCP(ctx, s); err != nil {
			return "", "", err
		}
	}
	return s.DNS.judge(s.Target, reply)
}

// query is a question on the wire.
type query struct {
	id       uint16
	question dnsmessage.Question
	packet   []byte
}

func newQuery(d *DNS) (query, error) {
	name, err := dnsmessage.NewName(strings.TrimSuffix(d.Name, ".") + ".")
	if err != nil {
		return query{}, fmt.Errorf("%s is no name that can be asked for: %w", quote([]byte(d.Name)), err)
	}
	q := query{id: uint16(rand.Uint32()), question: dnsmessage.Question{
		Name: name, Type: dnsTypes[d.Type], Class: dnsmessage.ClassINET,
	}}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.id, RecursionDesired: true},
		Questions: []dnsmessage.Question{q.question},
	}
	if q.packet, err = m.Pack(); err != nil {
		return query{}, fmt.Errorf("%s cannot be asked for: %w", quote([]byte(d.Name)), err)
	}
	return q, nil
}

func (q query) overUDP(ctx context.Context, s Spec) (m dnsmessage.Message, err error) {
	d, err := dialUDP(ctx, s)
	if err != nil {
		return m, err
	}
	defer d.close()
	err = d.ask(q.packet, func(reply []byte) (bool, error) {
		m = dnsmessage.Message{}
		if len(reply) < 2 || binary.BigEndian.Uint16(reply) != q.id {
			return false, nil
		}
		return true, q.parse(s.Target, reply, &m)
	})
	return m, err
}

// overTCP puts the length in front of each message (RFC 1035 section 4.2.2).
func (q query) overTCP(ctx context.Context, s Spec) (m dnsmessage.Message, err error) {
	c, err := dial(ctx, s, s.Target)
	if err != nil {
		return m, err
	}
	defer func() { c.end(err) }()
	packet := append(binary.BigEndian.AppendUint16(nil, uint16(len(q.packet))), q.packet...)
	if _, err = c.Write(packet); err != nil {
		return m, c.failed(err, "an answer")
	}
	var length [2]byte
	if _, err = io.ReadFull(c, length[:]); err != nil {
		return m, c.failed(err, "an answer")
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err = io.ReadFull(c, reply); err != nil {
		return m, c.failed(err, "its whole answer")
	}
	return m, q.parse(s.Target, reply, &m)
}

// parse reads an answer and makes sure that it is one to this question.
func (q query) parse(target netip.AddrPort, reply []byte, m *dnsmessage.Message) error {
	if err := m.Unpack(reply); err != nil {
		return failf(L7RSP, "the answer from %s is not DNS: %s", target, quote(reply))
	}
	if !m.Response || m.ID != q.id {
		return failf(L7RSP, "%s sent a message that is no answer to the query", target)
	}
	// A server that cannot read the question need not repeat it.
	if len(m.Questions) == 0 && m.RCode != dnsmessage.RCodeSuccess {
		return nil
	}
	if len(m.Questions) != 1 || !sameQuestion(m.Questions[0], q.question) {
		return failf(L7RSP, "%s answered another question than the one asked", target)
	}
	return nil
}

func sameQuestion(a, b dnsmessage.Question) bool {
	return a.Type == b.Type && a.Class == b.Class && strings.EqualFold(a.Name.String(), b.Name.String())
}

// judge holds an answer against what is expected.
func (d *DNS) judge(target netip.AddrPort, m dnsmessage.Message) (Code, string, error) {
	want := d.RCode
	if want == "" {
		want = "NOERROR"
	}
	if got := rcodeName(m.RCode); got != want {
		return "", "", failf(L7STS, "%s answered %s for %s %s, expected %s", target, got, d.Type, d.Name, want)
	}
	if want != "NOERROR" {
		return L7OK, fmt.Sprintf("%s answered %s for %s %s", target, want, d.Type, d.Name), nil
	}
	answers := texts(m.Answers, dnsTypes[d.Type])
	if len(answers) == 0 {
		return "", "", failf(L7RSP, "%s has no %s for %s", target, d.Type, d.Name)
	}
	for _, e := range d.Expect {
		if !slices.ContainsFunc(answers, func(a string) bool { return sameText(a, e) }) {
			return "", "", failf(L7RSP, "%s answered %s for %s %s, and not %s",
				target, quote([]byte(strings.Join(answers, ", "))), d.Type, d.Name, quote([]byte(e)))
		}
	}
	return L7OK, fmt.Sprintf("%s answered %s for %s %s", target, strings.Trim(quote([]byte(answers[0])), `"`), d.Type, d.Name), nil
}

// sameText compares two answers as a zone file writes them: names have no case,
// and the dot at their end may be left out; an address has several forms.
func sameText(a, b string) bool {
	if x, err := netip.ParseAddr(b); err == nil {
		y, err := netip.ParseAddr(a)
		return err == nil && x == y
	}
	trim := func(s string) string { return strings.TrimSuffix(strings.TrimSpace(s), ".") }
	return strings.EqualFold(trim(a), trim(b))
}

func rcodeName(c dnsmessage.RCode) string {
	for name, code := range dnsRCodes {
		if c == code {
			return name
		}
	}
	return "RCODE" + strconv.Itoa(int(c))
}

// texts are the answers of one type, as a zone file writes them.
func texts(answers []dnsmessage.Resource, typ dnsmessage.Type) (out []string) {
	for _, a := range answers {
		if a.Header.Type == typ && a.Header.Class == dnsmessage.ClassINET {
			out = append(out, recordText(a.Body))
		}
	}
	return out
}

func recordText(body dnsmessage.ResourceBody) string {
	switch r := body.(type) {
	case *dnsmessage.AResource:
		return netip.AddrFrom4(r.A).String()
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(r.AAAA).String()
	case *dnsmessage.CNAMEResource:
		return r.CNAME.String()
	case *dnsmessage.NSResource:
		return r.NS.String()
	case *dnsmessage.PTRResource:
		return r.PTR.String()
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%d %s", r.Pref, r.MX)
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, r.Target)
	case *dnsmessage.SOAResource:
		return fmt.Sprintf("%s %s %d %d %d %d %d", r.NS, r.MBox, r.Serial, r.Refresh, r.Retry, r.Expire, r.MinTTL)
	case *dnsmessage.TXTResource:
		return strings.Join(r.TXT, "")
	}
	return ""
}
