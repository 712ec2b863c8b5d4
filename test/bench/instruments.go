package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"baton/test/stream"
)

// instruments are processes that this program starts of itself on the hosts of a
// lab. Apart from it they can have another scheduling class, so that a load does
// not blur what they see. Each ends by itself after longest.
var instruments = map[string]func(args []string) error{
	"stream":  sendStream,
	"echo":    serveEcho,
	"burn":    burn,
	"servers": serveTCP,
	"pages":   serveHTTP,
	"checker": runChecker,
	"table":   keepTable,
	"time":    timeCommand,
	"visit":   visit,
}

// longest is how long an instrument lives if nobody ends it.
const longest = time.Hour

const (
	echoPort = 7007
	// streaming is what a stream writes when its first datagram was answered.
	streaming = "streaming"
)

// sendStream sends to the VIP, a datagram every so often, until it gets SIGTERM;
// then it writes the result.
func sendStream(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: stream INTERVAL")
	}
	every, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	conn, err := stream.Dial(netip.AddrPortFrom(netip.MustParseAddr(vip), echoPort))
	if err != nil {
		return err
	}
	if err := errors.Join(roomy(conn), greet(conn)); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	flow := stream.Start(conn, every)
	fmt.Println(streaming)
	select {
	case <-stop:
	case <-time.After(longest):
	}
	return json.NewEncoder(os.Stdout).Encode(flow.Stop())
}

// greet waits for an answer: packets that wait for the first ARP reply are not
// what is measured.
func greet(conn *net.UDPConn) error {
	buf := make([]byte, 64)
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		if _, err := conn.Write([]byte("hello")); err != nil {
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Read(buf); err == nil {
			return conn.SetReadDeadline(time.Time{})
		}
	}
	return errors.New("the echo service on the VIP does not answer")
}

// roomy gives a socket room for some seconds of datagrams.
func roomy(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	})
	return errors.Join(err, set)
}

func serveEcho([]string) error {
	time.AfterFunc(longest, func() { os.Exit(1) })
	conn, err := stream.Listen(echoPort)
	if err != nil {
		return err
	}
	return errors.Join(roomy(conn), stream.Echo(conn))
}

// burn keeps one processor busy.
func burn([]string) error {
	runtime.GOMAXPROCS(1)
	x := uint64(1)
	for deadline := time.Now().Add(longest); time.Now().Before(deadline); {
		for range 1 << 16 {
			x = x*6364136223846793005 + 1442695040888963407
		}
	}
	_, err := fmt.Fprintln(os.Stderr, x) // or the compiler leaves the work out
	return err
}

// runChecker makes the connections of so many TCP checks. It stands in for the
// checks of a program that cannot run its own.
func runChecker(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: checker CHECKS")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of checks", args[0])
	}
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	began, next := time.Now(), 0
	for time.Since(began) < longest {
		<-pace.C
		for due := int(time.Since(began) * time.Duration(n) / checkInterval); next < due; next++ {
			go check(server(next % n))
		}
	}
	return nil
}

func check(address string) {
	c, err := net.DialTimeout("tcp4", net.JoinHostPort(address, strconv.Itoa(serverPort)), checkTimeout)
	if err != nil {
		return // what the servers say is of no interest
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
