package transport

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A frame is
//
//	length uint32, big endian, of what follows
//	kind   byte
//	body   length-1 bytes
type frameKind byte

const (
	frameHello     frameKind = iota + 1 // lane byte, then the opaque hello; the first frame each way
	frameData                           // an opaque body
	frameHeartbeat                      // 8 bytes of the dialer's clock, then padding
	frameEcho                           // the body of a heartbeat, returned
)

func (k frameKind) String() string {
	switch k {
	case frameHello:
		return "hello"
	case frameData:
		return "data"
	case frameHeartbeat:
		return "heartbeat"
	case frameEcho:
		return "echo"
	default:
		return fmt.Sprintf("kind %d", byte(k))
	}
}

const (
	frameHeaderBytes = 4 + 1
	// frameBytesLimit bounds Config.FrameBytesMax so that a length plus its header fits an int32.
	frameBytesLimit = 1 << 30
	// heartbeatBytes is the body of a heartbeat: with less than 64 bytes, the packet would be too
	// short to provoke a stateless reset from a restarted peer.
	heartbeatBytes = 64

	readBufferBytes     = 64 << 10
	readBufferKeptBytes = 1 << 20
)

// appendFrame appends a frame whose body is the concatenation of parts.
func appendFrame(b []byte, kind frameKind, parts ...[]byte) []byte {
	length := 1
	for _, part := range parts {
		length += len(part)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = append(b, byte(kind))
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

// frameReader cuts a stream into frames. Its memory follows what has arrived, not what a length
// claims: a frame that announces 16 MiB and sends none costs nothing.
type frameReader struct {
	r          io.Reader
	buf        []byte
	start, end int // buf[start:end] is read and not yet consumed
	bodyMax    int
}

func newFrameReader(r io.Reader, bodyMax int) *frameReader {
	return &frameReader{r: r, bodyMax: bodyMax}
}

// next returns the next frame; body is valid until the next call. io.EOF is the end of the stream
// between two frames.
func (f *frameReader) next() (kind frameKind, body []byte, err error) {
	if err := f.fill(4); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(f.buf[f.start:])
	if length == 0 || uint64(length) > uint64(f.bodyMax)+1 {
		return 0, nil, protocolError{fmt.Sprintf("frame of %d bytes: between 1 and %d are allowed",
			length, f.bodyMax+1)}
	}
	if err := f.fill(4 + int(length)); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	frame := f.buf[f.start+4 : f.start+4+int(length)]
	f.start += 4 + int(length)
	return frameKind(frame[0]), frame[1:], nil
}

// fill reads until n bytes are buffered.
func (f *frameReader) fill(n int) error {
	if f.start == f.end {
		f.start, f.end = 0, 0
		if cap(f.buf) > readBufferKeptBytes {
			f.buf = nil // one large frame must not pin its memory for the life of the connection
		}
	}
	for f.end-f.start < n {
		if f.end == len(f.buf) {
			f.makeRoom(n)
		}
		got, err := f.r.Read(f.buf[f.end:])
		f.end += got
		if err != nil && f.end-f.start < n {
			if err == io.EOF && f.end > f.start {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// makeRoom moves the unread bytes to the front, into a larger buffer if the frame needs one. It runs
// only when the buffer is full to its end, and the buffer at most doubles, so the moves cost a
// constant per byte and the memory is at most twice what has arrived, or the initial size.
func (f *frameReader) makeRoom(n int) {
	unread := f.end - f.start
	into := f.buf
	if size := min(n, max(readBufferBytes, 2*unread)); size > len(f.buf) {
		into = make([]byte, max(size, min(readBufferBytes, f.bodyMax+frameHeaderBytes)))
	}
	copy(into, f.buf[f.start:f.end])
	f.buf, f.start, f.end = into, 0, unread
}
