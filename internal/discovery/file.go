package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"baton/internal/filewatch"
)

const (
	// filePoll is how often a file is read although the kernel told of no change:
	// it may lie on a network.
	filePoll = 10 * time.Second
	// fileSettle is how long a file is left alone after news of it: several events
	// belong to one change.
	fileSettle = 50 * time.Millisecond
	// maxFile is more than [MaxServers] servers take.
	maxFile = 4 << 20
)

// fileReader reads servers from a file.
type fileReader struct {
	path  string
	parse func(path string, data []byte) ([]Server, error)
	watch *filewatch.Watch

	text    []byte // that servers were read from
	servers []Server
}

func (d *Discovery) newFileReader(path string) *fileReader {
	return &fileReader{path: path, parse: d.options.Parse, watch: d.files.Watch(path)}
}

func (f *fileReader) wake() <-chan struct{} { return f.watch.Changed() }

func (f *fileReader) close() { f.watch.Close() }

func (f *fileReader) read(ctx context.Context, _ bool) (answer, error) {
	again := f.watch.Arm(filePoll) // before the read: what changes after it is heard of
	if err := sleep(ctx, fileSettle); err != nil {
		return answer{}, err
	}
	data, err := readFile(f.path)
	if err != nil {
		return answer{}, err
	}
	if f.text == nil || !bytes.Equal(data, f.text) {
		servers, err := f.parse(f.path, data)
		if err != nil { // one mistake in each line
			return answer{}, errors.New(few(strings.Split(err.Error(), "\n")))
		}
		f.text, f.servers = data, servers
	}
	return answer{servers: f.servers, again: again}, nil
}

// readFile reads a file of ordinary size. It does not wait for the other end of a
// pipe.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read the servers: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("read the servers from %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("read the servers from %s: %w", path, err)
	}
	return data, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
