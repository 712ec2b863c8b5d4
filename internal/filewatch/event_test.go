package filewatch

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseEvent(t *testing.T) {
	two := append(encode(event{3, unix.IN_CLOSE_WRITE, "weight"}), encode(event{4, unix.IN_DELETE_SELF, ""})...)
	var got []event
	for rest := two; len(rest) > 0; {
		var e event
		e, rest = parseEvent(rest)
		got = append(got, e)
	}
	if want := []event{{3, unix.IN_CLOSE_WRITE, "weight"}, {4, unix.IN_DELETE_SELF, ""}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// encode writes an event as the kernel does: the name padded with zeros.
func encode(e event) []byte {
	name := append([]byte(e.name), make([]byte, (16-len(e.name)%16)%16)...)
	buf := make([]byte, unix.SizeofInotifyEvent)
	for i, v := range []uint32{uint32(e.number), e.mask, 0, uint32(len(name))} {
		for k := range 4 {
			buf[4*i+k] = byte(v >> (8 * k)) // little endian, as all machines here
		}
	}
	return append(buf, name...)
}

func FuzzParseEvent(f *testing.F) {
	f.Add(encode(event{3, unix.IN_CLOSE_WRITE, "weight"}))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, buf []byte) {
		for steps := 0; len(buf) > 0; steps++ {
			before := len(buf)
			if _, buf = parseEvent(buf); len(buf) >= before {
				t.Fatal("does not come forward")
			}
		}
	})
}
