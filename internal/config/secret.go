package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxSecret is more than any secret has. What is larger was named by mistake.
const maxSecret = 4096

// readSecret is the operating system's [Options.ReadSecret]. It does not wait for
// the other end of a pipe.
func readSecret(name string) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(data) > maxSecret {
		err = fmt.Errorf("it has more than %d bytes", maxSecret)
	}
	return data, info.Mode(), err
}

// secretFile is a file that was read.
type secretFile struct {
	data []byte
	mode fs.FileMode
	err  error
}

// secret returns the contents of the file that a key names, without the newline
// at its end. What is wrong with it is reported without its contents.
func (b *builder) secret(key string, p *value[secretPath]) ([]byte, bool) {
	name := string(p.v)
	f, known := b.secrets[name]
	if !known {
		f.data, f.mode, f.err = b.readSecret(name)
		b.secrets[name] = f
	}
	if f.err != nil {
		b.add(p.at, "%s: cannot read %s: %s%s", key, name, reason(f.err), advice(f.err))
		return nil, false
	}
	if others := f.mode.Perm() & 0o077; others != 0 {
		b.warn(p.at, "%s: %s is open to other users (mode %04o); make it: chmod 600 %s", key, name, f.mode.Perm(), name)
	}
	return trimNewline(f.data), true
}

// advice says what to do about a file error.
func advice(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "; check as a user who may read it"
	case errors.Is(err, fs.ErrNotExist):
		return "; create it, readable by root alone"
	}
	return ""
}

// trimNewline removes the newline that editors and echo leave at the end.
func trimNewline(b []byte) []byte {
	for _, end := range []byte("\n\r") {
		if n := len(b); n > 0 && b[n-1] == end {
			b = b[:n-1]
		}
	}
	return b
}
