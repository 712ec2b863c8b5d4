package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// The health protocol of gRPC: service grpc.health.v1.Health, method Check. The
// request has one field, the service's name, and the answer has one, its status.
const (
	grpcPath    = "/grpc.health.v1.Health/Check"
	grpcServing = 1
	maxGRPC     = 4 << 10 // bytes of an answer; that of a health check has a few
)

var grpcStatuses = [...]string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

// probeGRPC asks the server's health service.
func probeGRPC(ctx context.Context, s Spec) (Code, string, error) {
	r := &request{
		target: s.Target, tls: s.GRPC.TLS, method: http.MethodPost, path: grpcPath, version: "2",
		host:   hostOf(s.Target, s.GRPC.TLS != nil),
		header: http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"baton"}},
		body:   string(grpcRequest(s.GRPC.Service)),
	}
	err := exchange2(ctx, s, r, func(c *connection, resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return failf(L7STS, "%s answered HTTP status %d, which is no answer of gRPC", c.target, resp.StatusCode)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxGRPC))
		if err != nil {
			return c.failed(err, "its whole answer")
		}
		return s.GRPC.judge(c.target, resp, body)
	})
	if err != nil {
		return "", "", err
	}
	return L7OK, s.Target.String() + " is SERVING" + s.GRPC.whose(), nil
}

func (g *GRPC) whose() string {
	if g.Service == "" {
		return ""
	}
	return " " + strconv.QuoteToASCII(g.Service)
}

// grpcRequest is a HealthCheckRequest behind gRPC's prefix: a byte that says "not
// compressed", and the length.
func grpcRequest(service string) []byte {
	var m []byte
	if service != "" {
		m = binary.AppendUvarint(append(m, 1<<3|2), uint64(len(service)))
		m = append(m, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// judge reads the status of the call, which follows the answer or stands in its
// place, and then the answer.
func (g *GRPC) judge(target netip.AddrPort, resp *http.Response, body []byte) error {
	status, message := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" {
		status, message = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	switch {
	case status == "":
		return failf(L7RSP, "%s did not end its answer as gRPC does", target)
	case status != "0":
		return failf(L7STS, "%s refused the health check with gRPC status %s", target, grpcError(status, message))
	}
	health, err := grpcHealth(body)
	if err != nil {
		return failf(L7RSP, "%s sent an answer that is none of the health service: %s", target, err)
	}
	if health != grpcServing {
		name := strconv.FormatUint(health, 10)
		if health < uint64(len(grpcStatuses)) {
			name = grpcStatuses[health]
		}
		return failf(L7STS, "%s is %s%s", target, name, g.whose())
	}
	return nil
}

// grpcError names the codes that a health service gives.
func grpcError(status, message string) string {
	known := map[string]string{"5": "NOT_FOUND: it does not know the service", "12": "UNIMPLEMENTED: it has no health service", "14": "UNAVAILABLE", "16": "UNAUTHENTICATED"}
	text := strconv.QuoteToASCII(status)
	if _, err := strconv.Atoi(status); err == nil {
		text = status
	}
	if name := known[status]; name != "" {
		text += " (" + name + ")"
	}
	if m, err := url.PathUnescape(message); err == nil && m != "" {
		text += ": " + quote([]byte(m))
	}
	return text
}

// grpcHealth reads a HealthCheckResponse. Fields that a later version may add are
// skipped.
func grpcHealth(body []byte) (status uint64, err error) {
	if len(body) < 5 || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-5) {
		return 0, fmt.Errorf("%d bytes", len(body))
	}
	for m := body[5:]; len(m) > 0; {
		tag, n := binary.Uvarint(m)
		if n <= 0 {
			return 0, errors.New("a field without an end")
		}
		m = m[n:]
		v, n := binary.Uvarint(m)
		switch tag & 7 {
		case 0:
		case 2:
			n += int(min(v, maxGRPC))
		default:
			return 0, fmt.Errorf("a field of type %d", tag&7)
		}
		if n <= 0 || n > len(m) {
			return 0, errors.New("a field without an end")
		}
		if tag == 1<<3 {
			status = v
		}
		m = m[n:]
	}
	return status, nil
}
