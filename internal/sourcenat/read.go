package sourcenat

import (
	"bytes"
	"errors"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/google/nftables/binaryutil"
)

// found is a table as it was read.
type found struct {
	ruleset
	exists bool
	odd    bool // it has what we never write
}

// read reads our table with all that is in it.
func (t *Table) read() (f found, err error) {
	have, err := t.conn.ListTableOfFamily(TableName, nftables.TableFamilyINet)
	if errors.Is(err, unix.ENOENT) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.exists, f.odd = true, have.Flags != 0
	err = errors.Join(f.readSets(t.conn), f.readChains(t.conn))
	if _, refused := errors.AsType[*netlink.OpError](err); err != nil && !refused {
		// The library cannot read what somebody has put there. It is to be replaced.
		f.odd, err = true, nil
	}
	return f, err
}

func (f *found) readSets(conn *nftables.Conn) error {
	sets, err := conn.GetSets(table())
	if err != nil {
		return err
	}
	for _, s := range sets {
		if s.Anonymous || s.IsMap || s.Interval || s.HasTimeout || s.Dynamic || s.Constant {
			f.odd = true
			continue
		}
		elements, err := conn.GetSetElements(s)
		if err != nil {
			return err
		}
		out := set{name: s.Name, kind: s.KeyType, concat: s.Concatenation}
		for _, e := range elements {
			out.elements = append(out.elements, e.Key)
		}
		f.sets = append(f.sets, out)
	}
	return nil
}

func (f *found) readChains(conn *nftables.Conn) error {
	chains, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return err
	}
	for _, c := range chains {
		if c.Table.Name != TableName {
			continue
		}
		out := chain{name: c.Name, base: c.Hooknum != nil}
		if out.base && (c.Type != nftables.ChainTypeNAT || *c.Hooknum != *nftables.ChainHookPostrouting ||
			c.Priority == nil || *c.Priority != priority || c.Policy == nil || *c.Policy != nftables.ChainPolicyAccept) {
			f.odd = true
		}
		rules, err := conn.GetRules(table(), c)
		if err != nil {
			return err
		}
		for _, r := range rules {
			out.rules = append(out.rules, rule{exprs: r.Exprs})
		}
		f.chains = append(f.chains, out)
	}
	return nil
}

// is reports whether a table that was read is the wanted one.
func (f found) is(want ruleset) bool {
	if len(want.chains) == 0 {
		return !f.exists
	}
	return f.exists && !f.odd && sameSets(f.sets, want.sets) && sameChains(f.chains, want.chains)
}

func sameSets(have, want []set) bool {
	if len(have) != len(want) {
		return false
	}
	for _, w := range want {
		i := slices.IndexFunc(have, func(h set) bool { return h.name == w.name })
		if i < 0 || have[i].kind.GetNFTMagic() != w.kind.GetNFTMagic() || len(have[i].elements) != len(w.elements) {
			return false
		}
		slices.SortFunc(have[i].elements, bytes.Compare)
		wanted := slices.SortedFunc(slices.Values(w.elements), bytes.Compare)
		if !slices.EqualFunc(have[i].elements, wanted, bytes.Equal) {
			return false
		}
	}
	return true
}

func sameChains(have, want []chain) bool {
	if len(have) != len(want) {
		return false
	}
	for _, w := range want {
		i := slices.IndexFunc(have, func(h chain) bool { return h.name == w.name })
		if i < 0 || have[i].base != w.base || !slices.EqualFunc(have[i].rules, w.rules, sameRule) {
			return false
		}
	}
	return true
}

func sameRule(a, b rule) bool { return slices.EqualFunc(a.exprs, b.exprs, sameExpr) }

// sameExpr compares what two expressions do; a counter's numbers do nothing.
func sameExpr(a, b expr.Any) bool {
	if _, counts := a.(*expr.Counter); counts {
		_, counts = b.(*expr.Counter)
		return counts
	}
	return reflect.DeepEqual(a, b)
}

func (s set) nft(ours *nftables.Table) *nftables.Set {
	out := &nftables.Set{Table: ours, Name: s.name, KeyType: s.kind, Concatenation: s.concat, KeyByteOrder: binaryutil.BigEndian}
	if s.kind == nftables.TypeMark {
		out.KeyByteOrder = binaryutil.NativeEndian
	}
	return out
}

func (s State) equal(o State) bool {
	return slices.Equal(s.Keys, o.Keys) && slices.Equal(s.Others, o.Others) && slices.Equal(s.Servers, o.Servers)
}
