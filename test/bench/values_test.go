package main

import (
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = 100 - i // 1 to 100, unsorted
	}
	tests := map[string]struct {
		values []int
		q      float64
		want   int
	}{
		"none":              {nil, 0.5, 0},
		"one":               {[]int{7}, 0.99, 7},
		"middle of three":   {[]int{3, 1, 2}, 0.5, 2},
		"lower of two":      {[]int{2, 1}, 0.5, 1},
		"p50 of 100":        {hundred, 0.5, 50},
		"p99 of 100":        {hundred, 0.99, 99},
		"max of 100":        {hundred, 1, 100},
		"p99 of 20 is max":  {hundred[:20], 0.99, 100},
		"smallest with q 0": {hundred, 0, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRatio(t *testing.T) {
	if got := ratio(1, 4); got != "0.250" {
		t.Errorf("1 to 4 is %s", got)
	}
	if got := ratio(time.Second, 0); got != dash {
		t.Errorf("a ratio to nothing is %s", got)
	}
}

func TestFlags(t *testing.T) {
	for text, want := range map[string]string{
		"-baton=/bin/sh -only=sleep":       `no part "sleep"`,
		"-baton=/bin/sh -faults=link,fire": `no fault "fire"`,
		"-baton=/bin/sh -adverts=1":        "missing unit",
		"-baton=/bin/sh -routers=0":        "not above zero",
		"-baton=/bin/sh -routers=256":      "255 VRIDs",
		"-baton=/bin/sh more":              `unknown argument "more"`,
		"-baton=/nonexistent":              "make build",
	} {
		if _, err := parse(strings.Fields(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", text, err, want)
		}
	}
	b, err := parse([]string{"-baton=/bin/sh", "-only=jitter,load", "-faults=term"})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.only) != 2 || len(b.faults) != 1 || b.faults[0].name != "term" || len(b.adverts) != 3 {
		t.Errorf("got %+v", b)
	}
}
