package check

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"regexp"
	"sync"

	"golang.org/x/sys/unix"
)

// visit is a plain HTTP request of the poller: HTTP/1 in the clear, the same bytes
// each time, no redirects. It judges as [probeHTTP] does.
type visit struct {
	page      *page
	link      connection // of its methods those that put failures into words
	connected bool
	sent      int     // bytes of the request
	buf       []byte  // what came
	pooled    *[]byte // what buf was at first; nil: it was released
	eof       bool
	headEnd   int     // where the body begins in buf
	head      head    // of answer
	answer    *answer // nil: its head is not yet complete
}

// page is what all visits of a job have in common.
type page struct {
	spec    *HTTP
	request []byte
	method  string
	regex   *regexp.Regexp
	most    int64 // bytes of the body
	err     error // the request cannot be made
}

// isPlain reports whether a check is for the poller.
func (h *HTTP) isPlain() bool {
	return h.TLS == nil && h.Follow == 0 && h.Version != "2" && h.Username == "" && h.PasswordFile == ""
}

func newPage(s Spec) *page {
	h := s.HTTP
	p := &page{spec: h, most: h.MaxBody}
	if p.most <= 0 {
		p.most = defaultBody
	}
	if p.regex, p.err = h.bodyRegex(); p.err != nil {
		return p
	}
	req, err := newRequest(s)
	if err != nil {
		p.err = failf(L7RSP, "%s", err)
		return p
	}
	p.request, p.method = req.encode(), req.method
	return p
}

// buffers hold answers; most of them fit.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

func (j *job) visit() (*visit, error) {
	if j.page == nil {
		j.page = newPage(j.Spec)
	}
	if j.page.err != nil {
		return nil, j.page.err
	}
	v := &visit{page: j.page, link: connection{target: j.Spec.Target, timeout: j.Spec.timeout()}}
	v.pooled = buffers.Get().(*[]byte)
	v.buf = *v.pooled
	return v, nil
}

// release gives the buffer back. What an answer holds of it is not used after.
func (v *visit) release() {
	if v == nil || v.pooled == nil {
		return
	}
	if cap(v.buf) <= 16<<10 {
		*v.pooled = v.buf[:0]
	}
	buffers.Put(v.pooled)
	v.buf, v.pooled = nil, nil
}

// step goes on after such news of the kernel's; done with the outcome when the visit
// has come to its end.
func (v *visit) step(fd int, events uint32) (code Code, detail string, err error, done bool) { //nolint:revive // the outcome, and whether there is one
	if err := v.write(fd); err != nil {
		return "", "", err, true
	}
	if err := v.read(fd, events); err != nil {
		return "", "", err, true
	}
	if done, err := v.judge(); err != nil || !done {
		return "", "", err, err != nil
	}
	return v.verdict()
}

// verdict holds the answer against what is expected.
func (v *visit) verdict() (Code, string, error, bool) { //nolint:revive // as of step
	h := v.page.spec
	if !v.answer.accepted {
		return "", "", statusFailure(h, v.answer, 0), true
	}
	code, detail, err := judgeBody(h, v.answer, v.page.regex)
	return code, detail, err, true
}

// write sends what is left of the request.
func (v *visit) write(fd int) error {
	for v.sent < len(v.page.request) {
		n, err := unix.Write(fd, v.page.request[v.sent:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil
		case isReset(err):
			// A server may answer and hang up before it has read all of the body.
			v.sent = len(v.page.request)
		case err != nil:
			return v.link.failed(err, "an answer")
		default:
			v.sent += n
		}
	}
	return nil
}

// readable are the news after which there is something to read, if only the end.
const readable = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR

// read takes what there is, up to what may be of interest. Each call of the kernel
// costs as much as everything else here: it is not asked for what it has not
// announced, nor again when it had less than was asked for.
func (v *visit) read(fd int, events uint32) error {
	if events&readable == 0 {
		return nil
	}
	limit := maxHeader + int(v.page.most)
	for !v.eof && len(v.buf) < limit {
		if len(v.buf) == cap(v.buf) {
			v.buf = append(v.buf, 0)[:len(v.buf)]
		}
		room := v.buf[len(v.buf):min(cap(v.buf), limit)]
		n, err := unix.Read(fd, room)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return v.failed(err)
		case n == 0:
			v.eof = true
		default:
			v.buf = v.buf[:len(v.buf)+n]
			if n == len(room) || events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 { // an error is yet to be read
				continue
			}
			v.eof = events&unix.EPOLLRDHUP != 0
			return nil
		}
	}
	return nil
}

