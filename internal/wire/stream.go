package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFrame is wrapped by the error about a frame that is longer than allowed. It is ErrMalformed too.
var ErrFrame = fmt.Errorf("%w frame", ErrMalformed)

// FrameLengthBytes is the size of what AppendFrameLength appends.
const FrameLengthBytes = 4

// AppendFrameLength appends what stands before a frame's body on a stream: its length in bytes,
// big-endian.
func AppendFrameLength(dst []byte, length int) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(length))
}

// frameStep is how much a reader's buffer grows ahead of the bytes that arrived.
const frameStep = 16 << 10

// FrameReader cuts a stream into the bodies of its frames. Use it from one goroutine at a time.
type FrameReader struct {
	r      io.Reader
	max    int
	length [FrameLengthBytes]byte
	buf    []byte
}

// NewFrameReader reads frames whose body has at most max bytes. It makes two small reads for each
// frame, so r should be buffered.
func NewFrameReader(r io.Reader, max int) *FrameReader {
	return &FrameReader{r: r, max: max}
}

// Next returns the body of the next frame. It is valid until the next call, which reuses its memory.
//
// The error is io.EOF where the stream ends between frames, wraps io.ErrUnexpectedEOF where it ends
// inside one, and wraps ErrFrame where a frame is too long. No error is temporary.
func (f *FrameReader) Next() ([]byte, error) {
	if _, err := io.ReadFull(f.r, f.length[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("read the length of a frame: %w", err)
	}
	length := uint64(binary.BigEndian.Uint32(f.length[:]))
	if length > uint64(f.max) {
		return nil, fmt.Errorf("%w: it claims %d bytes, at most %d are allowed", ErrFrame, length, f.max)
	}
	if err := f.fill(int(length)); err != nil {
		return nil, fmt.Errorf("read a frame of %d bytes: %w", length, err)
	}
	return f.buf, nil
}

// fill reads length bytes. The buffer grows with what arrives: a claim alone costs the sender four
// bytes and must not cost the receiver more than a step.
func (f *FrameReader) fill(length int) error {
	f.buf = f.buf[:0]
	for len(f.buf) < length {
		have := len(f.buf)
		next := min(length, max(cap(f.buf), have+max(have, frameStep)))
		if next > cap(f.buf) {
			grown := make([]byte, have, next)
			copy(grown, f.buf)
			f.buf = grown
		}
		n, err := io.ReadFull(f.r, f.buf[have:next])
		f.buf = f.buf[:have+n]
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}
