package config

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// table is the number of a routing table. Names other than those of the kernel
// are a matter of iproute2's files.
type table uint32

var tables = map[string]table{
	"main":    unix.RT_TABLE_MAIN,
	"default": unix.RT_TABLE_DEFAULT,
	"local":   unix.RT_TABLE_LOCAL,
}

func (v *table) parse(n *node, r *rule) error {
	if t, ok := tables[n.text]; ok {
		*v = t
		return nil
	}
	var i number
	if err := i.parse(n, r); err != nil {
		return err
	}
	*v = table(i)
	return nil
}

func (*table) allowed(r *rule) string {
	return fmt.Sprintf("a number from %s to %s, or %s", r.low, r.high, strings.Join(r.words, ", "))
}

// String prints a table as ip route does.
func (v table) String() string {
	for name, t := range tables {
		if t == v {
			return name
		}
	}
	return fmt.Sprint(uint32(v))
}
