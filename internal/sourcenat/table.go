package sourcenat

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Table is a handle on the table of one network namespace, that of the thread
// which calls its methods. One call works at a time.
type Table struct {
	conn *nftables.Conn
	// seen is the generation of the ruleset in which the table was as wanted; 0:
	// none. The kernel counts it up with each change of anything in nftables.
	seen   uint32
	wanted State
	known  bool // wanted was asked for before
}

// New returns a handle. It touches nothing.
func New() (*Table, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return &Table{conn: conn}, nil
}

// Apply makes the table what the state says, or removes it for an empty one, and
// reports whether it had to. Where nothing in nftables has changed since it was
// as wanted, that is all it asks the kernel. A change is one transaction: packets
// meet the old or the new table.
func (t *Table) Apply(want State) (changed bool, err error) {
	generation := t.generation()
	if generation != 0 && generation == t.seen && t.known && t.wanted.equal(want) {
		return false, nil
	}
	t.wanted, t.known, t.seen = want, true, 0
	rules := rulesetOf(want)
	found, err := t.read()
	if err != nil {
		return false, explain("read the nftables table inet "+TableName, err)
	}
	if found.is(rules) {
		// Not what is there after a write of ours: another one may have come between
		// it and the question for the generation.
		t.seen = generation
		return false, nil
	}
	if err := t.write(rules); err != nil {
		return false, explain("write the nftables table inet "+TableName, err)
	}
	return true, nil
}

// generation returns that of the ruleset; 0: not known.
func (t *Table) generation() uint32 {
	g, err := t.conn.GetGen()
	if err != nil {
		return 0 // reading the table says why
	}
	return g.ID
}

// table is ours for a request.
func table() *nftables.Table {
	return &nftables.Table{Name: TableName, Family: nftables.TableFamilyINet}
}

// write replaces the table. To be removed in a transaction, it is added before:
// that does nothing where there is one.
func (t *Table) write(rules ruleset) error {
	t.conn.DelTable(t.conn.AddTable(table()))
	if len(rules.chains) > 0 {
		if err := t.add(rules); err != nil {
			return err
		}
	}
	return t.conn.Flush()
}

// add adds the table and what is in it to the transaction.
func (t *Table) add(rules ruleset) error {
	ours := t.conn.AddTable(table())
	for _, s := range rules.sets {
		elements := make([]nftables.SetElement, len(s.elements))
		for i, key := range s.elements {
			elements[i].Key = key
		}
		if err := t.conn.AddSet(s.nft(ours), elements); err != nil {
			return errors.Join(err, t.conn.Flush()) // which forgets the transaction
		}
	}
	for _, c := range rules.chains {
		t.conn.AddChain(c.nft(ours))
	}
	for _, c := range rules.chains {
		for _, r := range c.rules {
			out := &nftables.Rule{Table: ours, Chain: c.nft(ours), Exprs: r.exprs}
			if r.comment != "" {
				out.UserData = userdata.AppendString(nil, userdata.TypeComment, r.comment)
			}
			t.conn.AddRule(out)
		}
	}
	return nil
}

func (c chain) nft(ours *nftables.Table) *nftables.Chain {
	out := &nftables.Chain{Name: c.name, Table: ours}
	if c.base {
		accept := nftables.ChainPolicyAccept
		out.Type, out.Hooknum, out.Policy = nftables.ChainTypeNAT, nftables.ChainHookPostrouting, &accept
		out.Priority = nftables.ChainPriorityRef(priority)
	}
	return out
}

// explain says what was being done, and to an error what to do about it.
func explain(doing string, err error) error {
	remedy := ""
	var receive *netlink.OpError
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		remedy = "; it needs root or CAP_NET_ADMIN in the namespace's user namespace"
	// The kernel answers a question for a subsystem that it does not have with
	// EINVAL, and a transaction with EOPNOTSUPP (nfnetlink_rcv_msg, …_batch).
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT),
		errors.Is(err, unix.EAFNOSUPPORT):
		remedy = "; source_nat needs nf_tables in the kernel: modprobe nf_tables nft_chain_nat"
	case errors.Is(err, unix.ENOENT):
		remedy = "; a part of nftables is missing: modprobe nft_chain_nat nft_masq nft_ct nf_conntrack"
	case errors.Is(err, unix.EBUSY):
		remedy = "; it is used by rules of others, or by the other kind of NAT (iptables): look with nft list ruleset"
	}
	if errors.As(err, &receive) {
		var errno syscall.Errno
		if errors.As(receive, &errno) {
			return fmt.Errorf("%s: %w%s", doing, errno, remedy)
		}
	}
	return fmt.Errorf("%s: %w%s", doing, err, remedy)
}
