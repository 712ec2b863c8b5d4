package check

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxNumberFile bounds what is read of a file that should hold one number.
const maxNumberFile = 4 << 10

// ReadNumber reads the number that a file begins with: decimal, with or without
// a sign, white space before it. What comes after it and white space is left
// for comments. A number beyond 64 bits is cut to what fits.
//
// It does not wait for the writer of a FIFO, and refuses everything that is not
// a regular file. A file system that hangs makes it hang.
func ReadNumber(path string) (int64, error) {
	// A FIFO without a writer would block the open, and the read after it.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", path, cause(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		if err == nil {
			err = errors.New("it is not a regular file")
		}
		return 0, fmt.Errorf("cannot read %s: %w", path, cause(err))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxNumberFile))
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", path, cause(err))
	}
	n, err := parseNumber(text)
	if err != nil {
		return 0, fmt.Errorf("%s %w", path, err)
	}
	return n, nil
}

// parseNumber returns the number that a text begins with. The error completes a
// sentence about the text.
func parseNumber(text []byte) (int64, error) {
	words := bytes.Fields(text)
	if len(words) == 0 {
		return 0, errors.New("is empty")
	}
	n, err := strconv.ParseInt(string(words[0]), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // which comes with the nearest number
		return 0, fmt.Errorf("does not begin with a number but with %s", quote(words[0]))
	}
	return n, nil
}

// cause strips an error of the path that the sentence around it has already.
func cause(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
