package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// codec is one encoding under test. Every encoding passes the same tests.
type codec[T any] struct {
	name     string // of its golden file
	samples  []sample[T]
	generate func(*rapid.T) T
	encode   func([]byte, T) []byte
	decode   func([]byte) (T, error)
	fixed    bool         // unknown fields are refused instead of skipped
	optional func(T) bool // the encoding leaves out a known field at its end: one more is not unknown
}

type sample[T any] struct {
	name  string
	value T
}

func (c *codec[T]) test(t *testing.T) {
	t.Run("golden", c.golden)
	t.Run("round trip", c.roundTrip)
	t.Run("cut", c.cut)
	t.Run("unknown fields", c.unknownFields)
	t.Run("changed bytes", c.changedBytes)
	t.Run("no shared memory", c.noSharedMemory)
	t.Run("claims", c.claims)
	t.Run("nesting", c.nesting)
}

// golden compares the samples with testdata, byte by byte: programs of other versions, and disks, hold
// these bytes. UPDATE_GOLDEN=1 rewrites the file; a changed line is a changed format.
func (c *codec[T]) golden(t *testing.T) {
	var text strings.Builder
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		fmt.Fprintf(&text, "%s\n  %s\n", s.name, diagnostic(t, body))
		for line := range slices.Chunk(body, 32) {
			fmt.Fprintf(&text, "  % x\n", line)
		}
		got, err := c.decode(body)
		if err != nil || !reflect.DeepEqual(got, s.value) {
			t.Errorf("%s: got %+v, %v, want %+v", s.name, got, err, s.value)
		}
	}
	path := filepath.Join("testdata", c.name+".golden")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := text.String(); got != string(want) {
		t.Errorf("the encoding changed: add a field or a message type instead\ngot:\n%s\nwant:\n%s", got, want)
	}
}

// diagnostic shows what a program that knows nothing but msgpack reads.
func diagnostic(t *testing.T, body []byte) string {
	t.Helper()
	value, err := msgpack.NewDecoder(bytes.NewReader(body)).DecodeInterfaceLoose()
	if err != nil {
		t.Fatalf("%x is no msgpack: %v", body, err)
	}
	return show(value)
}

func show(value any) string {
	switch v := value.(type) {
	case []any:
		inside := make([]string, len(v))
		for i := range v {
			inside[i] = show(v[i])
		}
		return "[" + strings.Join(inside, " ") + "]"
	case []byte:
		return fmt.Sprintf("%q", v)
	case string:
		return "'" + v + "'"
	case nil:
		return "nil"
	default:
		return fmt.Sprint(v)
	}
}

func (c *codec[T]) roundTrip(t *testing.T) { rapid.Check(t, c.survives) }

// survives expects that a value is decoded as it was encoded, whatever was there before.
func (c *codec[T]) survives(t *rapid.T) {
	want := c.generate(t)
	prefix := []byte("what was there before")
	body := c.encode(slices.Clone(prefix), want)
	if !bytes.HasPrefix(body, prefix) {
		t.Fatalf("appending overwrote what was there: %x", body)
	}
	got, err := c.decode(body[len(prefix):])
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("violation of integrity: got %+v, %v, want %+v", got, err, want)
	}
}

// cut expects that neither a part of an encoding nor one with something behind it is accepted.
func (c *codec[T]) cut(t *testing.T) {
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		for n := range body {
			if got, err := c.decode(body[:n:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d of %d bytes: %+v, %v", s.name, n, len(body), got, err)
			}
		}
		if got, err := c.decode(append(body, 0xc1)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte behind it: %+v, %v", s.name, got, err)
		}
	}
}

// unknown is a field of each shape that a later version might append.
var unknown = [][]byte{
	{0xc0}, {0xc2}, {0x07}, {0xff},
	{0xcc, 1}, {0xcd, 1, 2}, {0xce, 1, 2, 3, 4}, {0xcf, 1, 2, 3, 4, 5, 6, 7, 8},
	{0xd0, 1}, {0xd1, 1, 2}, {0xd2, 1, 2, 3, 4}, {0xd3, 1, 2, 3, 4, 5, 6, 7, 8},
	{0xca, 1, 2, 3, 4}, {0xcb, 1, 2, 3, 4, 5, 6, 7, 8},
	{0xa2, 'h', 'i'}, {0xd9, 1, 'x'}, {0xda, 0, 1, 'x'}, {0xdb, 0, 0, 0, 1, 'x'},
	{0xc4, 2, 1, 2}, {0xc5, 0, 1, 'x'}, {0xc6, 0, 0, 0, 1, 'x'},
	{0x92, 0x01, 0x91, 0xc0}, {0xdc, 0, 1, 0xc0}, {0xdd, 0, 0, 0, 1, 0xc0},
	{0x81, 0xa1, 'k', 0x90}, {0xde, 0, 1, 1, 2}, {0xdf, 0, 0, 0, 1, 1, 2},
	{0xd4, 5, 1}, {0xd5, 5, 1, 2}, {0xd6, 5, 1, 2, 3, 4}, {0xd7, 5, 1, 2, 3, 4, 5, 6, 7, 8},
	{0xc7, 3, 5, 1, 2, 3}, {0xc8, 0, 1, 5, 1}, {0xc9, 0, 0, 0, 1, 5, 1},
}

// extended is the encoding of a later version: with one more field. The outermost array is short.
func extended(body, field []byte) []byte {
	body = slices.Clone(body)
	body[0]++
	return append(body, field...)
}

