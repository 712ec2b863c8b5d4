package discovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver asks questions of servers that resolve names for us.
type resolver struct {
	resolving
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// maxAliases bounds a chain of CNAMEs.
const maxAliases = 8

// ask returns the answer to a question: the first one that a server has. That a
// name or a type does not exist is an answer, too.
func (r *resolver) ask(ctx context.Context, q question) (*reply, error) {
	var errs []error
	for range max(r.attempts, 1) {
		errs = errs[:0]
		for _, server := range r.servers {
			rep, err := r.askServer(ctx, server, q)
			if err == nil {
				return rep, nil
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			errs = append(errs, fmt.Errorf("%s: %w", server, err))
		}
	}
	return nil, fmt.Errorf("ask for %s %s: %w", strings.TrimSuffix(q.name.String(), "."), typeName(q.qtype), joined(errs))
}

// joined writes errors in one line.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// askServer asks one server, over TCP if the answer does not fit into a datagram
// (RFC 7766 section 5), and without EDNS if the server does not know it (RFC 6891
// section 7).
func (r *resolver) askServer(ctx context.Context, server netip.AddrPort, q question) (*reply, error) {
	edns := true
	rep, err := r.exchange(ctx, "udp", server, q, edns)
	if err == nil && (rep.rcode == dnsmessage.RCodeFormatError || rep.rcode == dnsmessage.RCodeNotImplemented) {
		edns = false
		rep, err = r.exchange(ctx, "udp", server, q, edns)
	}
	if err == nil && rep.truncated {
		rep, err = r.exchange(ctx, "tcp", server, q, edns)
	}
	switch {
	case err != nil:
		return nil, err
	case rep.truncated:
		return nil, errors.New("the answer is cut off, over TCP, too")
	case rep.rcode != dnsmessage.RCodeSuccess && rep.rcode != dnsmessage.RCodeNameError:
		return nil, fmt.Errorf("the server says %s", strings.TrimPrefix(rep.rcode.String(), "RCode"))
	}
	return rep, nil
}

// exchange sends a query and waits for its answer. Each has a socket of its own,
// and so a port that nobody can guess.
func (r *resolver) exchange(ctx context.Context, network string, server netip.AddrPort, q question, edns bool) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	packet, id, err := q.pack(edns)
	if err != nil {
		return nil, err
	}
	conn, err := r.dial(ctx, network, server.String())
	if err != nil {
		return nil, silent(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline() // there is one
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		return q.overTCP(conn, packet, id)
	}
	return q.overUDP(conn, packet, id)
}

// silent makes of a timeout what it means.
func silent(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("no answer in time")
	}
	return err
}

func (q question) overUDP(conn net.Conn, packet []byte, id uint16) (*reply, error) {
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10) // a server may send more than it was told to
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, silent(err)
		}
		rep, err := q.parseReply(buf[:n], id)
		if !errors.Is(err, errNotOurs) {
			return rep, err
		}
	}
}

func (q question) overTCP(conn net.Conn, packet []byte, id uint16) (*reply, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(packet)))
	if _, err := conn.Write(append(framed, packet...)); err != nil {
		return nil, silent(err)
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, silent(err)
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, silent(err)
	}
	return q.parseReply(buf, id)
}
