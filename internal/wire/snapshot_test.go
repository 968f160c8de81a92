package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

var snapshotRequestCodec = codec[SnapshotRequest]{
	name: "snapshot_request", fixed: true,
	samples: []sample[SnapshotRequest]{
		{"begin", SnapshotRequest{}},
		{"next", SnapshotRequest{ID: 1 << 40, After: []byte("\x00key")}},
		{"end", SnapshotRequest{ID: 1 << 40, End: true}},
	},
	generate: func(t *rapid.T) SnapshotRequest {
		return SnapshotRequest{
			ID: drawNumber(t, 0, math.MaxUint64), After: drawBytes(t), End: rapid.Bool().Draw(t, "end"),
		}
	},
	encode: func(dst []byte, r SnapshotRequest) []byte { return AppendSnapshotRequest(dst, &r) },
	decode: DecodeSnapshotRequest,
}

var snapshotPartCodec = codec[SnapshotPart]{
	name: "snapshot_part", fixed: true,
	samples: []sample[SnapshotPart]{
		{"first", SnapshotPart{
			ID: 7, Head: &SnapshotHead{Cluster: [16]byte{1, 2}, Replica: 3, Members: someMembers},
			Entries: []SnapshotEntry{{Key: []byte("\x00a"), Value: []byte("b")}, {Key: []byte("\x00c")}},
		}},
		{"last", SnapshotPart{ID: 7, Last: true}},
	},
	generate: func(t *rapid.T) SnapshotPart {
		p := SnapshotPart{ID: drawNumber(t, 0, math.MaxUint64), Last: rapid.Bool().Draw(t, "last")}
		if rapid.Bool().Draw(t, "head") {
			p.Head = &SnapshotHead{
				Cluster: [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cluster")),
				Replica: drawReplica(t), Members: drawMembers(t),
			}
		}
		p.Entries = drawList(t, 4, func(t *rapid.T) SnapshotEntry {
			return SnapshotEntry{Key: drawBytes(t), Value: drawBytes(t)}
		})
		return p
	},
	encode: func(dst []byte, p SnapshotPart) []byte { return AppendSnapshotPart(dst, &p) },
	decode: DecodeSnapshotPart,
}

func TestSnapshotRequest(t *testing.T)       { snapshotRequestCodec.test(t) }
func FuzzDecodeSnapshotRequest(f *testing.F) { snapshotRequestCodec.fuzz(f) }
func TestSnapshotPart(t *testing.T)          { snapshotPartCodec.test(t) }
func FuzzDecodeSnapshotPart(f *testing.F)    { snapshotPartCodec.fuzz(f) }
