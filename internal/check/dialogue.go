package check

import (
	"bufio"
	"errors"
	"io"
	"time"
)

const (
	// maxLine bounds a line of a text protocol. The longest that a standard
	// allows is IMAP's, of no fixed length; greetings are far shorter.
	maxLine = 8 << 10
	// maxLines bounds the lines of one answer.
	maxLines = 200
)

// dialogue is a connection to a server that speaks in lines.
type dialogue struct {
	*connection
	lines *bufio.Reader
}

func newDialogue(c *connection) *dialogue {
	return &dialogue{c, bufio.NewReaderSize(c, maxLine)}
}

// line reads a line and returns it without its end.
func (d *dialogue) line() (string, error) {
	b, err := d.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", failf(L7RSP, "%s sent a line of more than %d bytes", d.target, maxLine)
	}
	if err != nil {
		return "", d.cut(err, b)
	}
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return string(b), nil
}

// cut says why a line was not complete.
func (d *dialogue) cut(err error, got []byte) error {
	if len(got) == 0 {
		return d.failed(err, "an answer")
	}
	switch {
	case isTimeout(err):
		return failf(L7TOUT, "%s sent %s and not the end of the line within %s", d.target, quote(got), span(d.timeout))
	case isEOF(err):
		return failf(L7RSP, "%s sent %s and closed the connection in the middle of the line", d.target, quote(got))
	}
	return d.failed(err, "the rest of its answer")
}

// say sends a line.
func (d *dialogue) say(line string) error {
	if _, err := io.WriteString(d.connection, line+"\r\n"); err != nil {
		return d.failed(err, "an answer")
	}
	return nil
}

// part says goodbye and gives the server a moment to hang up first: servers log a
// client that just vanishes, and who closes first has the connection in TIME_WAIT.
func (d *dialogue) part(goodbye string) {
	const moment = 50 * time.Millisecond
	if d.say(goodbye) != nil {
		return
	}
	_ = d.tcp.SetReadDeadline(time.Now().Add(moment))
	_, _ = io.Copy(io.Discard, io.LimitReader(d.lines, maxLine))
}
