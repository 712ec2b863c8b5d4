package ipvs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
)

// OpenConnections opens the connection table of the calling thread's network
// namespace, to be read by [ReadConnections]. It needs no privilege. The error
// matches [ErrNoIPVS] where the kernel has no IPVS, which is not loaded for this:
// then there are no connections.
//
// Netlink knows no connections, and this file is all there is. The kernel gives a
// page of it at each read, whatever the reader asks for, and looks for the place
// where it was from the beginning of the table (ip_vs_conn_array): the time for a
// table grows with the square of its size, in processor time of the kernel. Reads
// of a page or more make the least of them.
func OpenConnections(c Columns) (*os.File, error) {
	// Not /proc/net, which is that of the process's first thread.
	path := "/proc/thread-self/net/" + c.name()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the connections: %w", noIPVS(nil))
	}
	if err != nil {
		return nil, fmt.Errorf("read the connections: %w", err)
	}
	return f, nil
}

// connectionBuffer is the size of the buffer for lines: several pages of the
// kernel's, so that none is read in two parts.
const connectionBuffer = 64 << 10

// ReadConnections yields the entries of a connection table, in the kernel's order
// and one at a time, so that the memory does not grow with the table. The table
// changes meanwhile: an entry may be missed or come twice.
//
// A line that is not understood is yielded as a [*LineError]; the lines after it
// follow. Any other error is the last.
func ReadConnections(r io.Reader, c Columns) iter.Seq2[Connection, error] {
	return func(yield func(Connection, error) bool) {
		lines := bufio.NewReaderSize(r, connectionBuffer)
		parser := connectionParser{columns: c, states: make(map[string]string)}
		for n := 1; ; n++ {
			line, err := lines.ReadSlice('\n')
			if len(line) == 0 && errors.Is(err, io.EOF) {
				if n == 1 {
					yield(Connection{}, errors.New("read the connections: the kernel's table has no header"))
				}
				return
			}
			if err != nil {
				yield(Connection{}, fmt.Errorf("read the connections, line %d: %w", n, endless(err)))
				return
			}
			line = line[:len(line)-1]
			if n == 1 {
				if err := checkHeader(line, c); err != nil {
					yield(Connection{}, &LineError{Line: n, Text: string(line), Err: err})
					return
				}
				continue
			}
			conn, err := parser.parse(line)
			if err != nil {
				err = &LineError{Line: n, Text: string(bytes.ToValidUTF8(line, []byte("?"))), Err: err}
			}
			if !yield(conn, err) {
				return
			}
		}
	}
}

// endless puts into words why a line has no end.
func endless(err error) error {
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("a line of more than %d bytes", connectionBuffer)
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkHeader makes sure that the columns are those that the parser knows.
func checkHeader(line []byte, c Columns) error {
	if got := strings.Join(strings.Fields(string(line)), " "); got != c.header() {
		return fmt.Errorf("the columns are not %s, which this program knows", c.header())
	}
	return nil
}
