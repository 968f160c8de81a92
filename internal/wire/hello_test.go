package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var clusterID = [16]byte{0xc0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

var helloCodec = codec[Hello]{
	name: "hello",
	samples: []sample[Hello]{
		{"first", Hello{Cluster: clusterID, Replica: 1, FormatMin: 1, FormatMax: 1}},
		{"later", Hello{
			Cluster: clusterID, Replica: 300, Incarnation: math.MaxUint64, FormatMin: 1, FormatMax: 2,
			Group: 70000, HeardIncarnation: 1 << 40, HeardGroup: 200, Epoch: 3,
		}},
	},
	generate: func(t *rapid.T) Hello {
		least := uint32(drawNumber(t, 1, math.MaxUint32))
		return Hello{
			Cluster: drawCluster(t), Replica: epaxos.ReplicaID(drawNumber(t, 1, math.MaxUint32)),
			Incarnation: drawNumber(t, 0, math.MaxUint64),
			FormatMin:   least, FormatMax: uint32(drawNumber(t, uint64(least), math.MaxUint32)),
			Group: drawNumber(t, 0, math.MaxUint64), HeardIncarnation: drawNumber(t, 0, math.MaxUint64),
			HeardGroup: drawNumber(t, 0, math.MaxUint64), Epoch: epaxos.Epoch(drawNumber(t, 0, math.MaxUint32)),
		}
	},
	encode: AppendHello, decode: DecodeHello,
}

func drawCluster(t *rapid.T) [16]byte {
	return [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cluster"))
}

func TestHello(t *testing.T)       { helloCodec.test(t) }
func FuzzDecodeHello(f *testing.F) { helloCodec.fuzz(f) }
