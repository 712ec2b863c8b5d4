package check

import (
	"bufio"
	"bytes"
	"net/http"
)

// head is what is of interest of the status line and the headers of an answer.
type head struct {
	status  int
	length  int64 // of the body in bytes; -1: not told
	chunked bool  // the body is coded, in chunks at last
}

// parseHead reads a complete head, the empty line at its end included.
func parseHead(b []byte, method string) (head, error) {
	if h, ok := plainHead(b); ok {
		return h, nil
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(b), 512), &http.Request{Method: method})
	if err != nil {
		return head{}, err
	}
	_ = resp.Body.Close() // it is read from elsewhere
	return head{resp.StatusCode, resp.ContentLength, len(resp.TransferEncoding) > 0}, nil
}

// plainHead reads a head as nearly all servers send it, at a tenth of what it costs
// to make an [http.Response] of it. Whatever is special or wrong it leaves to
// net/http: not ok.
func plainHead(b []byte) (h head, ok bool) {
	line, b, _ := bytes.Cut(b, []byte("\r\n"))
	if h.status, ok = statusOf(line); !ok {
		return h, false
	}
	h.length = -1
	for {
		if line, b, ok = bytes.Cut(b, []byte("\r\n")); !ok || len(line) == 0 {
			return h, ok && len(b) == 0
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !isToken(name) || !isText(value) {
			return h, false
		}
		switch {
		case isNamed(name, "Transfer-Encoding"), isNamed(name, "Content-Length") && h.length >= 0:
			return h, false
		case isNamed(name, "Content-Length"):
			if h.length, ok = lengthOf(bytes.Trim(value, " \t")); !ok {
				return h, false
			}
		}
	}
}

// statusOf reads a status line, such as "HTTP/1.1 200 OK" (RFC 9112 section 4).
func statusOf(line []byte) (status int, ok bool) {
	const start = "HTTP/1."
	if len(line) < len(start)+5 || string(line[:len(start)]) != start || !isText(line) {
		return 0, false
	}
	version, rest := line[len(start)], line[len(start)+1:]
	if version != '0' && version != '1' || rest[0] != ' ' || len(rest) > 4 && rest[4] != ' ' {
		return 0, false
	}
	n, ok := lengthOf(rest[1:4])
	return int(n), ok && n >= 100
}

// lengthOf reads a number of a few digits and nothing else.
func lengthOf(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func isNamed(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// isToken reports whether a header's name is of letters, digits and hyphens, which
// is narrower than RFC 9110 section 5.6.2.
func isToken(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

// isText reports whether there are only printable ASCII characters, spaces and tabs.
func isText(b []byte) bool {
	for _, c := range b {
		if (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// endOfHead returns where the headers end, or -1. Lines may end without a carriage
// return (RFC 9112 section 2.2).
func endOfHead(b []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}
