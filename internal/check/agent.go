package check

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Agent asks the agent of a server how it wants to be used, by HAProxy's
// agent-check protocol: it connects, sends Send, and reads one line. An agent
// that cannot be reached, or whose line is not understood, says nothing.
type Agent struct {
	Send string `json:",omitempty"`
}

// Word is what an agent has said. What is empty it has not mentioned, and there
// its earlier word holds.
type Word struct {
	Weighs  bool   // Percent was mentioned
	Percent uint32 // of the configured weight, 0–25600
	Health  string // up, or down for any of down, fail and stopped
	Mode    string // ready, drain, maint
}

const (
	// maxAgentLine bounds what is read of an agent.
	maxAgentLine = 1 << 10
	// maxPercent bounds what an agent can multiply a weight by, as in HAProxy.
	maxPercent = 25600
)

// then returns what holds after another word.
func (w Word) then(next Word) Word {
	if next.Weighs {
		w.Weighs, w.Percent = true, next.Percent
	}
	if next.Health != "" {
		w.Health = next.Health
	}
	if next.Mode != "" {
		w.Mode = next.Mode
	}
	return w
}

// String is the word as an agent would say it.
func (w Word) String() string {
	var out []string
	for _, part := range []string{w.Mode, w.Health} {
		if part != "" {
			out = append(out, part)
		}
	}
	if w.Weighs {
		out = append(out, fmt.Sprintf("%d%%", w.Percent))
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, " ")
}

// probeAgent asks once. A word, whatever it is, is an agent that works.
func probeAgent(ctx context.Context, s Spec) Result {
	line, err := s.askAgent(ctx)
	if err != nil {
		return result("", "", err)
	}
	word, reason, odd, err := parseAgent(line)
	if err != nil {
		return result("", "", failf(L7RSP, "the agent at %s %s", s.Target, err))
	}
	r := Result{Code: L7OK, Detail: fmt.Sprintf("the agent at %s says: %s", s.Target, word), Word: &word}
	if word.Health == "down" || word.Mode == "maint" {
		r.Code = L7STS
	}
	if reason != "" {
		r.Detail += " (" + reason + ")"
	}
	if odd != "" {
		r.Detail += ", and the word " + odd + ", which is unknown and ignored"
	}
	return r
}

// askAgent returns the agent's line without its end. A line that is not ended has
// been cut off: a part of "100%" must not count.
func (s Spec) askAgent(ctx context.Context) ([]byte, error) {
	c, err := dial(ctx, s, s.Target)
	if err != nil {
		return nil, err
	}
	defer func() { c.end(err) }()
	if s.Agent.Send != "" {
		if _, err = io.WriteString(c, s.Agent.Send); err != nil {
			return nil, c.failed(err, "its word")
		}
	}
	buf := make([]byte, 0, maxAgentLine)
	for {
		var n int
		n, err = c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if end := bytes.IndexAny(buf, "\r\n"); end >= 0 {
			err = nil
			return buf[:end], nil
		}
		switch {
		case len(buf) == cap(buf):
			err = failf(L7RSP, "the agent at %s sent %d bytes and no end of a line", s.Target, len(buf))
			return nil, err
		case err != nil && len(buf) > 0 && isEOF(err):
			err = failf(L7RSP, "the agent at %s sent %s, which is no complete line", s.Target, quote(buf))
			return nil, err
		case err != nil:
			return nil, c.failed(err, "its word")
		}
	}
}

// parseAgent reads an agent's line: words between blanks and commas, and after a
// sharp a reason in free text, which comes back quoted. Of several words of one
// kind the last counts. odd is the first word that is unknown, quoted; where all
// are, the error completes a sentence about the agent.
func parseAgent(line []byte) (w Word, reason, odd string, err error) {
	words, comment, commented := bytes.Cut(line, []byte("#"))
	if comment = bytes.TrimSpace(comment); commented && len(comment) > 0 {
		reason = quote(comment)
	}
	understood := false
	for _, word := range bytes.FieldsFunc(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		switch next, ok := agentWord(string(word)); {
		case ok:
			w, understood = w.then(next), true
		case odd == "":
			odd = quote(word)
		}
	}
	if odd != "" && !understood {
		return Word{}, "", "", fmt.Errorf("says %s, which is not understood", quote(line))
	}
	return w, reason, odd, nil
}

// agentWord reads one word.
func agentWord(text string) (w Word, ok bool) {
	switch lower := strings.ToLower(text); lower {
	case "up":
		return Word{Health: "up"}, true
	case "down", "fail", "stopped":
		return Word{Health: "down"}, true
	case "ready", "drain", "maint":
		return Word{Mode: lower}, true
	default:
		if strings.HasPrefix(lower, "maxconn:") { // nothing that IPVS could do by a word
			return Word{}, true
		}
	}
	digits, percent := strings.CutSuffix(text, "%")
	if !percent || strings.Trim(digits, "0123456789") != "" || digits == "" {
		return Word{}, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n > maxPercent { // too many digits
		n = maxPercent
	}
	return Word{Weighs: true, Percent: uint32(n)}, true
}
