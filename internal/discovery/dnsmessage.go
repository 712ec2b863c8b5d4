package discovery

import (
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// ednsSize is the largest datagram that we take: what passes everywhere without
	// being cut into fragments, which the DNS operators have agreed on.
	ednsSize = 1232
	// maxRecords bounds an answer: four for each server.
	maxRecords = 4 * MaxServers
)

// question is what is asked of a resolver.
type question struct {
	name  dnsmessage.Name
	qtype dnsmessage.Type
}

func newQuestion(name string, qtype dnsmessage.Type) (question, error) {
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return question{}, fmt.Errorf("%q cannot be asked for: %w", name, err)
	}
	return question{n, qtype}, nil
}

// pack returns the packet of a query and its number, which nobody can guess.
func (q question) pack(edns bool) (packet []byte, id uint16, err error) {
	var random [2]byte
	_, _ = crand.Read(random[:]) // never fails
	id = binary.BigEndian.Uint16(random[:])
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true})
	err = errors.Join(b.StartQuestions(), b.Question(dnsmessage.Question{Name: q.name, Type: q.qtype, Class: dnsmessage.ClassINET}))
	if edns {
		var h dnsmessage.ResourceHeader
		err = errors.Join(err, h.SetEDNS0(ednsSize, dnsmessage.RCodeSuccess, false),
			b.StartAdditionals(), b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s cannot be asked for: %w", q.name, err)
	}
	packet, err = b.Finish()
	if err != nil {
		return nil, 0, fmt.Errorf("%s cannot be asked for: %w", q.name, err)
	}
	return packet, id, nil
}

// record is a resource record of a kind that matters here.
type record struct {
	name   string // lower case, with the dot at its end
	ttl    time.Duration
	addr   netip.Addr // A, AAAA
	target string     // CNAME, SRV: like name

	priority, weight, port uint16 // SRV
}

// reply is an answer that belongs to its question.
type reply struct {
	rcode      dnsmessage.RCode
	truncated  bool
	cnames     []record
	addresses  []record // of the type that was asked for
	services   []record // SRV
	additional []record // addresses that came along
	negative   time.Duration
}

// errNotOurs is an answer to somebody else's question, or a forged one.
var errNotOurs = errors.New("it does not answer the question")

// parseReply reads a packet. What does not belong to the question is
// [errNotOurs]; any other error means that the right server sent nonsense.
func (q question) parseReply(packet []byte, id uint16) (*reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 {
		return nil, errNotOurs
	}
	r := &reply{rcode: h.RCode, truncated: h.Truncated}
	asked, err := p.AllQuestions()
	// A server that does not understand a query may leave the question out.
	if err != nil || len(asked) != 1 && (len(asked) != 0 || h.RCode != dnsmessage.RCodeFormatError) {
		return nil, errNotOurs
	}
	if len(asked) == 1 && !q.matches(asked[0]) {
		return nil, errNotOurs
	}
	if r.truncated {
		return r, nil // asked for again as a whole
	}
	if err := r.sections(&p, q.qtype); err != nil {
		return nil, fmt.Errorf("the answer to %s %s cannot be read: %w", q.name, typeName(q.qtype), err)
	}
	return r, nil
}

func (q question) matches(o dnsmessage.Question) bool {
	return strings.EqualFold(o.Name.String(), q.name.String()) && o.Type == q.qtype && o.Class == dnsmessage.ClassINET
}

// sections reads what follows the question.
func (r *reply) sections(p *dnsmessage.Parser, qtype dnsmessage.Type) error {
	n := 0
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if n++; err == nil && n > maxRecords {
			err = fmt.Errorf("it has more than %d records", maxRecords)
		}
		if err == nil {
			err = r.answer(p, h, qtype)
		}
		if err != nil {
			return err
		}
	}
	if err := r.authority(p); err != nil {
		return err
	}
	return r.extras(p, maxRecords-n)
}

func (r *reply) answer(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, qtype dnsmessage.Type) error {
	rec := newRecord(h)
	switch {
	case h.Class != dnsmessage.ClassINET, h.Type != qtype && h.Type != dnsmessage.TypeCNAME:
		return p.SkipAnswer()
	case h.Type == dnsmessage.TypeCNAME:
		c, err := p.CNAMEResource()
		rec.target = strings.ToLower(c.CNAME.String())
		r.cnames = append(r.cnames, rec)
		return err
	case h.Type == dnsmessage.TypeSRV:
		s, err := p.SRVResource()
		rec.target = strings.ToLower(s.Target.String())
		rec.priority, rec.weight, rec.port = s.Priority, s.Weight, s.Port
		r.services = append(r.services, rec)
		return err
	}
	var err error
	rec.addr, err = address(p, h.Type)
	r.addresses = append(r.addresses, rec)
	return err
}

// authority finds how long a negative answer may be believed (RFC 2308 section 5).
func (r *reply) authority(p *dnsmessage.Parser) error {
	for {
		h, err := p.AuthorityHeader()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return nil
		case err != nil:
			return err
		case h.Type != dnsmessage.TypeSOA:
			err = p.SkipAuthority()
		default:
			var soa dnsmessage.SOAResource
			soa, err = p.SOAResource()
			r.negative = time.Duration(min(h.TTL, soa.MinTTL)) * time.Second
		}
		if err != nil {
			return err
		}
	}
}

// extras reads the addresses that a server adds to SRV records. What it adds beyond
// most is not needed.
func (r *reply) extras(p *dnsmessage.Parser, most int) error {
	for range most {
		h, err := p.AdditionalHeader()
		switch {
		case errors.Is(err, dnsmessage.ErrSectionDone):
			return nil
		case err != nil:
			return err
		case h.Class != dnsmessage.ClassINET || h.Type != dnsmessage.TypeA && h.Type != dnsmessage.TypeAAAA:
			err = p.SkipAdditional()
		default:
			rec := newRecord(h)
			rec.addr, err = address(p, h.Type)
			r.additional = append(r.additional, rec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func newRecord(h dnsmessage.ResourceHeader) record {
	ttl := h.TTL
	if ttl >= 1<<31 { // RFC 2181 section 8
		ttl = 0
	}
	return record{name: strings.ToLower(h.Name.String()), ttl: time.Duration(ttl) * time.Second}
}

func address(p *dnsmessage.Parser, t dnsmessage.Type) (netip.Addr, error) {
	switch t {
	case dnsmessage.TypeA:
		a, err := p.AResource()
		return netip.AddrFrom4(a.A), err
	case dnsmessage.TypeAAAA:
		a, err := p.AAAAResource()
		return netip.AddrFrom16(a.AAAA).Unmap(), err
	}
	return netip.Addr{}, fmt.Errorf("no address in a record of type %s", typeName(t))
}

func typeName(t dnsmessage.Type) string { return strings.TrimPrefix(t.String(), "Type") }
