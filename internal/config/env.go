package config

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

// wantsEnv reports whether a file says "env: true" at its top. It is asked
// before the tree is built, because building replaces the variables.
func wantsEnv(root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		if k.Value == "env" {
			return v.Kind == yaml.ScalarNode && v.Style == 0 && v.Value == "true"
		}
	}
	return false
}

// variable matches what is replaced: "$${" gives "${", "${NAME}" the variable's
// value. A "${" that is neither closed nor named well matches alone.
var variable = regexp.MustCompile(`\$\$\{|\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$\{`)

// expandEnv replaces variables in a scalar. It works on the value, not on the
// text of the file, so a variable cannot add keys or lines.
func expandEnv(p *problems, n *node, lookup func(string) (string, bool)) {
	if !strings.Contains(n.text, "$") {
		return
	}
	n.text = variable.ReplaceAllStringFunc(n.text, func(m string) string {
		switch m {
		case "$${":
			return "${"
		case "${":
			p.add(n.at, "%s: \"${\" begins a variable; allowed: ${NAME}, or $${ for the characters themselves", quote(n.text))
			n.refused = true
			return m
		}
		name := m[2 : len(m)-1]
		value, ok := lookup(name)
		if !ok {
			n.refused = true
			p.add(n.at, "the environment variable %s is not set", name)
		}
		return value
	})
	n.env = true
}
