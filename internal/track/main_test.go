package track

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain is also the tracker that a test starts on a host of the lab: it pings
// what the environment names and prints the states.
func TestMain(m *testing.M) {
	if target := os.Getenv("BATON_TEST_PING"); target != "" {
		printPing(target)
		return
	}
	goleak.VerifyTestMain(m)
}

func printPing(target string) {
	tr := New(Options{Sink: func(_ string, states []State) {
		for _, s := range states {
			fmt.Printf("known=%t up=%t weight=%d %s\n", s.Known, s.Up, s.Weight, s.Detail)
		}
	}})
	tr.Set([]Object{{
		Router: "web", Name: "ping " + target, Weight: -60, Interval: 100 * time.Millisecond, Rise: 2, Fall: 2,
		Ping: &Ping{Address: netip.MustParseAddr(target)},
	}})
	_ = tr.Run(context.Background())
}
