package network

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// conn is a socket for routes and rules. The library's own calls for them are
// not used: they neither read back everything that tells two rules apart, nor
// take the same messages as the kernel's reports bring, and one reader for both
// is one place to be wrong in.
type conn struct {
	sockets map[int]*nl.SocketHandle
	port    uint32 // by which the kernel's reports name the one who made a change
}

func openConn() (*conn, error) { return openConnTo(unix.NETLINK_ROUTE) }

// openConnTo opens a socket to a part of the kernel (netlink(7)).
func openConnTo(family int) (*conn, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), family)
	if err != nil {
		return nil, err
	}
	c := &conn{sockets: map[int]*nl.SocketHandle{family: {Socket: s}}}
	timeout := unix.NsecToTimeval(socketTimeout.Nanoseconds())
	c.port, err = s.GetPid()
	// Strict checking makes the kernel obey the protocol given with a dump of
	// routes (since 4.20): otherwise it would hand over all of them.
	err = errors.Join(err, s.SetSendTimeout(&timeout), s.SetReceiveTimeout(&timeout),
		unix.SetsockoptInt(s.GetFd(), unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1))
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// socketTimeout bounds one answer of the kernel.
const socketTimeout = 10 * time.Second

func (c *conn) close() {
	if c == nil {
		return
	}
	for _, s := range c.sockets {
		s.Socket.Close() //nolint:errcheck // nothing is lost with it
	}
}

// do sends a request with a header of 12 bytes and attributes.
func (c *conn) do(kind, flags int, head *nl.RtMsg, attrs ...*nl.RtAttr) error {
	_, err := c.request(kind, flags|unix.NLM_F_ACK, 0, head, attrs)
	return err
}

// dump returns the bodies of all messages of a kind.
func (c *conn) dump(ask int, tell uint16, head *nl.RtMsg) ([][]byte, error) {
	return c.request(ask, unix.NLM_F_DUMP, tell, head, nil)
}

func (c *conn) request(kind, flags int, answer uint16, head *nl.RtMsg, attrs []*nl.RtAttr) ([][]byte, error) {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = c.sockets
	req.RetryInterrupted = true
	req.AddData(head)
	for _, a := range attrs {
		req.AddData(a)
	}
	return req.Execute(unix.NETLINK_ROUTE, answer)
}

// familyOf returns the kernel's number of an address family.
func familyOf(v6 bool) uint8 {
	if v6 {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