func (c *codec[T]) unknownFields(t *testing.T) {
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		for _, field := range unknown {
			if c.optional != nil && c.optional(s.value) {
				continue
			}
			got, err := c.decode(extended(body, field))
			switch {
			case c.fixed && !errors.Is(err, ErrMalformed):
				t.Errorf("%s with the unknown field %x: %+v, %v, want a refusal", s.name, field, got, err)
			case !c.fixed && (err != nil || !reflect.DeepEqual(got, s.value)):
				t.Errorf("%s with the unknown field %x: %+v, %v, want %+v", s.name, field, got, err, s.value)
			}
		}
	}
}

// changedBytes replaces every byte of every sample: by each code of msgpack that has a length or a
// number behind it, by short arrays, maps and texts, and by small and negative numbers.
func (c *codec[T]) changedBytes(t *testing.T) {
	replacements := []byte{
		0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x40, 0x41, 0x7f, 0x80, 0x81, 0x82, 0x8f,
		0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x98, 0x9f, 0xa0, 0xa1, 0xa5, 0xbf, 0xe0, 0xff,
	}
	for code := byte(0xc0); code <= 0xdf; code++ {
		replacements = append(replacements, code)
	}
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		for i, was := range body {
			for _, body[i] = range replacements {
				c.stable(t, body)
			}
			body[i] = was
		}
	}
}

// stable expects an error that says so, or a value that survives being encoded, and whose encoding does.
func (c *codec[T]) stable(t *testing.T, body []byte) {
	t.Helper()
	got, err := c.decode(body)
	if err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("%x: the error %v does not wrap ErrMalformed", body, err)
		}
		return
	}
	encoded := c.encode(nil, got)
	again, err := c.decode(encoded)
	if err != nil || !reflect.DeepEqual(got, again) {
		t.Fatalf("violation of integrity: %x is %+v, but after encoding it %+v, %v", body, got, again, err)
	}
	if twice := c.encode(nil, again); !bytes.Equal(encoded, twice) {
		t.Fatalf("violation of integrity: one value has two encodings, %x and %x", encoded, twice)
	}
}

// noSharedMemory overwrites the input, as a reader that reuses its buffer does.
func (c *codec[T]) noSharedMemory(t *testing.T) {
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		got, err := c.decode(body)
		for i := range body {
			body[i] = 0xee
		}
		if err != nil || !reflect.DeepEqual(got, s.value) {
			t.Errorf("%s changed with the input: %+v, %v, want %+v", s.name, got, err, s.value)
		}
	}
}

// claims puts headers that promise far more than follows at every place of every sample. Inside a byte
// string they are its bytes, so there only the cost counts.
func (c *codec[T]) claims(t *testing.T) {
	hostile := [][]byte{
		{0xdd, 0x01, 0x31, 0x2d, 0x00}, // array of 20 million
		{0xdd, 0xff, 0xff, 0xff, 0xff}, // array of 4 billion
		{0xdf, 0x01, 0x31, 0x2d, 0x00}, // map
		{0xc6, 0x01, 0x31, 0x2d, 0x00}, // bytes
		{0xc6, 0xff, 0xff, 0xff, 0xff},
		{0xdb, 0x01, 0x31, 0x2d, 0x00},    // text
		{0xc9, 0x01, 0x31, 0x2d, 0x00, 5}, // extension
	}
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		for i := range body {
			var inputs [][]byte
			for _, header := range hostile {
				inputs = append(inputs, append(slices.Clone(body[:i]), header...))
			}
			c.cheap(t, inputs...)
		}
		for _, header := range hostile {
			c.refusesCheaply(t, extended(body, header))
		}
	}
}

// nesting is two million arrays inside each other, instead of a value and as an unknown field.
func (c *codec[T]) nesting(t *testing.T) {
	deep := bytes.Repeat([]byte{0x91}, 2_000_000)
	c.refusesCheaply(t, deep)
	c.refusesCheaply(t, bytes.Repeat([]byte{0x81}, 2_000_000))
	c.refusesCheaply(t, extended(c.encode(nil, c.samples[0].value), append(deep, 0xc0)))
}

func (c *codec[T]) refusesCheaply(t *testing.T, body []byte) {
	t.Helper()
	c.cheap(t, body)
	if _, err := c.decode(body); !errors.Is(err, ErrMalformed) {
		t.Errorf("%s: error %v does not wrap ErrMalformed", start(body), err)
	}
}

func (c *codec[T]) acceptsCheaply(t *testing.T, body []byte) {
	t.Helper()
	c.cheap(t, body)
	if _, err := c.decode(body); err != nil {
		t.Errorf("%s: %v", start(body), err)
	}
}

// cheap expects that no input costs more memory than is fair, well-formed or not. It measures several
// together because measuring stops all goroutines.
func (c *codec[T]) cheap(t *testing.T, inputs ...[]byte) {
	t.Helper()
	size := 0
	for _, body := range inputs {
		size += len(body)
	}
	hostile.Cheap(t, hostile.Factor, size, func() {
		for _, body := range inputs {
			_, _ = c.decode(body)
		}
	})
}

func start(body []byte) string { return hex.EncodeToString(body[:min(len(body), 64)]) }

// fuzz asserts that no input makes the decoder panic or allocate more than is fair, and that what it
// accepts is stable.
func (c *codec[T]) fuzz(f *testing.F) {
	for _, s := range c.samples {
		body := c.encode(nil, s.value)
		f.Add(body)
		f.Add(body[:len(body)/2])
		f.Add(extended(body, []byte{0x92, 0xc0, 0x81, 0x01, 0x02}))
	}
	f.Add([]byte{0xdd, 0x01, 0x31, 0x2d, 0x00})
	f.Add(bytes.Repeat([]byte{0x91}, 1000))
	f.Fuzz(func(t *testing.T, body []byte) {
		c.stable(t, body)
		c.cheap(t, body)
	})
}
