package check

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAgentProbe(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     func(t *testing.T) netip.AddrPort
		server func(net.Conn)
		send   string
		code   Code
		detail string
		word   string // empty: none
	}{
		{name: "up", server: say("up\n"), code: L7OK, detail: "the agent at TARGET says: up", word: "up"},
		{name: "in pieces", server: slowly("ready up 75%\r\n"), code: L7OK, word: "ready up 75%"},
		{name: "more than a line", server: then(say("50%\ndown\n"), hang), code: L7OK, word: "50%"},
		{name: "endless after the line", server: then(say("50%\n"), forever("x")), code: L7OK, word: "50%"},
		{name: "down, with a reason", server: say("down #disk full\n"), code: L7STS, detail: `says: down ("disk full")`, word: "down"},
		{name: "an unknown word among others", server: say("up turbo\n"), code: L7OK, detail: `the word "turbo", which is unknown and ignored`, word: "up"},
		{name: "nothing", server: say("\n"), code: L7OK, detail: "says: nothing", word: "nothing"},
		{name: "asked for", server: echo, send: "drain\n", code: L7OK, word: "drain"},

		{name: "garbage", server: say("HTTP/1.1 400 Bad Request\r\n"), code: L7RSP, detail: `says "HTTP/1.1 400 Bad Request", which is not understood`},
		{name: "a line that is cut off", server: say("100"), code: L7RSP, detail: `sent "100", which is no complete line`},
		{name: "an endless line", server: forever("up "), code: L7RSP, detail: "sent 1024 bytes and no end of a line"},
		{name: "silent", server: hang, code: L7TOUT, detail: "did not send its word within 1s"},
		{name: "half a word and then silence", server: then(say("50"), hang), code: L7TOUT},
		{name: "closed", server: func(net.Conn) {}, code: L7RSP, detail: "closed the connection before it had sent its word"},
		{name: "reset", server: resetLater, send: "x", code: L4CON},
		{name: "refused", at: refusing, code: L4CON, detail: "connection refused by TARGET"},
		{name: "black hole", at: blackHole, code: L4TOUT},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.at == nil {
				tt.at = func(t *testing.T) netip.AddrPort { return serve(t, tt.server) }
			}
			s := Spec{Target: tt.at(t), Timeout: time.Second, Agent: &Agent{Send: tt.send}}
			holdAgainst(t, s, tt.code, tt.detail)
			r := Probe(context.Background(), s)
			if (r.Word != nil) != (tt.word != "") || r.Word != nil && r.Word.String() != tt.word {
				t.Errorf("word %v, want %q", r.Word, tt.word)
			}
		})
	}
}

func TestParseAgent(t *testing.T) {
	for line, want := range map[string]string{
		"":                      "nothing",
		" ,\t":                  "nothing",
		"UP":                    "up",
		"fail":                  "down",
		"stopped":               "down",
		"75%":                   "75%",
		"0%":                    "0%",
		"up,ready\t20%":         "ready up 20%",
		"down up":               "up", // the last one counts
		"10% 20%":               "20%",
		"maxconn:100":           "nothing",
		"ready maxconn:5 # all": "ready",
		"#up":                   "nothing",
		"99999999999999999999%": "25600%",
		"70000%":                "25600%",
	} {
		w, _, _, err := parseAgent([]byte(line))
		if err != nil || w.String() != want {
			t.Errorf("%q: %s, %v; want %s", line, w, err, want)
		}
	}
	for _, line := range []string{"x", "-5%", "+5%", "%", "5", "5 %", "75.5%", "up:", "\x00up", "maxconn"} {
		if w, _, _, err := parseAgent([]byte(line)); err == nil {
			t.Errorf("%q: %s, want an error", line, w)
		}
	}
}

// FuzzParseAgent: whatever an agent says is bounded, printable, and means the same
// when it is said again.
func FuzzParseAgent(f *testing.F) {
	for _, s := range []string{"up 75% #fine", "maint", "ready,drain\tdown", "maxconn:3 100%", "#", "\xff\x00%", "0x10%", "١%"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		w, reason, odd, err := parseAgent(line)
		for _, text := range []string{reason, odd} {
			if len(text) > 250 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Errorf("%q is shown as %q", line, text)
			}
		}
		if err != nil {
			return
		}
		if w.Percent > maxPercent || !w.Weighs && w.Percent != 0 {
			t.Errorf("%q: %+v", line, w)
		}
		if w == (Word{}) {
			return
		}
		again, _, _, err := parseAgent([]byte(w.String()))
		if err != nil || again != w {
			t.Errorf("%q means %+v, and %q means %+v, %v", line, w, w, again, err)
		}
	})
}

// An agent's words add up, one that cannot be reached takes nothing back, and all
// changes are told at once.
func TestAgentVerdicts(t *testing.T) {
	script := []string{"ready 50%\n", "50%\n", "drain\n", "", "", "", "ready\n", "down\n", "up 20%\n"}
	var asked atomic.Int32
	server := func(c net.Conn) {
		if n := int(asked.Add(1)); n <= len(script) {
			_, _ = io.WriteString(c, script[n-1])
		}
	}
	r := NewRunner(Options{})
	r.Set(map[string]*Job{"g": {
		Spec:     Spec{Target: serve(t, server), Timeout: time.Second, Agent: &Agent{}},
		Schedule: Schedule{Interval: 20 * time.Millisecond, Rise: 1, Fall: 3},
	}})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var got []string
	want := []string{
		"true ready 50%", "true drain 50%", "false drain 50%", "true ready 50%", "true ready down 50%", "true ready up 20%",
	}
	err := r.Run(ctx, func(v Verdict) {
		if v.Changed && len(got) < len(want) {
			word := map[bool]string{true: "true ", false: "false "}[v.Up] + v.Word.String()
			if st, _ := r.Status("g"); st.Verdict.Word != v.Word {
				word += ", in its status " + st.Verdict.Word.String()
			}
			got = append(got, word)
		}
		if len(got) == len(want) {
			cancel()
		}
	})
	if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told:\n%s\nwant:\n%s\n%v", strings.Join(got, "\n"), strings.Join(want, "\n"), err)
	}
}
