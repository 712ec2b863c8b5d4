package discovery

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"baton/test/catalogue"
)

// nameServer is a DNS server on loopback, over UDP and TCP.
type nameServer struct {
	catalogue.NameServer
	addr netip.AddrPort
}

func newNameServer(t *testing.T, answer func(q dnsmessage.Message, tcp bool) []byte) *nameServer {
	t.Helper()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	must(t, err)
	s := &nameServer{addr: udp.LocalAddr().(*net.UDPAddr).AddrPort()}
	s.Says(answer)
	var serving sync.WaitGroup
	serving.Go(func() { s.ServePacket(udp) })
	serving.Go(func() { s.Serve(tcp) })
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
		serving.Wait()
	})
	return s
}
