package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
	"github.com/vmihailenco/msgpack/v5/msgpcode"

	"github.com/264bc8cf/epaxos/epaxos"
)

// ErrMalformed is wrapped by every error of a decoder.
var ErrMalformed = errors.New("malformed")

// skipDepthMax bounds the nesting of a field that is skipped, and with it the stack that it takes.
const skipDepthMax = 16

// decoder reads msgpack values from a slice. The first error sticks: from then on every method returns
// zero, so that a message is read field by field and checked once, and loops over an array whose
// length was checked end early.
type decoder struct {
	pack *msgpack.Decoder
	in   input
	what string // the message being read, for errors
	err  error

	chunk epaxos.Dependencies // memory for vectors; what is cut off is never touched again
}

// input is the io.Reader and io.ByteScanner that the library reads from without a buffer of its own.
type input struct {
	body []byte
	at   int
}

func (in *input) Read(p []byte) (int, error) {
	if in.at >= len(in.body) {
		return 0, io.EOF
	}
	n := copy(p, in.body[in.at:])
	in.at += n
	return n, nil
}

func (in *input) ReadByte() (byte, error) {
	if in.at >= len(in.body) {
		return 0, io.EOF
	}
	in.at++
	return in.body[in.at-1], nil
}

// UnreadByte completes io.ByteScanner: without it the library would put a buffer in between.
func (in *input) UnreadByte() error {
	in.at--
	return nil
}

var decoders = sync.Pool{New: func() any {
	d := &decoder{}
	d.pack = msgpack.NewDecoder(&d.in)
	return d
}}

// decode reads one value of body with read and returns it if there is nothing wrong with it and
// nothing after it.
func decode[T any](what string, body []byte, read func(*decoder) T) (T, error) {
	d := decoders.Get().(*decoder)
	d.what, d.in = what, input{body: body}
	value := read(d)
	d.end()
	err := d.err
	d.in, d.err = input{}, nil
	decoders.Put(d)
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}

func (d *decoder) ok() bool  { return d.err == nil }
func (d *decoder) left() int { return len(d.in.body) - d.in.at }

// fail records what is wrong with a field, unless something was before.
func (d *decoder) fail(field, why string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w %s: %s, before byte %d of %d: %s",
			ErrMalformed, d.what, field, d.in.at, len(d.in.body), fmt.Sprintf(why, args...))
	}
}

func (d *decoder) end() {
	if d.left() > 0 {
		d.fail("end", "%d bytes are left over", d.left())
	}
}

// peek is the next code, or false at the end of the input or after an error.
func (d *decoder) peek(field string) (byte, bool) {
	if d.err == nil && d.in.at < len(d.in.body) {
		return d.in.body[d.in.at], true
	}
	d.fail(field, "the input ends")
	return 0, false
}

// nil consumes a nil if that is what comes next.
func (d *decoder) nil(field string) bool {
	code, ok := d.peek(field)
	if !ok || code != msgpcode.Nil {
		return false
	}
	d.in.at++
	return true
}

// array reads the header of an array and checks that its elements, each of at least elementMin bytes,
// can be there. A caller may allocate as many.
func (d *decoder) array(field string, elementMin, most int) int {
	code, ok := d.peek(field)
	if !ok {
		return 0
	}
	var n int
	var err error
	if msgpcode.IsFixedArray(code) { // as in uint
		n = int(code & msgpcode.FixedArrayMask)
		d.in.at++
	} else {
		n, err = d.pack.DecodeArrayLen()
	}
	switch {
	case err != nil || n < 0:
		d.fail(field, "code 0x%02x is no array that is whole", code)
	case n > d.left()/elementMin:
		d.fail(field, "%d elements cannot be in the %d bytes left", n, d.left())
	case n > most:
		d.fail(field, "%d elements, at most %d", n, most)
	default:
		return n
	}
	return 0
}

// fields reads the header of an array of at least n fields, and returns how many unknown ones follow.
func (d *decoder) fields(field string, n int) (extra int) {
	got := d.array(field, 1, math.MaxInt)
	if got < n {
		d.fail(field, "%d fields, at least %d", got, n)
		return 0
	}
	return got - n
}

// exactly reads the header of an array of n fields.
func (d *decoder) exactly(field string, n int) {
	if got := d.array(field, 1, math.MaxInt); got != n {
		d.fail(field, "%d fields instead of %d", got, n)
	}
}

