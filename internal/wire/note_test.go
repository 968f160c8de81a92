package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

func drawOrigin(t *rapid.T) Origin {
	return Origin{
		Replica: drawReplica(t), Incarnation: drawNumber(t, 0, math.MaxUint64), Group: drawNumber(t, 0, math.MaxUint64),
		Probation: rapid.Bool().Draw(t, "probation"),
	}
}

var noteCodec = codec[Note]{
	name: "note",
	samples: []sample[Note]{
		{"of a beginning", Note{
			Origin: Origin{Replica: 3, Incarnation: 1 << 40, Group: 300}, Epoch: 2, Boundary: true,
			After: []byte("key"), Sum: 1 << 60,
		}},
		{"whole", Note{Origin: Origin{Replica: 1, Probation: true}, Epoch: 7, Whole: true}},
	},
	generate: func(t *rapid.T) Note {
		return Note{
			Origin: drawOrigin(t), Epoch: epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)),
			Boundary: rapid.Bool().Draw(t, "boundary"), After: drawBytes(t), Sum: drawNumber(t, 0, math.MaxUint64),
			Whole: rapid.Bool().Draw(t, "whole"),
		}
	},
	encode: func(dst []byte, n Note) []byte { return AppendNote(dst, &n) },
	decode: DecodeNote,
}

func TestNote(t *testing.T)       { noteCodec.test(t) }
func FuzzDecodeNote(f *testing.F) { noteCodec.fuzz(f) }
