package main

import (
	"math"
	"os"
	"runtime/debug"
	"time"
)

const (
	// startLimit bounds the memory of a process that starts without collecting
	// garbage.
	startLimit = 256 << 20
	// frugal is the garbage that a process may have, in percent of what it needs. A
	// director that runs makes little, and pulse hardly any, so that collecting it
	// three times as often as Go does by default costs next to nothing.
	frugal = 33
	// settled is after how long the first checks and the first comparison with the
	// kernel are over, which take more than the next ones do.
	settled = 20 * time.Second
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
	time.AfterFunc(settled, debug.FreeOSMemory)
}

// startFrugally is for a process whose memory is locked: it never gets large.
func startFrugally() {
	if ownMemory() {
		debug.SetGCPercent(frugal)
	}
}

func ownMemory() bool { return os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" }
