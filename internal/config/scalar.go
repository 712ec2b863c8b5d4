package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// text is any text. Numbers are taken as they are written.
type text string

func (t *text) parse(n *node, _ *rule) error {
	if n.boolean && !n.quoted && !n.env {
		return fmt.Errorf("%s is a boolean; write %q if the word is meant", n.text, n.text)
	}
	*t = text(n.text)
	return nil
}

func (*text) allowed(*rule) string { return "text" }

// name is what users, metrics and the API call something.
type name string

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@+-]*$`)

const maxName = 64

func (t *name) parse(n *node, _ *rule) error {
	if n.boolean && !n.quoted && !n.env {
		return fmt.Errorf("%s is a boolean, not a name", n.text)
	}
	if len(n.text) > maxName || !nameForm.MatchString(n.text) {
		return fmt.Errorf("%s is not a name", quote(n.text))
	}
	*t = name(n.text)
	return nil
}

func (*name) allowed(*rule) string {
	return fmt.Sprintf("up to %d letters, digits and . _ - : @ +, beginning with a letter, a digit or _", maxName)
}

// word is one of the words of its rule.
type word string

func (w *word) parse(n *node, r *rule) error {
	if !slices.Contains(r.words, n.text) {
		return fmt.Errorf("%s is unknown", quote(n.text))
	}
	*w = word(n.text)
	return nil
}

func (*word) allowed(r *rule) string { return strings.Join(r.words, ", ") }

// boolean is true or false, in these words only: "yes" and "on" mean different
// things to different YAML readers.
type boolean bool

func (f *boolean) parse(n *node, _ *rule) error {
	if n.quoted && !n.env || n.text != "true" && n.text != "false" {
		return fmt.Errorf("found %s", quote(n.text))
	}
	*f = n.text == "true"
	return nil
}

func (*boolean) allowed(*rule) string { return "true or false" }

// number is a whole number.
type number int64

var (
	decimal = regexp.MustCompile(`^[+-]?[0-9]+$`)
	octal   = regexp.MustCompile(`^[+-]?0[0-9]`)
)

func (v *number) parse(n *node, r *rule) error {
	i, err := wholeNumber(n)
	if err != nil {
		return err
	}
	if err := between(i, r); err != nil {
		return fmt.Errorf("%s %w", n.text, err)
	}
	*v = i
	return nil
}

func (*number) allowed(r *rule) string {
	return "a whole number from " + r.low + " to " + r.high
}

func wholeNumber(n *node) (number, error) {
	quoted := n.quoted && !n.env
	switch {
	case quoted && decimal.MatchString(n.text):
		return 0, fmt.Errorf("%q is text; write %s without quotes", n.text, n.text)
	case octal.MatchString(n.text):
		return 0, fmt.Errorf("%s begins with 0, which YAML may read as octal; write it without", n.text)
	case quoted || !decimal.MatchString(n.text):
		return 0, fmt.Errorf("%s is not a whole number", quote(n.text))
	}
	i, err := strconv.ParseInt(n.text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is out of range", n.text)
	}
	return number(i), nil
}

// between checks a number against the range of its rule.
func between(v number, r *rule) error {
	low, errLow := strconv.ParseInt(r.low, 10, 64)
	high, errHigh := strconv.ParseInt(r.high, 10, 64)
	if errLow != nil || errHigh != nil {
		panic("config: range of " + r.key + ": " + r.low + ".." + r.high)
	}
	if int64(v) < low || int64(v) > high {
		return errors.New("is out of range")
	}
	return nil
}

// span is a duration.
type span time.Duration

var bareNumber = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`)

func (s *span) parse(n *node, r *rule) error {
	d, err := parseDuration(n.text)
	if err != nil {
		return err
	}
	if d < mustDuration(r, r.low) || d > mustDuration(r, r.high) {
		return fmt.Errorf("%s is out of range", n.text)
	}
	if r.step != "" && d%mustDuration(r, r.step) != 0 {
		return fmt.Errorf("%s is not a multiple of %s", n.text, r.step)
	}
	*s = span(d)
	return nil
}

func (*span) allowed(r *rule) string {
	out := "a duration from " + r.low + " to " + r.high
	if r.step != "" {
		out += " in steps of " + r.step
	}
	return out
}

func parseDuration(text string) (time.Duration, error) {
	if bareNumber.MatchString(text) {
		return 0, fmt.Errorf("%s has no unit; write %ss", text, text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration", quote(text))
	}
	return d, nil
}

func mustDuration(r *rule, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic("config: range of " + r.key + ": " + err.Error())
	}
	return d
}

// percent is a whole number of percent, with or without the sign.
type percent int

func (v *percent) parse(n *node, r *rule) error {
	bare := *n
	if digits, ok := strings.CutSuffix(n.text, "%"); ok {
		bare.text, bare.quoted = digits, false
	}
	i, err := wholeNumber(&bare)
	if err != nil {
		return fmt.Errorf("%s is not a percentage", quote(n.text))
	}
	if err := between(i, r); err != nil {
		return fmt.Errorf("%s %w", n.text, err)
	}
	*v = percent(i)
	return nil
}

func (*percent) allowed(r *rule) string { return "a percentage from " + r.low + "% to " + r.high + "%" }

// size is a number of bytes, such as 65536, 64KiB or 1MiB.
type size int64

var sizeForm = regexp.MustCompile(`^([0-9]{1,12})(B|KiB|MiB)?$`)

func (v *size) parse(n *node, r *rule) error {
	m := sizeForm.FindStringSubmatch(n.text)
	if m == nil {
		return fmt.Errorf("%s is not a size", quote(n.text))
	}
	i, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return fmt.Errorf("%s is not a size", quote(n.text))
	}
	i <<= map[string]uint{"KiB": 10, "MiB": 20}[m[2]]
	if err := between(number(i), r); err != nil {
		return fmt.Errorf("%s %w", n.text, err)
	}
	*v = size(i)
	return nil
}

func (*size) allowed(r *rule) string {
	return "a number of bytes from " + r.low + " to " + r.high + ", such as 512, 64KiB or 1MiB"
}

// pattern is a regular expression in the syntax of RE2.
type pattern string

func (v *pattern) parse(n *node, _ *rule) error {
	if _, err := regexp.Compile(n.text); err != nil {
		return fmt.Errorf("%s does not compile: %s", quote(n.text), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	*v = pattern(n.text)
	return nil
}

func (*pattern) allowed(*rule) string { return "a regular expression (RE2)" }
