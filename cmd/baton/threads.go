package main

import (
	"runtime"
	"sync"
)

// spareThreads are as many as a process of ours has blocked in system calls at a
// time, beside those that run.
const spareThreads = 16

// keepThreads starts threads that the runtime has at hand from then on. It takes a
// thread for each system call that blocks, and ends the process when the kernel
// gives it none: without spare ones a host whose process table is full (pids.max,
// a fork bomb) would lose its addresses.
func keepThreads() {
	var held sync.WaitGroup
	held.Add(spareThreads)
	for range spareThreads {
		go func() {
			runtime.LockOSThread() // which takes one for this goroutine alone
			held.Done()
			held.Wait()
			runtime.UnlockOSThread() // and now it is anybody's
		}()
	}
	held.Wait()
}
