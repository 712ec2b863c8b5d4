package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"baton/test/lab"
)

// stand is one director and a host that is all real servers.
type stand struct {
	bench    *bench
	lab      *lab.Lab
	director *lab.Host
	servers  *lab.Host
	client   *lab.Host
	servant  *lab.Process // is the real servers
	serves   string       // which instrument that is
}

// openStand makes the hosts. Close it.
func (b *bench) openStand(ctx context.Context) (s *stand, err error) {
	l, err := lab.Open(nil)
	if err != nil {
		return nil, err
	}
	s = &stand{bench: b, lab: l, director: l.Host("director")}
	lan := l.Bridge("lan")
	s.director.Connect(lan, "eth0", "10.0.0.1/24")
	s.servers = l.Host("servers")
	s.servers.Connect(lan, "eth0", "10.0.0.66/24")
	for _, net := range []string{"10.66.0.0/16", movedNet + "0.0/16"} {
		if _, err := s.servers.Run(ctx, "ip", "route", "add", "local", net, "dev", "lo"); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		s.director.Route(net, "10.0.0.66")
	}
	if err := s.connectClient(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.director.Route(victimNet+"0.0/16", "10.0.0.66")
	s.serve("servers")
	if err := l.Err(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// serve has the real servers be a certain instrument.
func (s *stand) serve(what string) {
	if s.serves == what {
		return
	}
	if s.servant != nil {
		s.servant.Kill()
		<-s.servant.Done()
	}
	s.servant, s.serves = s.servers.Start(lab.Proc{Args: []string{s.bench.self, what}}), what
}

// connectClient makes the host of the clients, on the director's other side.
func (s *stand) connectClient(ctx context.Context) error {
	outside := s.lab.Bridge("outside")
	s.director.Connect(outside, "eth1", "10.9.0.1/24")
	s.client = s.lab.Host("client")
	s.client.Connect(outside, "eth0", "10.9.0.2/24")
	s.client.Route(vip+"/32", "10.9.0.1")
	s.servers.Route("10.9.0.0/24", "10.0.0.1")
	for _, args := range [][]string{{"ip", "addr", "add", vip + "/32", "dev", "eth1"}, {"sysctl", "-qw", "net.ipv4.ip_forward=1"}} {
		if _, err := s.director.Run(ctx, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func (s *stand) close() error { return s.lab.Close() }

// counted is what the kernel's table has.
type counted struct{ services, servers, moved int }

// count counts the kernel's table. The text in /proc is the cheapest way to have
// all of it: the same for whoever is measured.
func (s *stand) count() (c counted, err error) {
	err = s.director.Do(func() error {
		f, err := os.Open("/proc/thread-self/net/ip_vs")
		if err != nil {
			return err
		}
		defer f.Close()
		c, err = countTable(bufio.NewReaderSize(f, 1<<16))
		return err
	})
	return c, err
}

// countTable counts the lines of /proc/net/ip_vs (ip_vs_info_seq_show): services
// begin with their protocol, servers with an arrow and an address in hexadecimal.
func countTable(r *bufio.Reader) (c counted, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		switch address, isServer := strings.CutPrefix(line, "  -> "); {
		case isServer && strings.HasPrefix(address, "0A4D"):
			c.moved++
			c.servers++
		case isServer && !strings.HasPrefix(address, "Remote"):
			c.servers++
		case strings.HasPrefix(line, "TCP "):
			c.services++
		}
	}
	return c, lines.Err()
}

// patience bounds one wait for the table.
const patience = 3 * time.Minute

// await waits until the kernel's table has what is wanted and returns when it
// was first seen to. It looks for at most a fifth of the time, for looking takes
// a processor away.
func (s *stand) await(ctx context.Context, p *lab.Process, what string, want func(counted) bool) (time.Time, error) {
	for began := time.Now(); ; {
		looked := time.Now()
		c, err := s.count()
		switch {
		case err != nil:
			return looked, err
		case want(c):
			return looked, nil
		case p != nil && !p.Running():
			return looked, fmt.Errorf("the program has ended before the table was %s (it has %+v):\n%s", what, c, tail(p))
		case time.Since(began) > patience:
			return looked, fmt.Errorf("the table is not %s after %s: it has %+v", what, patience, c)
		}
		if err := sleep(ctx, max(20*time.Millisecond, 4*time.Since(looked))); err != nil {
			return looked, err
		}
	}
}

// full is a table with all servers.
func (f farm) full(c counted) bool {
	return c.services == f.kernelServices() && c.servers == f.servers()
}

// clear empties the table, whatever a run has left.
func (s *stand) clear(ctx context.Context) error {
	_, err := s.director.Run(ctx, "ipvsadm", "-C")
	return err
}
