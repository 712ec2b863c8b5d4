package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine says what was measured, and where.
func (b *bench) machine(ctx context.Context) string {
	where := fmt.Sprintf("Linux %s, %d processors (%s)", kernel(), runtime.NumCPU(), processor())
	return fmt.Sprintf("%s; %s; %s", firstLine(ctx, b.baton, "version"), firstLine(ctx, "keepalived", "-v"), where)
}

// firstLine is the first line that a command writes.
func firstLine(ctx context.Context, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	if err != nil && line == "" {
		return fmt.Sprintf("%s: %v", name, err)
	}
	return line
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}

func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, ok := strings.CutPrefix(s.Text(), "model name"); ok {
			return strings.TrimLeft(name, "\t :")
		}
	}
	return runtime.GOARCH
}

// haveIPVS tells whether the kernel has IPVS, after an attempt to load it.
func haveIPVS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_ = exec.CommandContext(ctx, "modprobe", "ip_vs").Run() // it may be built in
	_, err := os.Stat("/proc/sys/net/ipv4/vs")
	return err == nil
}
