package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(screen.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, program
}

// onTerminal runs a command line with a terminal as its output and returns what
// the screen got. A context that ends is an interrupt.
func onTerminal(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	screen, program := openTerminal(t)
	got := make(chan string)
	go func() {
		b, _ := io.ReadAll(screen) // its end is an error, EIO
		got <- string(b)
	}()
	var stderr bytes.Buffer
	if code := execute(ctx, args, program, &stderr); code != 0 {
		t.Errorf("%v ended with %d: %s", args, code, &stderr)
	}
	if err := program.Close(); err != nil {
		t.Error(err)
	}
	out := <-got
	_ = screen.Close()
	return out
}

// startDaemon runs a daemon on paper for commands in this process.
func startDaemon(t *testing.T) *paperDaemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "baton")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d := &paperDaemon{socket: filepath.Join(dir, "s")}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	t.Setenv(socketVariable, d.socket)
	return d
}

func TestColours(t *testing.T) {
	startDaemon(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if out := onTerminal(t.Context(), t, "status"); !strings.Contains(out, "\x1b[1;31mATTENTION") || !strings.Contains(out, "\x1b[32mmaster\x1b[0m") {
		t.Errorf("no colours: %q", out)
	}
	if out := onTerminal(t.Context(), t, "status", "--json"); strings.Contains(out, "\x1b") {
		t.Errorf("colours in JSON: %q", out)
	}
	t.Setenv("TERM", "dumb")
	if out := onTerminal(t.Context(), t, "status"); strings.Contains(out, "\x1b") {
		t.Errorf("colours on a dumb terminal: %q", out)
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if out := onTerminal(t.Context(), t, "status"); strings.Contains(out, "\x1b") {
		t.Errorf("colours in spite of NO_COLOR: %q", out)
	}
}

// TestWatchOnScreen: the page is replaced in place, a daemon that goes away is
// reported and waited for, and the terminal is left as it was found.
func TestWatchOnScreen(t *testing.T) {
	d := startDaemon(t)
	t.Setenv("NO_COLOR", "1")
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(time.Second, d.stop)
	time.AfterFunc(2*time.Second, interrupt)
	out := onTerminal(ctx, t, "status", "--watch", "--interval", "100ms")
	const begin, end = "\x1b[?25l\x1b[?7l\x1b[H", "\x1b[?7h\x1b[?25h"
	if !strings.HasPrefix(out, begin+"lb-a") || strings.Count(out, begin) < 2 {
		t.Errorf("not replaced in place: %q", out)
	}
	if !strings.Contains(out, "there is no such socket") {
		t.Errorf("the end of the daemon is not shown: %q", out)
	}
	if !strings.HasSuffix(out, end) {
		t.Errorf("the terminal is left changed: %q", out[max(0, len(out)-100):])
	}
}
