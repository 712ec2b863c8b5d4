package interop

import (
	"errors"
	"testing"
	"time"

	"baton/test/lab"
)

// Over IPv4 the checksum of version 3 has a pseudo-header or not, depending on
// whom one asks (RFC 5798, RFC 9568 section 5.2.8). Debian's keepalived puts it
// in and insists on it, which is why that is baton's default. A baton that leaves
// it out hears keepalived, and is not heard.
func TestChecksumWithoutPseudoHeader(t *testing.T) {
	t.Parallel()
	without := multicast4
	without.baton = []string{"checksum: rfc9568-none"}

	t.Run("keepalived-master", func(t *testing.T) {
		t.Parallel()
		p := build(t, without)
		p.begin(p.keepalived)
		// The backup believes the master, so that nobody notices until the roles change.
		p.awaitAdverts(p.keepalived, 5, time.Now())
		p.settled(p.keepalived)
		p.believed()
		p.keepalived.stop()
		p.settledAlone(p.baton)
		p.misreads = p.baton
	})
	t.Run("baton-master", func(t *testing.T) {
		t.Parallel()
		p := build(t, without)
		p.misreads = p.baton
		p.baton.priority, p.keepalived.priority = high, low
		p.baton.start()
		p.keepalived.start()
		lab.Eventually(t, 5*time.Second, func() error {
			return errors.Join(p.baton.is("master"), p.keepalived.is("master"))
		})
		lab.Eventually(t, time.Second, func() error { return p.says(p.keepalived, "Invalid VRRPv3 checksum") })
		// The default is the remedy.
		p.mode.baton = nil
		p.reload()
		p.settled(p.baton)
	})
}
