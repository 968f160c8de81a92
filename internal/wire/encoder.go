package wire

import (
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// encoder appends msgpack values to a slice. The library writes to an io.Writer; here that is a slice
// whose writes cannot fail, so the errors of its methods are always nil and are dropped.
type encoder struct {
	pack *msgpack.Encoder
	out  output
}

type output struct{ buf []byte }

func (o *output) Write(p []byte) (int, error) {
	o.buf = append(o.buf, p...)
	return len(p), nil
}

func (o *output) WriteByte(c byte) error {
	o.buf = append(o.buf, c)
	return nil
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.pack = msgpack.NewEncoder(&e.out)
	return e
}}

// appendTo starts an encoding at the end of dst; done ends it.
func appendTo(dst []byte) *encoder {
	e := encoders.Get().(*encoder)
	e.out.buf = dst
	return e
}

// done returns the slice appended to, and gives the encoder back.
func (e *encoder) done() []byte {
	buf := e.out.buf
	e.out.buf = nil
	encoders.Put(e)
	return buf
}

func (e *encoder) array(n int)   { _ = e.pack.EncodeArrayLen(n) }
func (e *encoder) uint(n uint64) { _ = e.pack.EncodeUint(n) }
func (e *encoder) int(n int64)   { _ = e.pack.EncodeInt(n) }
func (e *encoder) bool(b bool)   { _ = e.pack.EncodeBool(b) }
func (e *encoder) nil()          { _ = e.pack.EncodeNil() }

// bytes keeps the difference between nil and empty.
func (e *encoder) bytes(b []byte) { _ = e.pack.EncodeBytes(b) }

// text is for strings that people read. Keys are byte strings: see blob.
func (e *encoder) text(s string) { _ = e.pack.EncodeString(s) }

// blob writes a string of arbitrary bytes as what it is; msgpack strings are UTF-8.
func (e *encoder) blob(s string) {
	_ = e.pack.EncodeBytesLen(len(s))
	e.out.buf = append(e.out.buf, s...)
}

// message starts an array of n fields after its type.
func (e *encoder) message(t MessageType, n int) {
	e.array(1 + n)
	e.uint(uint64(t))
}
