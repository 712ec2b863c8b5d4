package interop

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"baton/test/lab"
)

// mismatch is how two routers that do not believe each other tell why.
type mismatch struct {
	keepalived func() error // nil: it has told
	// baton's: the reason in its status and its metrics, and words of its explanation.
	reason, words string
}

// bothMaster starts a pair whose configurations do not fit, and waits until both
// are master and tell why.
func (p *pair) bothMaster(m mismatch) {
	p.t.Helper()
	p.baton.priority, p.keepalived.priority = high, low
	p.baton.start()
	p.keepalived.start()
	within := p.baton.takesOver() + p.keepalived.takesOver() + 5*time.Second
	lab.Eventually(p.t, within, func() error {
		return errors.Join(p.baton.is("master"), p.keepalived.is("master"))
	})
	lab.Eventually(p.t, within, func() error { return errors.Join(m.keepalived(), p.counts(p.baton, m.reason)) })

	metric := fmt.Sprintf(`baton_adverts_rejected_total{reason="%s",router="web"}`, m.reason)
	if text := p.metrics(); !strings.Contains(text, metric) {
		p.t.Errorf("the metrics lack %s:\n%s", metric, text)
	}
	text := p.command("explain", "router", "web")
	for _, want := range []string{"not believed (" + m.reason + ")", m.words} {
		if !strings.Contains(text, want) {
			p.t.Errorf("baton's explanation lacks %q:\n%s", want, text)
		}
	}
}

// counts reports what keeps a member from having rejected packets for a reason.
func (p *pair) counts(m *member, reason string) error {
	wrong, err := m.rejected(m)
	if err == nil && wrong[reason] == 0 {
		err = fmt.Errorf("%s has rejected %v, nothing for the reason %s", m, wrong, reason)
	}
	return err
}

// says reports what keeps a member's log from having a text.
func (p *pair) says(m *member, text string) error {
	if log := m.proc.Output(); !strings.Contains(log, text) {
		return fmt.Errorf("the log of %s does not say %q:\n%s", m, text, log)
	}
	return nil
}
