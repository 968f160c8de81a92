package wire

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var frameCodec = codec[frame]{
	name: "frame",
	samples: []sample[frame]{
		{"heartbeat", frame{header: FrameHeader{Group: 9}}},
		{"two messages", frame{header: FrameHeader{Group: math.MaxUint64}, messages: []epaxos.Message{
			epaxos.AcceptReply{ID: id(3, 42)},
			epaxos.PreAcceptReply{ID: id(3, 43), Deps: epaxos.Dependencies{41, 2, 7}},
		}}},
	},
	generate: func(t *rapid.T) frame {
		return frame{
			header: FrameHeader{Group: drawNumber(t, 0, math.MaxUint64)},
			messages: drawList(t, 6, func(t *rapid.T) epaxos.Message {
				return messageCodecs[rapid.IntRange(0, len(messageCodecs)-1).Draw(t, "type")].generate(t)
			}),
		}
	},
	encode: func(dst []byte, f frame) []byte {
		dst = AppendFrameHeader(dst, f.header)
		for _, m := range f.messages {
			dst = AppendMessage(dst, m)
		}
		return dst
	},
	decode: func(body []byte) (frame, error) {
		header, messages, err := DecodeFrame(body)
		return frame{header, messages}, err
	},
}

// TestFrame leaves out the tests that need one array: a frame is several values in a row, and what is
// left of it after a message may be a frame as well.
func TestFrame(t *testing.T) {
	t.Run("golden", frameCodec.golden)
	t.Run("round trip", frameCodec.roundTrip)
	t.Run("changed bytes", frameCodec.changedBytes)
	t.Run("no shared memory", frameCodec.noSharedMemory)
	t.Run("claims", func(t *testing.T) {
		frameCodec.refusesCheaply(t, []byte{0x91, 0x09, 0xdd, 0x01, 0x31, 0x2d, 0x00})
		frameCodec.refusesCheaply(t, []byte{0xdd, 0x01, 0x31, 0x2d, 0x00})
	})
	t.Run("nothing after an error", func(t *testing.T) {
		body := frameCodec.encode(nil, frameCodec.samples[1].value)
		_, messages, err := DecodeFrame(append(body, 0xc1))
		if !errors.Is(err, ErrMalformed) || messages != nil {
			t.Errorf("got %v, %v", messages, err)
		}
	})
}

func FuzzDecodeFrame(f *testing.F) {
	for _, c := range messageCodecs {
		for _, s := range c.samples {
			f.Add(AppendMessage(AppendFrameHeader(nil, FrameHeader{Group: 9}), s.value))
		}
	}
	frameCodec.fuzz(f)
}
