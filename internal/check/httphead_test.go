package check

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"
)

var heads = []string{
	"HTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.0 404\r\nServer: x\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
	"HTTP/1.1 200 OK\r\ncontent-length:\t 42 \r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
	"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
	"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
	"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
	"HTTP/1.1 200 OK\nX: a\n\n",
	"HTTP/1.1 20 OK\r\n\r\n",
	"HTTP/1.1 2000 OK\r\n\r\n",
	"HTTP/1.1  200 OK\r\n\r\n",
	"HTTP/2 200 OK\r\n\r\n",
	"HTTP/1.11 200 OK\r\n\r\n",
	"HTTP/1.1 099 OK\r\n\r\n",
	"HTTP/1.1 200 \x80\r\nX: \x00\r\n\r\n",
}

// A head that is taken for plain is one for net/http, too, with the same meaning.
func FuzzPlainHead(f *testing.F) {
	for _, h := range heads {
		f.Add([]byte(h))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if end := endOfHead(b); end < 0 || end < len(b) {
			return
		}
		got, ok := plainHead(b)
		if !ok {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), &http.Request{Method: http.MethodGet})
		if err != nil {
			t.Fatalf("%q is %+v, but net/http says: %s", b, got, err)
		}
		_ = resp.Body.Close()
		if bodyless(http.MethodGet, got.status) || got.status < 200 {
			got.length = resp.ContentLength
		}
		if want := (head{resp.StatusCode, resp.ContentLength, len(resp.TransferEncoding) > 0}); got != want {
			t.Errorf("%q is %+v, but net/http says %+v", b, got, want)
		}
	})
}

// The heads that servers send are plain, and those that need a close look are not.
func TestPlainHead(t *testing.T) {
	plain := map[string]head{
		heads[0]: {200, -1, false},
		heads[1]: {404, -1, false},
		heads[2]: {200, 3, false},
		heads[3]: {200, 42, false},
	}
	for _, h := range heads {
		want, isPlain := plain[h]
		if got, ok := plainHead([]byte(h)); ok != isPlain || ok && got != want {
			t.Errorf("%q: %+v, plain %t; want %+v, %t", h, got, ok, want, isPlain)
		}
	}
}
