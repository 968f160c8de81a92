package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// A stream may hand its bytes over in any pieces.
func TestFramesSurviveEveryCut(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789"), 3*readBufferBytes/10)
	stream := appendFrame(nil, frameHello, []byte{1}, []byte("hello"))
	stream = appendFrame(stream, frameData)
	stream = appendFrame(stream, frameData, large)
	stream = appendFrame(stream, frameEcho, []byte("end"))
	for name, reader := range map[string]io.Reader{
		"whole":        bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"halves":       iotest.HalfReader(bytes.NewReader(stream)),
		"end with it":  iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		frames := newFrameReader(reader, len(large))
		for i, want := range []struct {
			kind frameKind
			body []byte
		}{
			{frameHello, []byte("\x01hello")}, {frameData, nil}, {frameData, large}, {frameEcho, []byte("end")},
		} {
			kind, body, err := frames.next()
			if err != nil || kind != want.kind || !bytes.Equal(body, want.body) {
				t.Fatalf("%s: frame %d is %v of %d bytes: %v", name, i, kind, len(body), err)
			}
		}
		if _, _, err := frames.next(); err != io.EOF {
			t.Errorf("%s: after the last frame: %v", name, err)
		}
	}
}

func TestACutOffFrameIsAnError(t *testing.T) {
	stream := appendFrame(nil, frameData, []byte("body"))
	for n := 1; n < len(stream); n++ {
		frames := newFrameReader(bytes.NewReader(stream[:n]), 100)
		if _, _, err := frames.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
}

// A length is a claim: memory follows the bytes that come.
func TestAClaimedLengthAllocatesNothing(t *testing.T) {
	const bodyMax = 64 << 20
	stream := binary.BigEndian.AppendUint32(nil, bodyMax)
	stream = append(stream, make([]byte, 100)...)
	frames := newFrameReader(bytes.NewReader(stream), bodyMax)
	if _, _, err := frames.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if len(frames.buf) > 2*readBufferBytes {
		t.Errorf("%d bytes allocated for 104 that came", len(frames.buf))
	}
}

func TestALargeFrameDoesNotPinItsMemory(t *testing.T) {
	stream := appendFrame(nil, frameData, make([]byte, 4<<20))
	reader, writer := io.Pipe()
	go func() {
		writer.Write(stream)
		writer.Write(appendFrame(nil, frameData, []byte("small")))
		writer.Close()
	}()
	frames := newFrameReader(reader, 8<<20)
	for range 2 {
		if _, _, err := frames.next(); err != nil {
			t.Fatal(err)
		}
	}
	if len(frames.buf) > readBufferKeptBytes {
		t.Errorf("%d bytes kept", len(frames.buf))
	}
}

// FuzzFrameReader: the frames are what the stream holds, however it is cut, and none is longer than allowed.
func FuzzFrameReader(f *testing.F) {
	f.Add(appendFrame(nil, frameData, []byte("body")))
	f.Add(appendFrame(appendFrame(nil, frameHeartbeat, make([]byte, heartbeatBytes)), frameEcho))
	f.Add(binary.BigEndian.AppendUint32(nil, 1<<32-1))
	f.Add(make([]byte, 4))
	f.Add(append(binary.BigEndian.AppendUint32(nil, 1001), make([]byte, 1001)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		const bodyMax = 1000
		hostile.Cheap(t, 4, len(stream)+readBufferBytes/4, func() { // the first buffer is there before the first byte
			frames := newFrameReader(bytes.NewReader(stream), 1<<20)
			for _, _, err := frames.next(); err == nil; {
				_, _, err = frames.next()
			}
		})
		frames := newFrameReader(iotest.OneByteReader(bytes.NewReader(stream)), bodyMax)
		var again []byte
		for {
			kind, body, err := frames.next()
			if err != nil {
				break
			}
			if len(body) > bodyMax {
				t.Fatalf("violation of boundedness: a body of %d bytes", len(body))
			}
			again = appendFrame(again, kind, body)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatal("violation of integrity: the frames are not what the stream holds")
		}
	})
}

// FuzzReadHello: a first frame is a hello for a lane that exists, or the peer is told what is wrong with it.
func FuzzReadHello(f *testing.F) {
	f.Add(appendFrame(nil, frameHello, []byte{0}, []byte("hello")))
	f.Add(appendFrame(nil, frameHello, []byte{bulkLane}, []byte("hello")))
	f.Add(appendFrame(nil, frameHello, []byte{bulkLane + 1}, []byte("hello")))
	f.Add(appendFrame(nil, frameHello))
	f.Add(appendFrame(nil, frameData, []byte("data")))
	f.Add(appendFrame(nil, frameHello, make([]byte, HelloBytesMax+2)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		lane, hello, err := readHello(newFrameReader(bytes.NewReader(stream), 1+HelloBytesMax))
		switch {
		case err == nil && (lane < 0 || lane > bulkLane || len(hello) > HelloBytesMax):
			t.Errorf("violation of boundedness: a hello of %d bytes on lane %d", len(hello), lane)
		case err == nil && !bytes.HasPrefix(stream, appendFrame(nil, frameHello, []byte{byte(lane)}, hello)):
			t.Error("violation of integrity: the hello is not what the stream holds")
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && codeFor(err) != CloseProtocol:
			t.Errorf("violation of integrity: the peer is not told of %v", err)
		}
	})
}

func TestTheQueueIsBoundedAndGivesRoomBack(t *testing.T) {
	b := &budget{max: 100}
	q := newQueue(b)
	for _, push := range []struct {
		bytes int
		want  bool
	}{{60, true}, {60, false}, {30, true}} {
		if got := q.push(frameData, make([]byte, push.bytes)); got != push.want {
			t.Errorf("push of %d bytes: %v", push.bytes, got)
		}
	}
	batch := q.take(nil)
	if len(batch) != 60+30+2*frameHeaderBytes || b.used.Load() != int64(len(batch)) {
		t.Errorf("took %d bytes, %d in use", len(batch), b.used.Load())
	}
	if q.push(frameData, nil) {
		t.Error("what is being written does not count")
	}
	b.release(len(batch))
	if !q.push(frameData, nil) {
		t.Error("no room after all was written")
	}
	if again := q.take(batch); len(again) != frameHeaderBytes {
		t.Errorf("took %d bytes", len(again))
	}
}

type brokenStream struct{ room int }

func (b *brokenStream) Write(p []byte) (int, error) {
	n := min(b.room, len(p))
	if b.room -= n; n < len(p) {
		return n, io.ErrClosedPipe
	}
	return n, nil
}

// However much of a batch was written when its connection broke, all of its room comes back.
func TestABrokenConnectionGivesRoomBack(t *testing.T) {
	for _, room := range []int{0, 1, writePieceBytes, 2*writePieceBytes + 1, 5 * writePieceBytes} {
		p := &peer{budget: budget{max: 1 << 20}}
		l := newLane(p, 0, &p.budget)
		l.queue.push(frameData, make([]byte, 3*writePieceBytes))
		batch := l.queue.take(nil)
		err := l.writeBatch(&brokenStream{room}, batch, &p.counters.bytesSent)
		if broken := room < len(batch); broken != (err != nil) {
			t.Errorf("with room for %d of %d bytes: %v", room, len(batch), err)
		}
		if used := p.budget.used.Load(); used != 0 {
			t.Errorf("with room for %d bytes, %d are still in use", room, used)
		}
	}
}

// Buffers of a burst are let go, those of a flood are kept.
func TestTheQueueKeepsBuffersThatAreUsed(t *testing.T) {
	q := newQueue(&budget{max: 1 << 30})
	used := make([]byte, 4*queueKeptBytes)
	q.take(used)
	if cap(q.pending) != cap(used) {
		t.Error("a buffer in use was let go")
	}
	q.take(nil)
	q.take(used[:10])
	if cap(q.pending) != 0 {
		t.Error("a large buffer hardly used was kept")
	}
}
