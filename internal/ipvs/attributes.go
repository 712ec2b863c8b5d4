package ipvs

import (
	"encoding/binary"
	"fmt"
)

// Netlink attributes (include/uapi/linux/netlink.h, struct nlattr): a u16
// length that includes these four bytes of header, a u16 type, the value, and
// padding to four bytes. mdlayher/netlink has an encoder and a decoder too; with
// them a table of 10,000 servers costs half a million allocations at each
// comparison with the kernel, once a second.
const (
	attrHeader = 4
	attrNested = 1 << 15   // NLA_F_NESTED
	attrType   = 1<<14 - 1 // NLA_TYPE_MASK
)

func align(n int) int { return (n + 3) &^ 3 }

// writer builds attributes.
type writer []byte

func (w *writer) bytes(typ uint16, v []byte) {
	w.header(typ, len(v))
	*w = append(*w, v...)
	w.pad()
}

// text writes a string with the final zero that the kernel expects.
func (w *writer) text(typ uint16, v string) {
	w.header(typ, len(v)+1)
	*w = append(*w, v...)
	*w = append(*w, 0)
	w.pad()
}

func (w *writer) u8(typ uint16, v uint8) {
	w.header(typ, 1)
	*w = append(*w, v)
	w.pad()
}

func (w *writer) u16(typ, v uint16) {
	w.header(typ, 2)
	*w = binary.NativeEndian.AppendUint16(*w, v)
	w.pad()
}

func (w *writer) be16(typ, v uint16) {
	w.header(typ, 2)
	*w = binary.BigEndian.AppendUint16(*w, v)
	w.pad()
}

func (w *writer) u32(typ uint16, v uint32) {
	w.header(typ, 4)
	*w = binary.NativeEndian.AppendUint32(*w, v)
}

// nested writes an attribute whose value is the attributes that f writes.
func (w *writer) nested(typ uint16, f func()) {
	start := len(*w)
	w.header(typ|attrNested, 0)
	f()
	binary.NativeEndian.PutUint16((*w)[start:], uint16(len(*w)-start))
}

func (w *writer) header(typ uint16, n int) {
	*w = binary.NativeEndian.AppendUint16(*w, uint16(attrHeader+n))
	*w = binary.NativeEndian.AppendUint16(*w, typ)
}

func (w *writer) pad() {
	for len(*w) != align(len(*w)) {
		*w = append(*w, 0)
	}
}

// reader walks over attributes. The first malformed one ends the walk and sets
// err, as does a value that has not the length that is asked for.
type reader struct {
	typ   uint16
	value []byte
	err   error
	rest  []byte
}

func newReader(b []byte) reader { return reader{rest: b} }

// next moves to the next attribute and reports whether there is one.
func (r *reader) next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	n := 0
	if len(r.rest) >= attrHeader {
		n = int(binary.NativeEndian.Uint16(r.rest))
	}
	if n < attrHeader || n > len(r.rest) {
		r.err = fmt.Errorf("%w: an attribute of %d bytes where %d are left", errForm, n, len(r.rest))
		return false
	}
	r.typ = binary.NativeEndian.Uint16(r.rest[2:]) & attrType
	r.value = r.rest[attrHeader:n]
	r.rest = r.rest[min(align(n), len(r.rest)):]
	return true
}

// exactly returns the value when it has n bytes, and otherwise n zeros.
func (r *reader) exactly(n int) []byte {
	if len(r.value) == n {
		return r.value
	}
	if r.err == nil {
		r.err = fmt.Errorf("%w: attribute %d has %d bytes, not %d", errForm, r.typ, len(r.value), n)
	}
	return zeros[:n]
}

var zeros [16]byte

func (r *reader) u8() uint8    { return r.exactly(1)[0] }
func (r *reader) u16() uint16  { return binary.NativeEndian.Uint16(r.exactly(2)) }
func (r *reader) be16() uint16 { return binary.BigEndian.Uint16(r.exactly(2)) }
func (r *reader) u32() uint32  { return binary.NativeEndian.Uint32(r.exactly(4)) }
func (r *reader) u64() uint64  { return binary.NativeEndian.Uint64(r.exactly(8)) }

// text returns the value up to its first zero.
func (r *reader) text() string {
	for i, c := range r.value {
		if c == 0 {
			return string(r.value[:i])
		}
	}
	return string(r.value)
}
