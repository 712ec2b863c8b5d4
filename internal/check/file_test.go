package check

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFile(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		code       Code
		detail     string
		weight     int // -1: none
	}{
		{"a weight", "7\n", L7OK, "holds the weight 7", 7},
		{"no line end", "7", L7OK, "", 7},
		{"white space", "\n \t7 \n\n", L7OK, "", 7},
		{"a sign", "+7", L7OK, "", 7},
		{"a comment", "7 since the migration\nof last night", L7OK, "", 7},
		{"zero", "0\n", L7OK, "holds the weight 0", 0},
		{"leading zeros are not octal", "010", L7OK, "", 10},
		{"the most", "2147483647", L7OK, "", 2147483647},
		{"more", "99999999999999999999999", L7OK, "", 2147483647},
		{"negative", "-1", L7STS, "FILE holds -1, which says that the server must not be used", -1},
		{"very negative", "-99999999999999999999999", L7STS, "", -1},
		{"empty", "", L7RSP, "FILE is empty", -1},
		{"white space only", " \n\n", L7RSP, "is empty", -1},
		{"a word", "up\n", L7RSP, `FILE does not begin with a number but with "up"`, -1},
		{"a fraction", "1.5", L7RSP, "does not begin with a number", -1},
		{"hexadecimal", "0x10", L7RSP, "does not begin with a number", -1},
		{"glued", "7up", L7RSP, "does not begin with a number", -1},
		{"binary", "\x00\xff\x1b", L7RSP, `"\x00\xff\x1b"`, -1},
		{"giant", strings.Repeat("x", 1<<20), L7RSP, "does not begin with a number", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, "weight", []byte(tt.text))
			s := Spec{Timeout: 10 * time.Second, File: &File{Path: path}}
			holdAgainst(t, s, tt.code, strings.ReplaceAll(tt.detail, "FILE", path))
			r := Probe(context.Background(), s)
			if r.Weighted != (tt.weight >= 0) || r.Weighted && int(r.Weight) != tt.weight {
				t.Errorf("weight %d, %t; want %d", r.Weight, r.Weighted, tt.weight)
			}
		})
	}
}

func TestFileThatIsNone(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, detail := range map[string]string{
		"/nonexistent/weight": "cannot read /nonexistent/weight: no such file or directory",
		"/etc":                "cannot read /etc: it is not a regular file",
		"/dev/zero":           "it is not a regular file",
		fifo:                  "it is not a regular file",
		"/proc/self/mem":      "cannot read /proc/self/mem: input/output error",
	} {
		holdAgainst(t, Spec{Timeout: 10 * time.Second, File: &File{Path: path}}, L7RSP, detail)
	}
}

// A file system that hangs holds up one read, not one more at each probe.
func TestFileHangs(t *testing.T) {
	path := write(t, "weight", []byte("7"))
	hung := &reading{done: make(chan struct{})}
	readings.mu.Lock()
	readings.reads[path] = hung
	readings.mu.Unlock()
	s := Spec{Timeout: 50 * time.Millisecond, File: &File{Path: path}}
	for range 3 {
		holdAgainst(t, s, L7TOUT, path+" could not be read within 50ms; its file system hangs")
	}
	readings.mu.Lock()
	delete(readings.reads, path)
	readings.mu.Unlock()
	s.Timeout = 10 * time.Second
	holdAgainst(t, s, L7OK, "weight 7")
}

// Two jobs may look at the same file.
func TestFileReadByMany(t *testing.T) {
	s := Spec{Timeout: 10 * time.Second, File: &File{Path: write(t, "weight", []byte("7"))}}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if r := Probe(context.Background(), s); r.Code != L7OK || r.Weight != 7 {
				t.Errorf("%s: %s", r.Code, r.Detail)
			}
		})
	}
	all.Wait()
}

func FuzzParseNumber(f *testing.F) {
	for _, text := range []string{"7", "-1 x", "", "0x10", "99999999999999999999"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := parseNumber(text)
		if err != nil && strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q is more than one line", err)
		}
	})
}

func BenchmarkReadNumber(b *testing.B) {
	path := filepath.Join(b.TempDir(), "weight")
	if err := os.WriteFile(path, []byte("7\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ReadNumber(path); err != nil {
			b.Fatal(err)
		}
	}
}
