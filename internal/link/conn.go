package link

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds a message: 255 routers with 255 addresses each need less.
const maxMessage = 16 << 20

// writeTimeout bounds a write to a process that does not read.
const writeTimeout = 2 * time.Second

// Conn is one end of a link. Send and Receive may be used by one goroutine each,
// Send by several.
type Conn struct {
	mu   sync.Mutex // serialises writers
	conn net.Conn
	head [4]byte
}

// Pair returns the two ends: ours, and the file for a child process.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("create the socket pair between pulse and director: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link")
	conn, err := FromFile(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return conn, theirs, nil
}

// FromFile returns the end of a link that was inherited as f, and closes f.
func FromFile(f *os.File) (*Conn, error) {
	conn, err := net.FileConn(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("open the link between pulse and director: %w", err)
	}
	return &Conn{conn: conn}, nil
}

// Send writes a message. An error means that the link is no longer usable.
func (c *Conn) Send(m Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode a message between pulse and director: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("a message between pulse and director has %d bytes, more than %d", len(body), maxMessage)
	}
	frame := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	frame = append(frame, body...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err = c.conn.Write(frame)
	return err
}

// Receive waits for the next message. io.EOF means that the other end has
// ended.
func (c *Conn) Receive() (Message, error) {
	if _, err := io.ReadFull(c.conn, c.head[:]); err != nil {
		return Message{}, ended(err)
	}
	size := binary.BigEndian.Uint32(c.head[:])
	if size > maxMessage {
		return Message{}, fmt.Errorf("a message between pulse and director claims %d bytes, more than %d", size, maxMessage)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return Message{}, ended(err)
	}
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return Message{}, fmt.Errorf("decode a message between pulse and director: %w", err)
	}
	return m, nil
}

// ended makes all the ways in which a peer's death shows one.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) {
		return io.EOF
	}
	return err
}

// Close ends the link.
func (c *Conn) Close() error { return c.conn.Close() }
