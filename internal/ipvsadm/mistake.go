package ipvsadm

import (
	"fmt"
	"strings"
)

// Mistake is something wrong in a rule.
type Mistake struct {
	Line   int    // from 1
	Column int    // in bytes, from 1; 0: the rule as a whole
	Text   string // what was found, and what is allowed
}

func (m Mistake) Error() string {
	if m.Column == 0 {
		return fmt.Sprintf("line %d: %s", m.Line, m.Text)
	}
	return fmt.Sprintf("line %d, column %d: %s", m.Line, m.Column, m.Text)
}

// Mistakes are all mistakes of a file of rules, in its order.
type Mistakes []Mistake

// Error has one line for each mistake.
func (m Mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil is m as an error, which is nil without mistakes.
func (m Mistakes) orNil() error {
	if len(m) == 0 {
		return nil
	}
	return m
}
