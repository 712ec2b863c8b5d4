package lab

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Packet is a frame as it passed an interface.
type Packet struct {
	Time     time.Time // by the kernel
	Outgoing bool      // sent by the host that captured it
	Data     []byte    // from the Ethernet header on
}

// Capture collects packets from the moment it was made until it is stopped.
type Capture struct {
	what    string
	fd      int
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
	stopped time.Time // valid once stop is closed

	mu      sync.Mutex
	packets []Packet
	more    chan struct{} // closed and replaced when packets or ended change
	ended   bool
	dropped int
	err     error
}

// Capture begins to collect the packets that pass an interface of the host in either direction
// and match a filter in tcpdump's language ("vrrp", "arp or icmp6"; "" for all). Whatever is sent
// after it has returned is in it.
func (l *Lab) Capture(h *Host, ifname, filter string) *Capture {
	return l.capture(h.ns, h.name, ifname, filter, false)
}

// CaptureBridge is Capture for everything that arrives at a bridge, whoever sends it to whom, each
// packet once. What a Partition keeps from passing on is in it.
func (l *Lab) CaptureBridge(b *Bridge, filter string) *Capture {
	return l.capture(l.switches, "switches", b.name, filter, true)
}

func (l *Lab) capture(ns *namespace, where, ifname, filter string, promiscuous bool) *Capture {
	c := &Capture{
		what: where + "/" + ifname,
		stop: make(chan struct{}),
		done: make(chan struct{}),
		more: make(chan struct{}),
	}
	if ns == nil || l.broken() {
		c.finish(errNoHost)
		return c
	}
	if err := c.open(ns, ifname, filter, promiscuous); err != nil {
		c.finish(err)
		l.fail(fmt.Errorf("capture on %s: %w", c.what, err))
		return c
	}
	l.mu.Lock()
	l.captures = append(l.captures, c)
	l.mu.Unlock()
	go c.collect()
	return c
}

// finish is for a capture that never began.
func (c *Capture) finish(err error) {
	c.ended, c.err = true, err
	close(c.done)
	c.once.Do(func() {
		c.stopped = time.Now()
		close(c.stop)
	})
}

func (c *Capture) open(ns *namespace, ifname, filter string, promiscuous bool) error {
	program, err := compileFilter(ns, filter)
	if err != nil {
		return err
	}
	device, err := ns.netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	return ns.do(func() error {
		// Protocol 0: nothing is received before the filter is in place and bind says what.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		err = func() error {
			if len(program) > 0 {
				fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
				if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
					return fmt.Errorf("filter: %w", err)
				}
			}
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
				return fmt.Errorf("timestamps: %w", err)
			}
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
				return fmt.Errorf("buffer: %w", err)
			}
			// How long it may take until Stop is noticed.
			timeout := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
			if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
				return fmt.Errorf("timeout: %w", err)
			}
			if promiscuous {
				all := unix.PacketMreq{Ifindex: int32(device.Attrs().Index), Type: unix.PACKET_MR_PROMISC}
				if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &all); err != nil {
					return fmt.Errorf("promiscuous mode: %w", err)
				}
			}
			return unix.Bind(fd, &unix.SockaddrLinklayer{
				Protocol: htons(unix.ETH_P_ALL),
				Ifindex:  device.Attrs().Index,
			})
		}()
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		c.fd = fd
		return nil
	})
}

func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// compileFilter has tcpdump translate a filter into the program that the kernel runs.
func compileFilter(ns *namespace, filter string) ([]unix.SockFilter, error) {
	if filter == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience(10*time.Second))
	defer cancel()
	text, err := ns.run(ctx, nil, "tcpdump", "-y", "EN10MB", "-ddd", filter)
	if err != nil {
		return nil, err
	}
	// The first line is the number of instructions.
	var program []unix.SockFilter
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines[1:] {
		var in unix.SockFilter
		if _, err := fmt.Sscan(line, &in.Code, &in.Jt, &in.Jf, &in.K); err != nil {
			return nil, fmt.Errorf("filter %q: tcpdump says %q", filter, text)
		}
		program = append(program, in)
	}
	if fmt.Sprint(len(program)) != lines[0] {
		return nil, fmt.Errorf("filter %q: tcpdump says %q", filter, text)
	}
	return program, nil
}

func (c *Capture) collect() {
	defer close(c.done)
	err := c.receive()
	stats, statsErr := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.err = errors.Join(err, statsErr, unix.Close(c.fd))
	if stats != nil {
		c.dropped = int(stats.Drops)
	}
	close(c.more)
	c.more = make(chan struct{})
}

