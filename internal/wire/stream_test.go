package wire

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

func framed(bodies ...[]byte) []byte {
	var stream []byte
	for _, body := range bodies {
		stream = append(AppendFrameLength(stream, len(body)), body...)
	}
	return stream
}

// TestFrameReader cuts streams that arrive whole, byte by byte, and with the end in the last read.
func TestFrameReader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 100), 0, 10).Draw(t, "bodies")
		arrival := rapid.SampledFrom([]func(io.Reader) io.Reader{
			func(r io.Reader) io.Reader { return r },
			iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
		}).Draw(t, "arrival")
		frames := NewFrameReader(arrival(bytes.NewReader(framed(want...))), 100)
		for _, body := range want {
			got, err := frames.Next()
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("got %x, %v, want %x", got, err, body)
			}
		}
		for range 2 {
			if got, err := frames.Next(); !errors.Is(err, io.EOF) {
				t.Fatalf("after the last frame: %x, %v", got, err)
			}
		}
	})
}

func TestFrameReaderLarge(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), PeerFrameMax/16)
	frames := NewFrameReader(iotest.HalfReader(bytes.NewReader(framed(large, []byte("small"), large))), PeerFrameMax)
	for _, want := range [][]byte{large, []byte("small"), large} {
		if got, err := frames.Next(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(want))
		}
	}
	if got := cap(frames.buf); got > PeerFrameMax {
		t.Errorf("the buffer has %d bytes, at most %d are ever needed", got, PeerFrameMax)
	}
}

func TestFrameReaderErrors(t *testing.T) {
	broken := errors.New("the connection broke")
	for _, c := range []struct {
		name   string
		stream io.Reader
		want   error
		says   string
	}{
		{"empty", strings.NewReader(""), io.EOF, "EOF"},
		{"cut in the length", strings.NewReader("\x00\x00"), io.ErrUnexpectedEOF, "read the length"},
		{"cut before the body", bytes.NewReader(AppendFrameLength(nil, 10)), io.ErrUnexpectedEOF, "10 bytes"},
		{"cut in the body", strings.NewReader("\x00\x00\x00\x0ahello"), io.ErrUnexpectedEOF, "10 bytes"},
		{"one too long", bytes.NewReader(AppendFrameLength(nil, 101)), ErrFrame, "101 bytes, at most 100"},
		{"4 GiB", strings.NewReader("\xff\xff\xff\xff"), ErrFrame, "4294967295 bytes, at most 100"},
		{"broken", iotest.ErrReader(broken), broken, "read the length"},
	} {
		_, err := NewFrameReader(c.stream, 100).Next()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, want %v that says %q", c.name, err, c.want, c.says)
		}
		if c.want != ErrFrame && errors.Is(err, ErrMalformed) {
			t.Errorf("%s: a stream that ends is not malformed: %v", c.name, err)
		}
	}
	if !errors.Is(ErrFrame, ErrMalformed) {
		t.Error("a frame that is too long is not malformed")
	}
}

// TestFrameReaderClaim opens with frames that claim the limit and send nothing, or a little.
func TestFrameReaderClaim(t *testing.T) {
	for _, sent := range []int{0, 1, 100_000} {
		stream := append(AppendFrameLength(nil, 1<<30), make([]byte, sent)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := NewFrameReader(bytes.NewReader(stream), 1<<30).Next()
		runtime.ReadMemStats(&after)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes sent: error %v", sent, err)
		}
		if spent, most := after.TotalAlloc-before.TotalAlloc, uint64(4*sent+64<<10); spent > most {
			t.Errorf("%d bytes sent: %d were allocated, at most %d are fair", sent, spent, most)
		}
	}
}

// FuzzFrameReader: the frames of a stream are what it holds, and cost little more than it has sent.
func FuzzFrameReader(f *testing.F) {
	f.Add(framed([]byte("one"), nil, []byte("three")))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x0ahello"))
	f.Add([]byte("\x00\x10\x00\x00a claim of the most that is allowed"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		hostile.Cheap(t, 4, len(stream), func() {
			frames := NewFrameReader(bytes.NewReader(stream), PeerFrameMax)
			for _, err := frames.Next(); err == nil; {
				_, err = frames.Next()
			}
		})
		frames := NewFrameReader(bytes.NewReader(stream), PeerFrameMax)
		var again []byte
		for {
			body, err := frames.Next()
			if err != nil {
				break
			}
			again = append(AppendFrameLength(again, len(body)), body...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("violation of integrity: the frames of %x are %x", stream, again)
		}
	})
}