// uint reads a number from least to most.
func (d *decoder) uint(field string, least, most uint64) uint64 {
	code, ok := d.peek(field)
	if !ok {
		return 0
	}
	var n uint64
	var err error
	if code <= msgpcode.PosFixedNumHigh { // most numbers are in their code: spare them the call
		n = uint64(code)
		d.in.at++
	} else {
		n, err = d.pack.DecodeUint64()
	}
	switch {
	case err != nil || code == msgpcode.Nil:
		d.fail(field, "code 0x%02x is no whole number", code)
	// The library turns -1 into 2^64-1 without an error.
	case n > math.MaxInt64 && code != msgpcode.Uint64:
		d.fail(field, "%d is negative", int64(n))
	case n < least || n > most:
		d.fail(field, "%d is not between %d and %d", n, least, most)
	default:
		return n
	}
	return 0
}

func (d *decoder) uint64(field string) uint64 { return d.uint(field, 0, math.MaxUint64) }

func (d *decoder) int64(field string) int64 {
	code, ok := d.peek(field)
	if !ok {
		return 0
	}
	n, err := d.pack.DecodeInt64()
	switch {
	case err != nil || code == msgpcode.Nil:
		d.fail(field, "code 0x%02x is no whole number", code)
	case n < 0 && code == msgpcode.Uint64:
		d.fail(field, "%d is above %d", uint64(n), int64(math.MaxInt64))
	default:
		return n
	}
	return 0
}

func (d *decoder) bool(field string) bool {
	code, ok := d.peek(field)
	if !ok {
		return false
	}
	// The library reads nil as false, which would hide a field that was left out.
	if code != msgpcode.True && code != msgpcode.False {
		d.fail(field, "code 0x%02x is neither true nor false", code)
		return false
	}
	b, _ := d.pack.DecodeBool()
	return b
}

// view reads a byte string or text of at most most bytes and returns the part of the input that holds
// it, which the caller must copy; nil for nil.
func (d *decoder) view(field string, most int) []byte {
	code, ok := d.peek(field)
	if !ok || d.nil(field) {
		return nil
	}
	n, err := d.pack.DecodeBytesLen()
	switch {
	case err != nil || n < 0:
		d.fail(field, "code 0x%02x is no byte string that is whole", code)
	case n > d.left():
		d.fail(field, "%d bytes cannot be in the %d left", n, d.left())
	case n > most:
		d.fail(field, "%d bytes, at most %d", n, most)
	default:
		from := d.in.at
		d.in.at += n
		return d.in.body[from:d.in.at:d.in.at]
	}
	return nil
}

// bytes is view in memory of its own. Nil stays nil, and empty stays empty.
func (d *decoder) bytes(field string, most int) []byte {
	b := d.view(field, most)
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// text is view as a string, which is never nil.
func (d *decoder) text(field string, most int) string {
	code, ok := d.peek(field)
	if ok && code == msgpcode.Nil {
		d.fail(field, "nil instead of a string")
	}
	return string(d.view(field, most))
}

// skip reads past n values. The library's own Skip recurses once for each level of nesting.
func (d *decoder) skip(n int) {
	for range n {
		d.skipOne(skipDepthMax)
	}
}

func (d *decoder) skipOne(depth int) {
	const field = "unknown field"
	code, ok := d.peek(field)
	if !ok {
		return
	}
	var err error
	inside, bytes := 0, 0 // values, or raw bytes, that belong to this one
	switch {
	case msgpcode.IsFixedArray(code), code == msgpcode.Array16, code == msgpcode.Array32:
		inside, err = d.pack.DecodeArrayLen()
	case msgpcode.IsFixedMap(code), code == msgpcode.Map16, code == msgpcode.Map32:
		inside, err = d.pack.DecodeMapLen()
		inside *= 2
	case msgpcode.IsString(code), msgpcode.IsBin(code):
		bytes, err = d.pack.DecodeBytesLen()
	case msgpcode.IsExt(code):
		_, bytes, err = d.pack.DecodeExtHeader()
	default:
		err = d.pack.Skip() // a number, a truth value or nil: nothing is inside
	}
	switch {
	case err != nil:
		d.fail(field, "code 0x%02x begins no whole value", code)
	case max(inside, bytes) > d.left():
		d.fail(field, "%d values and %d bytes cannot be in the %d bytes left", inside, bytes, d.left())
	case inside > 0 && depth == 0:
		d.fail(field, "nested deeper than %d levels", skipDepthMax)
	}
	for i := 0; i < inside && d.ok(); i++ {
		d.skipOne(depth - 1)
	}
	if d.ok() {
		d.in.at += bytes
	}
}
