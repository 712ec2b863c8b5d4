package sourcenat

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"baton/internal/pool"
)

// TableName is the name of the table, of the family inet.
const TableName = "baton"

// priority is that of the chain: before those of others at the usual 100, so that
// a general rule for a network does not decide instead. Of all chains the first
// that has a rule for a connection decides.
const priority = nftables.ChainPriority(90)

// ruleset is a table's contents.
type ruleset struct {
	sets   []set
	chains []chain
}

// set is a named set of keys.
type set struct {
	name     string
	kind     nftables.SetDatatype
	concat   bool
	elements [][]byte // sorted
}

// chain is a chain with its rules; a base chain is called by the kernel.
type chain struct {
	name  string
	base  bool
	rules []rule
}

// rule is what one rule does, and what it says for those who list it.
type rule struct {
	exprs   []expr.Any
	comment string
}

// rulesetOf returns the table for a state; an empty one means none.
//
// Everything that varies is in sets, so that the number of rules does not depend
// on that of services and servers, and nft lists all of it in words that it reads
// back.
func rulesetOf(s State) ruleset {
	var out ruleset
	if s.Empty() {
		return out
	}
	base := chain{name: "postrouting", base: true}
	for _, ipv6 := range []bool{false, true} {
		if f := s.of(ipv6); !f.empty() {
			out.add(f, &base)
		}
	}
	out.chains = append(out.chains, base)
	return out
}

// add adds a family: a chain for packets to its servers, and the way there.
func (r *ruleset) add(f family, base *chain) {
	c := chain{name: f.name("services")}
	servers := r.set(set{name: f.name("servers"), kind: f.addressKind(), elements: addresses(f.servers)})
	base.rules = append(base.rules, rule{exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register}, equals(f.nfproto()),
		f.destination(), in(servers), &expr.Verdict{Kind: expr.VerdictGoto, Chain: c.name},
	}})
	mark := &expr.Meta{Key: expr.MetaKeyMARK, Register: register}
	if len(f.keepMarks) > 0 {
		keep := r.set(set{name: f.name("other_marks"), kind: nftables.TypeMark, elements: numbers(f.keepMarks)})
		c.rules = append(c.rules, rule{[]expr.Any{mark, in(keep), leave}, "services without source_nat"})
	}
	if len(f.marks) > 0 {
		marks := r.set(set{name: f.name("marks"), kind: nftables.TypeMark, elements: numbers(f.marks)})
		// A packet that was for the server at first came here without IPVS.
		c.rules = append(c.rules, rule{
			[]expr.Any{f.originalDestination(), notIn(servers), mark, in(marks), &expr.Counter{}, &expr.Masq{}}, "",
		})
	}
	for _, p := range protocols {
		c.rules = append(c.rules, r.protocol(f, p)...)
	}
	r.chains = append(r.chains, c)
}

// protocol returns the rules of a family's services of one protocol.
func (r *ruleset) protocol(f family, p pool.Protocol) (rules []rule) {
	is := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register}, equals(byte(p))}
	port := &expr.Ct{Key: expr.CtKeyPROTODST, Register: f.second(), Direction: expr.CtDirOriginal}
	at := func(s string, then ...expr.Any) rule {
		return rule{exprs: append(append(is[:2:2], f.originalDestination(), port, in(s)), then...)}
	}
	if keep := f.keepPorts[p]; len(keep) > 0 {
		keep := r.set(set{name: f.name("other_" + p.String()), kind: f.portKind(), concat: true, elements: ports(keep)})
		rule := at(keep, leave)
		rule.comment = "services without source_nat"
		rules = append(rules, rule)
	}
	if here := f.ports[p]; len(here) > 0 {
		here := r.set(set{name: f.name(p.String()), kind: f.portKind(), concat: true, elements: ports(here)})
		rules = append(rules, at(here, &expr.Counter{}, &expr.Masq{}))
	}
	if whole := f.whole[p]; len(whole) > 0 {
		whole := r.set(set{name: f.name("all_" + p.String()), kind: f.addressKind(), elements: addresses(whole)})
		rules = append(rules, rule{exprs: append(is[:2:2], f.originalDestination(), in(whole), &expr.Counter{}, &expr.Masq{})})
	}
	return rules
}

// set adds a set and returns its name.
func (r *ruleset) set(s set) string {
	r.sets = append(r.sets, s)
	return s.name
}

// register is the first register of a rule, 16 bytes (NFT_REG_1).
const register = unix.NFT_REG_1

var leave = &expr.Verdict{Kind: expr.VerdictReturn}

func equals(b byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{b}}
}

func in(set string) expr.Any { return &expr.Lookup{SourceRegister: register, SetName: set} }

func notIn(set string) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: set, Invert: true}
}

func (f family) name(of string) string {
	if f.ipv6 {
		return of + "6"
	}
	return of + "4"
}

func (f family) nfproto() byte {
	if f.ipv6 {
		return unix.NFPROTO_IPV6
	}
	return unix.NFPROTO_IPV4
}

// destination loads where the packet goes now.
func (f family) destination() expr.Any {
	offset, length := uint32(16), uint32(4) // struct iphdr
	if f.ipv6 {
		offset, length = 24, 16 // struct ipv6hdr
	}
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, DestRegister: register, Offset: offset, Len: length}
}

// originalDestination loads where the client sent the connection's first packet.
func (f family) originalDestination() expr.Any {
	key := expr.CtKeyDSTIP
	if f.ipv6 {
		key = expr.CtKeyDSTIP6
	}
	return &expr.Ct{Key: key, Register: register, Direction: expr.CtDirOriginal}
}

// second is the register behind an address in the first. Those of 4 bytes overlap
// those of 16; where one of 16 begins, the kernel calls it so.
func (f family) second() uint32 {
	if f.ipv6 {
		return unix.NFT_REG_2
	}
	return unix.NFT_REG32_00 + 1
}

func (f family) addressKind() nftables.SetDatatype {
	if f.ipv6 {
		return nftables.TypeIP6Addr
	}
	return nftables.TypeIPAddr
}

// portKind is the type of an address with a port.
func (f family) portKind() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.addressKind(), nftables.TypeInetService)
}

func addresses(list []netip.Addr) (out [][]byte) {
	for _, a := range list {
		out = append(out, a.AsSlice())
	}
	return out
}

// ports returns the elements of a concatenation, of which each part takes whole
// registers of 4 bytes.
func ports(list []netip.AddrPort) (out [][]byte) {
	for _, a := range list {
		port := [4]byte{}
		binary.BigEndian.PutUint16(port[:], a.Port())
		out = append(out, append(a.Addr().AsSlice(), port[:]...))
	}
	return out
}

// numbers returns marks as the kernel compares them.
func numbers(list []uint32) (out [][]byte) {
	for _, n := range list {
		out = append(out, binaryutil.NativeEndian.PutUint32(n))
	}
	return out
}

// String says how much there is, for the log.
func (s State) String() string {
	return strconv.Itoa(len(s.Keys)) + " virtual services, " + strconv.Itoa(len(s.Servers)) + " real servers"
}
