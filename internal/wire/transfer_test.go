package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var endedCodec = messageCodec("ended",
	func(t *rapid.T) epaxos.Message {
		return epaxos.Ended{
			Epoch:   epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)),
			Decided: rapid.Bool().Draw(t, "decided"),
		}
	},
	messageSample{"usual", epaxos.Ended{Epoch: 7, Decided: true}},
)

var stateRequestCodec = messageCodec("state_request",
	func(t *rapid.T) epaxos.Message {
		return epaxos.StateRequest{
			Epoch: epaxos.Epoch(drawNumber(t, 0, math.MaxUint32)), Since: drawNumber(t, 0, math.MaxUint64),
			At: drawNumber(t, 0, math.MaxUint64), After: drawBytes(t), Sum: drawNumber(t, 0, math.MaxUint64),
		}
	},
	messageSample{"the first", epaxos.StateRequest{}},
	messageSample{"another", epaxos.StateRequest{Epoch: 3, Since: 70, At: 300, After: []byte("key"), Sum: 1 << 60}},
)

var stateChunkCodec = messageCodec("state_chunk",
	func(t *rapid.T) epaxos.Message {
		return epaxos.StateChunk{
			Since: drawNumber(t, 0, math.MaxUint64), At: drawNumber(t, 0, math.MaxUint64),
			Epoch:    epaxos.Epoch(drawNumber(t, 0, math.MaxUint32)),
			Boundary: rapid.Bool().Draw(t, "boundary"), After: drawBytes(t),
			Writes: drawList(t, 5, func(t *rapid.T) epaxos.StateWrite {
				return epaxos.StateWrite{Key: drawBytes(t), Value: drawBytes(t), Delete: rapid.Bool().Draw(t, "delete")}
			}),
			Sum: drawNumber(t, 0, math.MaxUint64), Last: rapid.Bool().Draw(t, "last"),
			Gone: rapid.Bool().Draw(t, "gone"), Executed: drawDependencies(t),
		}
	},
	messageSample{"gone", epaxos.StateChunk{Gone: true}},
	messageSample{"the last", epaxos.StateChunk{
		Since: 70, At: 300, Epoch: 3, Boundary: true, After: []byte("key"),
		Writes: []epaxos.StateWrite{{Key: []byte("lot"), Value: []byte("x")}, {Key: []byte("mud"), Delete: true}},
		Sum:    1 << 60, Last: true, Executed: epaxos.Dependencies{0, 0, 0},
	}},
)

func TestEnded(t *testing.T)              { endedCodec.test(t) }
func TestStateRequest(t *testing.T)       { stateRequestCodec.test(t) }
func TestStateChunk(t *testing.T)         { stateChunkCodec.test(t) }
func FuzzDecodeEnded(f *testing.F)        { endedCodec.fuzz(f) }
func FuzzDecodeStateRequest(f *testing.F) { stateRequestCodec.fuzz(f) }
func FuzzDecodeStateChunk(f *testing.F)   { stateChunkCodec.fuzz(f) }
