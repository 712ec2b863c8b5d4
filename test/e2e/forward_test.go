//go:build vm

package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"baton/test/scene"
)

// requests are how many a test of the spreading makes: a multiple of the sum of
// the weights.
const requests = 300

func TestForwarding(t *testing.T) {
	for _, forward := range []scene.Forward{scene.NAT, scene.DR, scene.TUN} {
		t.Run(strings.ToUpper(string(forward)), func(t *testing.T) {
			s := start(t, scene.Options{Forward: forward})
			a, b := s.Directors[0], s.Directors[1]
			if diff := cmp.Diff(expected(s), agree(t, a)); diff != "" {
				t.Errorf("before the first request (-want +got):\n%s", diff)
			}

			counts, err := s.Curl(requests)
			must(t, err)
			assertSpread(t, s, counts, requests)

			seen := agree(t, a)
			if diff := cmp.Diff(expected(s), seen.idle()); diff != "" {
				t.Errorf("after %d requests (-want +got):\n%s", requests, diff)
			}
			connections := uint32(0)
			for _, srv := range seen[0].Servers {
				connections += srv.Active + srv.Inactive
			}
			if connections == 0 {
				t.Error("the table of the owner shows no connections")
			}
			// The other director is ready, and idle.
			if diff := cmp.Diff(expected(s), agree(t, b)); diff != "" {
				t.Errorf("on the backup (-want +got):\n%s", diff)
			}
		})
	}
}

// assertSpread holds the numbers of answers against the weights: wrr deals them
// out exactly, within one for where the round begins.
func assertSpread(t *testing.T, s *scene.Scene, counts map[string]int, n int) {
	t.Helper()
	sum, all := 0, 0
	for _, r := range s.Real {
		sum += r.Weight
	}
	for _, r := range s.Real {
		want, got := n*r.Weight/sum, counts[r.Name]
		all += got
		if got < want-1 || got > want+1 {
			t.Errorf("%s with weight %d answered %d of %d requests, not %d", r.Name, r.Weight, got, n, want)
		}
	}
	if all != n {
		t.Errorf("%d of %d requests were answered by the real servers: %v", all, n, counts)
	}
}
