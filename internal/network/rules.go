package network

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// putRule sets a rule, unless it is there. The kernel itself prevents a second
// one only where the priority is given: without, it makes one more each time.
func (m *Manager) putRule(want Rule) (Rule, error) {
	r, err := want.kernelTerms()
	if err == nil {
		err = m.writeRule(want, r, unix.NLM_F_EXCL)
		if errors.Is(err, unix.EEXIST) {
			// It came after we looked, or it is a narrower one of the same priority,
			// which the kernel takes for the same (rule_exists). Look again.
			m.forgetRules(r.IPv6)
			err = m.writeRule(want, r, 0)
		}
	}
	var foreign *ForeignRuleError
	if err != nil && !errors.As(err, &foreign) {
		err = fmt.Errorf("set rule %s: %w%s", want, err, remedy(err))
	}
	return r, err
}

// writeRule brings one rule into its state.
func (m *Manager) writeRule(want, r Rule, exclusive int) error {
	seen, err := m.seenRules.get(r.IPv6, m.conn.rules)
	if err != nil {
		return fmt.Errorf("look at the rules: %w", err)
	}
	foreign := false
	for _, there := range seen.list {
		if !r.same(there) {
			continue
		}
		if there.protocol == Protocol {
			return nil
		}
		foreign = true
	}
	if foreign {
		return &ForeignRuleError{Rule: want}
	}
	head, attrs := r.message()
	if err := m.conn.do(unix.RTM_NEWRULE, unix.NLM_F_CREATE|exclusive, head, attrs...); err != nil {
		return err
	}
	m.forgetRules(r.IPv6) // the kernel may have chosen the priority
	return nil
}

func (m *Manager) forgetRules(v6 bool) {
	m.seenRules[ofFamily(v6)] = nil
}

// releaseRules removes, last first, the rules that an owner had and has no more.
func (m *Manager) releaseRules(had, has *holding) error {
	var errs []error
	for _, r := range slices.Backward(had.rules) {
		if slices.Contains(has.rules, r) || m.ruleHeld(r, has) {
			continue
		}
		if err := m.removeRule(r); err != nil {
			errs = append(errs, fmt.Errorf("remove rule %s: %w%s", r, err, remedy(err)))
			has.rules = append(has.rules, r) // to be removed the next time
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) ruleHeld(r Rule, except *holding) bool {
	for _, h := range m.owners {
		if h != except && slices.Contains(h.rules, r) {
			return true
		}
	}
	return false
}

// removeRule deletes a rule if it is there and carries our mark.
func (m *Manager) removeRule(r Rule) error {
	m.forgetRules(r.IPv6) // what is removed must be ours at this moment
	seen, err := m.seenRules.get(r.IPv6, m.conn.rules)
	if err != nil {
		return err
	}
	for _, there := range seen.list {
		if there.protocol == Protocol && r.same(there) {
			return m.deleteRule(there.Rule, seen.list)
		}
	}
	return nil
}

// deleteRule deletes a rule of ours, one of those that there are. In a request
// to delete one the kernel takes what is not mentioned for "any", and deletes the
// first that fits (fib_nl_delrule): that may be a narrower one of the same
// priority. Such a one is put back; it is then behind the one that was meant,
// which the next try finds.
func (m *Manager) deleteRule(r Rule, before []kernelRule) error {
	alike := slices.DeleteFunc(slices.Clone(before), func(there kernelRule) bool {
		return there.protocol != Protocol || there.other || there.Priority != r.Priority || there.Rule == r
	})
	m.forgetRules(r.IPv6)
	for range len(alike) + 1 {
		head, attrs := r.message()
		if err := m.conn.do(unix.RTM_DELRULE, 0, head, attrs...); noSuchRule(err) || (err == nil && len(alike) == 0) {
			return nil
		} else if err != nil {
			return err
		}
		now, err := m.conn.rules(r.IPv6)
		if err != nil {
			return err
		}
		for _, other := range alike {
			if slices.Contains(now, other) {
				continue
			}
			head, attrs := other.message()
			if err := m.conn.do(unix.RTM_NEWRULE, unix.NLM_F_CREATE, head, attrs...); err != nil {
				return fmt.Errorf("put back rule %s: %w", other, err)
			}
		}
		if !slices.Contains(now, kernelRule{Rule: r, protocol: Protocol}) {
			return nil
		}
	}
	return nil
}

// noSuchRule: the kernel's word for it is that of a missing file.
func noSuchRule(err error) bool { return errors.Is(err, unix.ENOENT) || gone(err) }
