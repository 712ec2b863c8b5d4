package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"github.com/mdlayher/genetlink"

	"baton/test/lab"
)

// tap sees every change of the kernel's table that a program on the director asks
// for, by the kernel's own netlink monitor (drivers/net/nlmon.c): whatever the
// program says of itself.
type tap struct {
	capture *lab.Capture
	family  uint16
	from    int // packets before are of an earlier step
}

// tapDevice is the monitor's interface.
const tapDevice = "nlmon0"

func (s *stand) openTap(ctx context.Context) (*tap, error) {
	t := &tap{}
	_ = exec.CommandContext(ctx, "modprobe", "nlmon").Run() // it may be built in
	for _, args := range [][]string{{"link", "add", tapDevice, "type", "nlmon"}, {"link", "set", tapDevice, "up"}} {
		if _, err := s.director.Run(ctx, "ip", args...); err != nil {
			return nil, fmt.Errorf("monitor netlink: %w", err)
		}
	}
	err := s.director.Do(func() error {
		c, err := genetlink.Dial(nil)
		if err != nil {
			return err
		}
		f, err := c.GetFamily("IPVS")
		t.family = f.ID
		return errors.Join(err, c.Close())
	})
	if err != nil {
		return nil, err
	}
	t.capture = s.lab.Capture(s.director, tapDevice, "")
	return t, s.lab.Err()
}

func (s *stand) closeTap(ctx context.Context, t *tap) error {
	err := t.capture.Stop()
	if _, gone := s.director.Run(ctx, "ip", "link", "del", tapDevice); err == nil {
		err = gone
	}
	return err
}

// mark forgets what was seen before.
func (t *tap) mark() { t.from = len(t.capture.Packets()) }

// writes returns how many changes were asked for since the mark, and when the
// last was.
func (t *tap) writes() (n int, last time.Time) {
	for _, p := range t.capture.Packets()[t.from:] {
		if k := changesIn(p.Data, t.family); k > 0 {
			n += k
			last = p.Time
		}
	}
	return n, last
}

// changesIn counts the messages of a netlink packet (struct nlmsghdr, then struct
// genlmsghdr) that ask IPVS to change a service or a server.
func changesIn(b []byte, family uint16) (n int) {
	const header, isRequest = 16, 1
	for len(b) > header {
		length := int(binary.NativeEndian.Uint32(b))
		if length <= header || length > len(b) {
			return n
		}
		request := binary.NativeEndian.Uint16(b[6:])&isRequest != 0
		if request && binary.NativeEndian.Uint16(b[4:]) == family {
			switch b[header] {
			case 1, 2, 3, 5, 6, 7: // IPVS_CMD_{NEW,SET,DEL}_{SERVICE,DEST}
				n++
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return n
}