// failed says why there is no complete answer.
func (v *visit) failed(err error) error {
	switch {
	case v.answer != nil:
		v.answer.body = v.buf[v.headEnd:]
		return v.link.bodyFailure(v.answer, err)
	case isReset(err) || len(v.buf) == 0:
		return v.link.failed(err, "an answer")
	}
	return v.link.headFailure(err, v.buf[:min(len(v.buf), 64)], false)
}

// judge looks whether the answer is complete, or can no longer become one.
func (v *visit) judge() (done bool, err error) {
	if v.answer == nil {
		if done, err := v.parseHead(); !done {
			return false, err
		}
	}
	a := v.answer
	if !a.accepted {
		return true, nil
	}
	if err := v.takeBody(a); err != nil {
		return false, err
	}
	return a.complete || a.cut, nil
}

// parseHead reads status and headers when they are there. Interim answers are
// skipped.
func (v *visit) parseHead() (done bool, err error) {
	if n := len(v.buf); n >= 5 && !isHTTP(v.buf) {
		return false, v.link.headFailure(errors.New("it does not begin with HTTP/"), v.buf[:min(n, 64)], false)
	}
	at := v.headEnd
	for {
		end := endOfHead(v.buf[at:])
		if end < 0 {
			break
		}
		head, err := parseHead(v.buf[at:at+end], v.page.method)
		if err != nil {
			return false, v.link.headFailure(err, v.buf[at:min(len(v.buf), at+64)], false)
		}
		at += end
		v.headEnd = at
		if head.status >= 200 || head.status == http.StatusSwitchingProtocols {
			v.head = head
			v.answer = &answer{status: head.status, accepted: v.page.spec.accepts(head.status)}
			return true, nil
		}
	}
	switch start := v.buf[v.headEnd:]; {
	case len(v.buf) >= maxHeader:
		return false, v.link.headFailure(io.ErrUnexpectedEOF, nil, true)
	case v.eof && len(start) > 0:
		return false, v.link.headFailure(io.ErrUnexpectedEOF, start[:min(len(start), 64)], false)
	case v.eof:
		return false, v.link.failed(io.EOF, "an answer")
	}
	return false, nil
}

// takeBody takes what there is of the body, and notes whether that is all.
func (v *visit) takeBody(a *answer) error {
	body := v.buf[v.headEnd:]
	length := v.head.length
	switch {
	case bodyless(v.page.method, a.status), length == 0:
		a.complete = true
		return nil
	case v.head.chunked:
		return v.takeChunks(a, body)
	case length >= 0 && int64(len(body)) >= length:
		body, a.complete = body[:length], true
	case length < 0 && v.eof:
		a.complete = true
	case v.eof:
		a.body = body
		return v.link.bodyFailure(a, io.ErrUnexpectedEOF)
	}
	a.body = body
	if int64(len(body)) >= v.page.most {
		a.body, a.cut, a.complete = body[:v.page.most], true, false
	}
	return nil
}

// takeChunks reads a body in chunks (RFC 9112 section 7.1), once its end may be
// there.
func (v *visit) takeChunks(a *answer, raw []byte) error {
	if !v.eof && int64(len(raw)) < v.page.most && !bytes.HasSuffix(raw, []byte("\n\r\n")) && !bytes.HasSuffix(raw, []byte("0\n\n")) {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(httputil.NewChunkedReader(bytes.NewReader(raw)), v.page.most))
	a.body = body
	switch {
	case err == nil && int64(len(body)) >= v.page.most:
		a.cut = true
	case err == nil:
		a.complete = true
	case isEOF(err) && !v.eof:
		return nil // not the end yet
	default:
		return v.link.bodyFailure(a, err)
	}
	return nil
}

// bodyless reports whether an answer has no body whatever its headers say (RFC 9112
// section 6.3).
func bodyless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified ||
		status == http.StatusSwitchingProtocols
}
