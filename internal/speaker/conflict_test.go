package speaker

import (
	"testing"
	"testing/synctest"
	"time"

	"baton/internal/vrrp"
	"baton/internal/wire"
)

// A master that yields answers for the addresses while it lingers: that is no
// conflict. What comes later is one.
func TestAnswersOfTheMasterBeforeAreNoConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, &segment{}, "10.0.0.1/24", routerSpec(200))
		defer a.quit()
		time.Sleep(vrrp.DownInterval(200, time.Second) + time.Millisecond)
		a.wantState(vrrp.Master)
		watch, _, _ := a.host.conflicts()
		for _, tt := range []struct {
			after time.Duration
			want  uint64
		}{{linger, 0}, {linger, 1}, {time.Minute, 2}} {
			time.Sleep(tt.after)
			watch.conflict <- wire.Conflict{Addr: vip, MAC: [6]byte{2, 0, 0, 0, 0, 9}, Count: 1}
			synctest.Wait()
			if r := a.router(); r.Conflicts != tt.want || r.Election.State != vrrp.Master {
				t.Errorf("%s later: %d conflicts, want %d; %s", tt.after, r.Conflicts, tt.want, r.Election.State)
			}
		}
	})
}
