package main

import (
	"math"
	"os"
	"runtime/debug"
)

const (
	// startLimit bounds the memory of a process that starts without collecting
	// garbage.
	startLimit = 256 << 20
	// frugal is the garbage that a process may have, in percent of what it needs. A
	// director that runs makes little, so that collecting it twice as often as Go
	// does by default costs next to nothing.
	frugal = 50
)

// startQuickly has a process start without collecting garbage: nothing that is read
// and built at the start is worth looking for it. GOGC and GOMEMLIMIT go before.
func startQuickly() {
	if ownMemory() {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(startLimit)
	}
}

// runFrugally is for when it has started.
func runFrugally() {
	if ownMemory() {
		debug.SetMemoryLimit(math.MaxInt64)
		debug.SetGCPercent(frugal)
	}
	debug.FreeOSMemory() // reading a large file has taken more than running it does
}

func ownMemory() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }
