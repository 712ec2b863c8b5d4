package program

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A program that the kernel holds in spite of SIGKILL is not started again on
// top of that.
func TestHanging(t *testing.T) {
	file := filepath.Join(t.TempDir(), "runs")
	p := Program{Args: []string{"/bin/sh", "-c", "echo run $WHO >>" + file}, Env: []string{"WHO=me"}}
	cmd, err := p.start(context.Background(), new(Ending))
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	hanging.add(p.name(), cmd, held)
	if end, err := p.Run(context.Background()); !end.Busy || err != nil {
		t.Errorf("it ran on top of itself: %+v, %v", end, err)
	}
	close(held)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		end, err := p.Run(context.Background())
		if err == nil && !end.Busy {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v", end, err)
		}
	}
	text, err := os.ReadFile(file)
	if n := strings.Count(string(text), "run me\n"); n != 2 || err != nil {
		t.Errorf("ran %d times, want 2 (%q, %v)", n, text, err)
	}
}
