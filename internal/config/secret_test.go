package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The secrets of the files under testdata and conf, and their modes.
var testSecrets = map[string]struct {
	data string
	mode fs.FileMode
}{
	"/keys/hex":      {"hex:000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n", 0o600},
	"/keys/raw":      {"a passphrase of at least 32 characters\r\n", 0o400},
	"/keys/64":       {strings.Repeat("8", 64), 0o600},
	"/keys/open":     {strings.Repeat("o", 32), 0o640},
	"/keys/short":    {"SECRET-SECRET-SECRET-SECRET-SEC", 0o600}, // 31
	"/keys/long":     {"hex:" + strings.Repeat("5e", 65), 0o600},
	"/keys/odd":      {"hex:SECRET5ec", 0o600},
	"/keys/binary":   {strings.Repeat("\xff", 32), 0o600},
	"/keys/lines":    {"SECRET-SECRET\nSECRET-SECRET-SECRET\n", 0o600},
	"/keys/empty":    {"\n", 0o600},
	"/keys/password": {"SECRET78\n", 0o600},

	"/etc/baton/vrrp.key":      {strings.Repeat("k", 32), 0o600},
	"/etc/baton/vrrp.next":     {strings.Repeat("n", 32), 0o600},
	"/etc/baton/vrrp.password": {"password", 0o600},
}

func testSecret(name string) ([]byte, fs.FileMode, error) {
	if name == "/keys/forbidden" {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	s, ok := testSecrets[name]
	if !ok {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOENT}
	}
	return []byte(s.data), s.mode, nil
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	write := func(name, data string, mode fs.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, data, wrong string
		mode                    fs.FileMode
	}{
		{name: "file", path: write("file", "secret\n", 0o600), data: "secret\n", mode: 0o600},
		{name: "for others", path: write("others", "secret", 0o644), data: "secret", mode: 0o644},
		{name: "largest", path: write("largest", strings.Repeat("x", maxSecret), 0o400), data: strings.Repeat("x", maxSecret), mode: 0o400},
		{name: "too large", path: write("large", strings.Repeat("x", maxSecret+1), 0o600), wrong: "it has more than 4096 bytes"},
		{name: "endless", path: "/dev/zero", wrong: "it is not a regular file"},
		{name: "pipe that nobody writes to", path: fifo, wrong: "it is not a regular file"},
		{name: "folder", path: dir, wrong: "it is not a regular file"},
		{name: "none", path: filepath.Join(dir, "none"), wrong: "no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			data, mode, err := readSecret(c.path)
			if c.wrong != "" {
				if err == nil || !strings.HasSuffix(err.Error(), c.wrong) {
					t.Errorf("error %v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil || string(data) != c.data || mode.Perm() != c.mode {
				t.Errorf("%d bytes with mode %v, %v", len(data), mode, err)
			}
		})
	}
}

// Load reads the real file where nobody else does.
func TestLoadReadsSecrets(t *testing.T) {
	dir := t.TempDir()
	key, main := filepath.Join(dir, "key"), filepath.Join(dir, "baton.yaml")
	text := "routers: [{name: a, interface: eth0, id: 1, addresses: [10.0.0.1], auth: {hmac: {key_id: 3, key_file: " + key + "}}}]"
	if err := errors.Join(os.WriteFile(main, []byte(text), 0o644), os.WriteFile(key, []byte("hex:"+strings.Repeat("5e", 32)), 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(main, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := cfg.Routers[0].Auth.Keys
	if len(got) != 1 || got[0].ID != 3 || !bytes.Equal(got[0].Secret, bytes.Repeat([]byte{0x5e}, 32)) {
		t.Error("the key that was read differs")
	}
	if len(cfg.Warnings) != 0 {
		t.Errorf("warnings %v", cfg.Warnings)
	}
}

// No message shows what is in a secret's file, whatever is wrong with it.
func TestSecretsAreNotPrinted(t *testing.T) {
	for name := range testSecrets {
		for _, router := range []string{
			"version: 2, auth: {password_file: " + name + "}",
			"auth: {hmac: {key_id: 1, key_file: " + name + "}}",
		} {
			text := "routers: [{name: a, interface: eth0, id: 1, addresses: [10.0.0.1], " + router + "}]"
			cfg, err := parse("x", []byte(text), Options{ReadSecret: testSecret})
			messages := ""
			if err != nil {
				messages = err.Error()
			} else {
				for _, w := range cfg.Warnings {
					messages += w.String() + "\n"
				}
			}
			if strings.Contains(messages, "SECRET") || strings.Contains(messages, "5e5e") {
				t.Errorf("%s: %s", router, messages)
			}
		}
	}
}

func TestParseReadsNoSecret(t *testing.T) {
	_, err := Parse("x", []byte("routers: [{name: a, interface: eth0, id: 1, addresses: [10.0.0.1], auth: {hmac: {key_id: 1, key_file: /etc/hostname}}}]"))
	want := "x:1:103: key_file: cannot read /etc/hostname: there are no files here"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
