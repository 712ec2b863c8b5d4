package main

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"baton/test/lab"
)

// heard makes adverts from "MS SENDER PRIORITY".
func heard(all ...[3]int) []advert {
	var out []advert
	for _, h := range all {
		out = append(out, advert{
			at: time.UnixMilli(int64(h[0])), source: sources[h[1]], vrid: vrid, priority: uint8(h[2]),
		})
	}
	return out
}

const a, b = 0, 1

func TestDeviations(t *testing.T) {
	got := deviations(heard([3]int{0, a, 200}, [3]int{11, a, 200}, [3]int{12, b, 100}, [3]int{20, a, 200}, [3]int{21, a, 0}),
		sources[a], 10*time.Millisecond)
	if want := []time.Duration{time.Millisecond, time.Millisecond}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTakeovers(t *testing.T) {
	tests := map[string]struct {
		heard []advert
		want  int
	}{
		"nothing":            {nil, 0},
		"one master":         {heard([3]int{0, a, 200}, [3]int{10, a, 200}), 0},
		"there and back":     {heard([3]int{0, a, 200}, [3]int{40, b, 100}, [3]int{41, a, 200}), 2},
		"a farewell is none": {heard([3]int{0, a, 200}, [3]int{5, b, 0}, [3]int{10, a, 200}), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := takeovers(tt.heard); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	got, clear := silence(heard([3]int{0, a, 200}, [3]int{10, a, 200}, [3]int{46, b, 100}, [3]int{56, b, 100}))
	if !clear || got != 36*time.Millisecond {
		t.Errorf("got %s, %t", got, clear)
	}
	if got, clear := silence(heard([3]int{46, b, 100}, [3]int{50, a, 200})); clear {
		t.Errorf("b was the master before, and the silence is %s", got)
	}
	if got, clear := silence(heard([3]int{10, a, 200})); clear {
		t.Errorf("b never spoke, and the silence is %s", got)
	}
}

func TestParseAdvert(t *testing.T) {
	frame := append(make([]byte, 14), 0x45, 0, 0, 32, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 2, 224, 0, 0, 18,
		0x31, 51, 100, 1, 0, 1, 0, 0, 10, 0, 0, 100)
	got, ok := parseAdvert(lab.Packet{Data: frame})
	if want := (advert{source: netip.MustParseAddr("10.0.0.2"), vrid: 51, priority: 100}); !ok || got != want {
		t.Errorf("got %+v, %t, want %+v", got, ok, want)
	}
	for n := range len(frame) - 4 {
		if _, ok := parseAdvert(lab.Packet{Data: frame[:n]}); ok {
			t.Errorf("%d bytes are an advert", n)
		}
	}
}