func (c *Capture) receive() error {
	buffer, control := make([]byte, 1<<16), make([]byte, 128)
	for {
		n, nc, _, from, err := unix.Recvmsg(c.fd, buffer, control, 0)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENETDOWN):
			// The second reports once that the interface went down; it may come up again.
			continue
		case errors.Is(err, unix.EAGAIN):
			// Nothing there: only now may a stop be obeyed, so that it loses nothing.
			select {
			case <-c.stop:
				return nil
			default:
				continue
			}
		case err != nil:
			return err
		}
		packet := Packet{Time: timestamp(control[:nc]), Data: append([]byte(nil), buffer[:n]...)}
		if link, ok := from.(*unix.SockaddrLinklayer); ok {
			packet.Outgoing = link.Pkttype == unix.PACKET_OUTGOING
		}
		if c.passedAfterStop(packet) {
			return nil
		}
		c.mu.Lock()
		c.packets = append(c.packets, packet)
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
	}
}

// passedAfterStop tells whether the capture was stopped before the packet came: where packets
// never cease, waiting for an empty queue would be waiting for ever.
func (c *Capture) passedAfterStop(packet Packet) bool {
	select {
	case <-c.stop:
		return packet.Time.After(c.stopped)
	default:
		return false
	}
}

func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS &&
			len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			var stamp unix.Timespec
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&stamp)), unsafe.Sizeof(stamp)), m.Data)
			return time.Unix(stamp.Unix())
		}
	}
	return time.Now()
}

// Stop ends the capture. What had passed before is kept. It is an error if the kernel dropped
// packets for want of room.
func (c *Capture) Stop() error {
	c.once.Do(func() {
		c.stopped = time.Now()
		close(c.stop)
	})
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("lab: capture on %s: %w", c.what, c.err)
	}
	if c.dropped > 0 {
		return fmt.Errorf("lab: capture on %s: the kernel dropped %d packets", c.what, c.dropped)
	}
	return nil
}

// Packets returns what has been captured so far, in the order of arrival.
func (c *Capture) Packets() []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets[:len(c.packets):len(c.packets)]
}

// from returns the packets from index i on, a channel that tells of more, and whether none can
// come any more.
func (c *Capture) from(i int) ([]Packet, <-chan struct{}, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets[i:len(c.packets):len(c.packets)], c.more, c.ended
}

// C returns a channel that yields every packet from the first on, and is closed after the last
// when the capture has been stopped or ctx has ended.
func (c *Capture) C(ctx context.Context) <-chan Packet {
	channel := make(chan Packet)
	go func() {
		defer close(channel)
		for next := 0; ; {
			packets, more, ended := c.from(next)
			for _, packet := range packets {
				select {
				case channel <- packet:
				case <-ctx.Done():
					return
				}
			}
			next += len(packets)
			if ended {
				return
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			}
		}
	}()
	return channel
}

// Await returns the first packet that matches, already captured or still to come, waiting for at
// most that long (stretched by Patience).
func (c *Capture) Await(within time.Duration, match func(Packet) bool) (Packet, error) {
	deadline := time.NewTimer(Patience(within))
	defer deadline.Stop()
	for next := 0; ; {
		packets, more, ended := c.from(next)
		for _, packet := range packets {
			if match(packet) {
				return packet, nil
			}
		}
		next += len(packets)
		if ended {
			return Packet{}, fmt.Errorf("lab: capture on %s: none of its %d packets matches", c.what, next)
		}
		select {
		case <-more:
		case <-deadline.C:
			return Packet{}, fmt.Errorf("lab: capture on %s: none of %d packets matched within %v", c.what, next, Patience(within))
		}
	}
}

// WritePcap writes what has been captured so far into a file for tcpdump or Wireshark, with
// times in nanoseconds.
func (c *Capture) WritePcap(path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriter(file)
	const nanosecondMagic, ethernet = 0xa1b23c4d, 1
	header := binary.LittleEndian.AppendUint32(nil, nanosecondMagic)
	header = binary.LittleEndian.AppendUint16(header, 2) // version 2.4
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = binary.LittleEndian.AppendUint64(header, 0) // time zone and accuracy, unused
	header = binary.LittleEndian.AppendUint32(header, math.MaxUint16)
	header = binary.LittleEndian.AppendUint32(header, ethernet)
	if _, err := out.Write(header); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	for _, packet := range c.Packets() {
		record := binary.LittleEndian.AppendUint32(nil, uint32(packet.Time.Unix()))
		record = binary.LittleEndian.AppendUint32(record, uint32(packet.Time.Nanosecond()))
		record = binary.LittleEndian.AppendUint32(record, uint32(len(packet.Data)))
		record = binary.LittleEndian.AppendUint32(record, uint32(len(packet.Data)))
		if _, err := out.Write(append(record, packet.Data...)); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}
