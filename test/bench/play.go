package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"baton/test/lab"
	"baton/test/stream"
)

const (
	echoPort = 7007
	interval = 500 * time.Microsecond
)

// stage is where one measurement is taken.
type stage struct {
	lab     *lab.Lab
	program program
	client  *lab.Host
	hosts   [2]*lab.Host
	link    *lab.Link // of the owner
	owner   *lab.Process
	peer    *lab.Process
}

// seen is the outcome of one measurement.
type seen struct {
	stream.Result
	Both bool // both directors had the VIP at the end
	None bool
}

func (s seen) holders() string {
	switch {
	case s.Both:
		return "both hold the VIP"
	case s.None:
		return "nobody holds the VIP"
	}
	return "one holds the VIP"
}

// play takes one measurement on hosts that are made for it.
func play(p program, f fault, advert time.Duration) (out seen, err error) {
	l, err := lab.Open(nil)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s := &stage{lab: l, program: p}
	if err := s.build(); err != nil {
		return out, err
	}
	if err := s.elect(advert); err != nil {
		return out, err
	}
	client, err := s.dial()
	if err != nil {
		return out, err
	}
	flow := stream.Start(client, interval)
	time.Sleep(300 * time.Millisecond)
	if err = s.awaitAdvert(advert); err == nil {
		err = f.strike(s)
	}
	if err != nil {
		return out, errors.Join(err, fmt.Errorf("stream: %v", flow.Stop()))
	}
	time.Sleep(time.Duration(f.after)*advert + time.Second)
	out.Result = flow.Stop()
	if f.name == "everything" {
		time.Sleep(3 * time.Second) // as long as a lease
	}
	a, b := s.hosts[0].Has(vip), s.hosts[1].Has(vip)
	out.Both, out.None = a && b, !a && !b
	return out, l.Err()
}

// build makes a client and two directors on one segment, with an echo service on
// both.
func (s *stage) build() error {
	lan := s.lab.Bridge("lan")
	s.client = s.lab.Host("client")
	s.client.Connect(lan, "eth0", "10.0.0.9/24")
	for i := range s.hosts {
		h := s.lab.Host([]string{"a", "b"}[i])
		link := h.Connect(lan, "eth0", fmt.Sprintf("10.0.0.%d/24", i+1))
		if i == 0 {
			s.link = link
		}
		s.hosts[i] = h
		if err := s.serveEcho(h); err != nil {
			return err
		}
	}
	return s.lab.Err()
}

func (s *stage) serveEcho(h *lab.Host) error {
	conn, err := h.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", echoPort))
	if err != nil {
		return err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("a UDP socket is a %T", conn)
	}
	go func() { _ = stream.Echo(udp) }() // ends with the program
	return nil
}

func (s *stage) dial() (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := s.client.Do(func() (err error) {
		conn, err = stream.Dial(netip.AddrPortFrom(netip.MustParseAddr(vip), echoPort))
		return err
	})
	return conn, err
}

// elect starts the directors, the preferred one first, and waits until it owns
// the VIP and the other one has heard it for a while.
func (s *stage) elect(advert time.Duration) (err error) {
	if s.owner, err = s.program.start(s.hosts[0], filepath.Join(s.lab.Dir(), "a"), 200, advert); err != nil {
		return err
	}
	for began := time.Now(); !s.hosts[0].Has(vip); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			return fmt.Errorf("the owner did not take the VIP:\n%s", s.owner.Output())
		}
	}
	if s.peer, err = s.program.start(s.hosts[1], filepath.Join(s.lab.Dir(), "b"), 100, advert); err != nil {
		return err
	}
	time.Sleep(3*advert + time.Second)
	if s.hosts[1].Has(vip) {
		return errors.New("both directors own the VIP before anything happened")
	}
	return s.lab.Err()
}

// awaitAdvert returns right after the next advert of the owner.
func (s *stage) awaitAdvert(advert time.Duration) error {
	c := s.lab.Capture(s.client, "eth0", "vrrp")
	defer c.Stop() //nolint:errcheck // only read
	begin := time.Now()
	_, err := c.Await(3*advert+time.Second, func(p lab.Packet) bool { return p.Time.After(begin) })
	return err
}
