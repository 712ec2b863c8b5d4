package lab

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// emulated tells whether the processor is QEMU's emulation.
var emulated = sync.OnceValue(func() bool {
	text, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(text), "QEMU TCG")
})

// Patience stretches a time limit tenfold where the processor is emulated. It is for limits that
// only guard against waiting for ever, not for what a test measures.
func Patience(d time.Duration) time.Duration {
	if emulated() {
		return 10 * d
	}
	return d
}

// Eventually waits until check returns nil, for at most that long (stretched by Patience), and
// otherwise fails the test with the last error.
func Eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	within = Patience(within)
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Since(began) > within {
			t.Fatalf("still after %v: %v", within, err)
		}
		time.Sleep(pause)
	}
}
