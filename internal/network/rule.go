package network

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// String writes the rule as ip(8) takes it.
func (r Rule) String() string {
	var b strings.Builder
	if r.IPv6 {
		b.WriteString("-6 ")
	}
	if r.Priority != 0 {
		fmt.Fprintf(&b, "priority %d ", r.Priority)
	}
	if r.From.IsValid() {
		b.WriteString("from " + r.From.String())
	} else {
		b.WriteString("from all")
	}
	if r.To.IsValid() {
		b.WriteString(" to " + r.To.String())
	}
	if r.IIF != "" {
		b.WriteString(" iif " + r.IIF)
	}
	if r.FWMark != 0 {
		fmt.Fprintf(&b, " fwmark %#x", r.FWMark)
	}
	fmt.Fprintf(&b, " table %d", r.table())
	return b.String()
}

func (r Rule) table() uint32 {
	if r.Table == 0 {
		return unix.RT_TABLE_MAIN
	}
	return r.Table
}

// kernelTerms returns the rule as the kernel would return it, but for a priority
// that the kernel is to choose.
func (r Rule) kernelTerms() (Rule, error) {
	out := Rule{IPv6: r.IPv6, IIF: r.IIF, FWMark: r.FWMark, Table: r.table(), Priority: r.Priority}
	families := map[bool]bool{}
	for _, p := range []struct {
		in  netip.Prefix
		out *netip.Prefix
	}{{r.From, &out.From}, {r.To, &out.To}} {
		if !p.in.IsValid() {
			continue
		}
		out.IPv6 = p.in.Addr().Unmap().Is6()
		families[out.IPv6] = true
		if p.in.Bits() > 0 { // 0.0.0.0/0 is any
			*p.out = netip.PrefixFrom(unmapped(p.in.Addr()), p.in.Bits()).Masked()
			if !p.out.IsValid() {
				return out, fmt.Errorf("%s is not a network", p.in)
			}
		}
	}
	if len(families) > 1 {
		return out, fmt.Errorf("%s and %s are of different families", r.From, r.To)
	}
	return out, nil
}

// kernelRule is a rule that is there.
type kernelRule struct {
	Rule
	protocol uint8
	other    bool // has what we never set
}

// same reports whether a rule that is there is the wanted one.
func (r Rule) same(there kernelRule) bool {
	want := r
	if want.Priority == 0 {
		want.Priority = there.Priority
	}
	return !there.other && want == there.Rule
}

// message returns the rule as a request.
func (r Rule) message() (*nl.RtMsg, []*nl.RtAttr) {
	head := &nl.RtMsg{RtMsg: unix.RtMsg{Family: familyOf(r.IPv6), Type: nl.FR_ACT_TO_TBL}}
	attrs := []*nl.RtAttr{
		nl.NewRtAttr(nl.FRA_TABLE, nl.Uint32Attr(r.Table)),
		nl.NewRtAttr(nl.FRA_PROTOCOL, nl.Uint8Attr(Protocol)),
	}
	if r.From.IsValid() {
		head.Src_len = uint8(r.From.Bits()) //nolint:gosec // at most 128
		attrs = append(attrs, nl.NewRtAttr(nl.FRA_SRC, r.From.Addr().AsSlice()))
	}
	if r.To.IsValid() {
		head.Dst_len = uint8(r.To.Bits()) //nolint:gosec // at most 128
		attrs = append(attrs, nl.NewRtAttr(nl.FRA_DST, r.To.Addr().AsSlice()))
	}
	if r.IIF != "" {
		attrs = append(attrs, nl.NewRtAttr(nl.FRA_IIFNAME, nl.ZeroTerminated(r.IIF)))
	}
	if r.FWMark != 0 {
		attrs = append(attrs, nl.NewRtAttr(nl.FRA_FWMARK, nl.Uint32Attr(r.FWMark)),
			nl.NewRtAttr(nl.FRA_FWMASK, nl.Uint32Attr(math.MaxUint32)))
	}
	if r.Priority != 0 {
		attrs = append(attrs, nl.NewRtAttr(nl.FRA_PRIORITY, nl.Uint32Attr(r.Priority)))
	}
	return head, attrs
}

// parseRule reads the body of a RTM_NEWRULE or RTM_DELRULE: a header that has
// the layout of a route's (struct fib_rule_hdr), and attributes.
func parseRule(data []byte) (k kernelRule, ok bool) {
	if len(data) < unix.SizeofRtMsg {
		return k, false
	}
	head := nl.DeserializeRtMsg(data)
	if head.Family != unix.AF_INET && head.Family != unix.AF_INET6 {
		return k, false
	}
	k.IPv6 = head.Family == unix.AF_INET6
	k.Table = uint32(head.Table)
	k.other = head.Type != nl.FR_ACT_TO_TBL || head.Tos != 0 || head.Flags&invertedRule != 0
	var mask uint32
	for kind, value := range attributes(data[unix.SizeofRtMsg:]) {
		switch kind {
		case nl.FRA_TABLE:
			k.Table = number(value)
		case nl.FRA_PRIORITY:
			k.Priority = number(value)
		case nl.FRA_FWMARK:
			k.FWMark = number(value)
		case nl.FRA_FWMASK:
			mask = number(value)
		case nl.FRA_SRC:
			k.From = prefixOf(value, head.Src_len)
		case nl.FRA_DST:
			k.To = prefixOf(value, head.Dst_len)
		case nl.FRA_IIFNAME:
			k.IIF = unix.ByteSliceToString(value)
		case nl.FRA_PROTOCOL:
			if len(value) > 0 {
				k.protocol = value[0]
			}
		case nl.FRA_SUPPRESS_PREFIXLEN, nl.FRA_SUPPRESS_IFGROUP:
			k.other = k.other || number(value) != math.MaxUint32 // -1: nothing
		case nl.FRA_PAD:
		default:
			k.other = true // a condition that we do not know
		}
	}
	if k.FWMark != 0 {
		mask = ^mask // ours compare the whole mark
	}
	k.other = k.other || mask != 0
	return k, true
}

// invertedRule is FIB_RULE_INVERT of linux/fib_rules.h.
const invertedRule = 2

func prefixOf(b []byte, bits uint8) netip.Prefix {
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, int(bits))
}
