package stream

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// A whole round on the loopback: everything is answered, nothing is an outage.
func TestEchoAnswersEverything(t *testing.T) {
	for network, loopback := range map[string]string{"udp4": "127.0.0.1", "udp6": "::1"} {
		t.Run(network, func(t *testing.T) {
			server, err := net.ListenUDP(network, nil)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- Echo(server) }()
			port := server.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort().Port()
			client, err := Dial(netip.AddrPortFrom(netip.MustParseAddr(loopback), port))
			if err != nil {
				t.Fatal(err)
			}
			s := Start(client, time.Millisecond)
			time.Sleep(100 * time.Millisecond)
			r := s.Stop()
			if r.Sent < 10 || r.Lost != 0 || r.Gap != 0 {
				t.Errorf("%v, want nothing lost of at least 10", r)
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Errorf("Echo: %v", err)
			}
		})
	}
}

func TestResult(t *testing.T) {
	begin := time.Unix(0, 0)
	tests := map[string]struct {
		answered []bool // one each millisecond
		lost     int
		gap      time.Duration
	}{
		"nothing lost":         {[]bool{true, true, true}, 0, 0},
		"one lost":             {[]bool{true, false, true}, 1, 2 * time.Millisecond},
		"the longest counts":   {[]bool{true, false, true, false, false, true}, 3, 3 * time.Millisecond},
		"ends are no gap":      {[]bool{false, true, true, false}, 2, 0},
		"nothing was answered": {[]bool{false, false}, 2, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &Stream{answered: map[uint64]bool{}}
			for i, ok := range tt.answered {
				s.sent = append(s.sent, begin.Add(time.Duration(i)*time.Millisecond))
				if ok {
					s.answered[uint64(i)] = true
				}
			}
			r := s.result()
			if r.Sent != len(tt.answered) || r.Lost != tt.lost || r.Gap != tt.gap {
				t.Errorf("%+v, want %d lost and a gap of %s", r, tt.lost, tt.gap)
			}
		})
	}
}
