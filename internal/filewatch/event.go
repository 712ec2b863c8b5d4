package filewatch

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// event is struct inotify_event of linux/inotify.h.
type event struct {
	number int32 // of the folder
	mask   uint32
	name   string // in the folder; empty: the folder itself
}

// parseEvent takes the first event off the buffer. What is not one takes all.
func parseEvent(buf []byte) (event, []byte) {
	if len(buf) < unix.SizeofInotifyEvent {
		return event{}, nil
	}
	e := event{
		number: int32(binary.NativeEndian.Uint32(buf)),
		mask:   binary.NativeEndian.Uint32(buf[4:]),
	}
	length := binary.NativeEndian.Uint32(buf[12:])
	buf = buf[unix.SizeofInotifyEvent:]
	if uint64(length) > uint64(len(buf)) {
		return event{}, nil
	}
	name, _, _ := bytes.Cut(buf[:length], []byte{0})
	e.name = string(name)
	return e, buf[length:]
}
