package interop

import "testing"

// A password of version 2 that is not the same on both sides makes both master,
// and both say why. The remedy is the same password.
func TestPasswordMismatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name              string
		baton, keepalived string // passwords
		counter           string // of keepalived
		reason            string // of baton
		words             string
	}{
		{"different", "swordfis", "kingfish", "auth_failure", "auth", "a wrong password"},
		{"keepalived-has-none", "swordfis", "", "authtype_mismatch", "auth-type", "authenticated in another way"},
		{"baton-has-none", "", "kingfish", "authtype_mismatch", "auth-type", "authenticated in another way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := build(t, mode{name: "v2", version: 2, interval: second})
			p.baton.password, p.keepalived.password = tt.baton, tt.keepalived
			p.bothMaster(mismatch{
				keepalived: func() error { return p.counts(p.keepalived, tt.counter) },
				reason:     tt.reason, words: tt.words,
			})
			p.baton.password = tt.keepalived
			p.reload()
			p.settled(p.baton)
		})
	}
}
