package wire

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var groupCodec = codec[Group]{
	name: "group",
	samples: []sample[Group]{
		{"nothing", Group{}},
		{"a turn", Group{
			Records: []epaxos.Record{
				{
					ID: id(3, 42), Phase: epaxos.PreAccepted, Command: put("x", "payload"),
					Initial: epaxos.Dependencies{41, 0, 7}, Deps: epaxos.Dependencies{41, 2, 7},
				},
				{ID: id(1, 300), Promised: epaxos.Ballot{Number: 1, Replica: 2}},
				{
					ID: id(2, 9), Phase: epaxos.Committed, Promised: epaxos.Ballot{Number: 4, Replica: 2},
					Accepted: epaxos.Ballot{Number: 3, Replica: 1}, NoOp: true, Deps: epaxos.Dependencies{0, 0, 0},
				},
			},
			Executed: []epaxos.InstanceID{id(3, 40), id(3, 41)},
			Heard:    []Heard{{Replica: 1, Incarnation: math.MaxUint64, Group: 17}, {Replica: 2, Group: 300}},
		}},
		{"a turn that deletes older ones", Group{
			Executed:  []epaxos.InstanceID{id(3, 44)},
			Truncated: epaxos.Dependencies{290, 0, 40}, Prefix: epaxos.Dependencies{300, 9, 42}, Epoch: 2,
		}},
		{"a state taken over", Group{
			Heard: []Heard{{Replica: 1, Incarnation: 5, Group: 17}}, Epoch: 2,
			Origin: &Origin{Replica: 1, Incarnation: 5, Group: 16, Probation: true},
		}},
	},
	generate: func(t *rapid.T) Group {
		var origin *Origin
		if rapid.Bool().Draw(t, "taken over") {
			o := drawOrigin(t)
			origin = &o
		}
		return Group{
			Records: drawList(t, 4, drawRecord), Executed: drawInstances(t),
			Heard: drawList(t, 4, func(t *rapid.T) Heard {
				return Heard{
					Replica: drawReplica(t), Incarnation: drawNumber(t, 0, math.MaxUint64),
					Group: drawNumber(t, 0, math.MaxUint64),
				}
			}),
			Truncated: drawDependencies(t), Prefix: drawDependencies(t),
			Epoch: epaxos.Epoch(drawNumber(t, 0, math.MaxUint32)), Origin: origin,
		}
	},
	encode: func(dst []byte, g Group) []byte { return AppendGroup(dst, &g) },
	decode: DecodeGroup,
}

func drawRecord(t *rapid.T) epaxos.Record {
	r := epaxos.Record{
		ID: drawInstance(t), Phase: drawPhase(t), Promised: drawBallot(t), Accepted: drawBallot(t),
		NoOp: rapid.Bool().Draw(t, "no-op"), Initial: drawDependencies(t), Deps: drawDependencies(t),
	}
	if rapid.Bool().Draw(t, "command") {
		r.Command = drawCommand(t)
	}
	return r
}

func TestGroup(t *testing.T)       { groupCodec.test(t) }
func FuzzDecodeGroup(f *testing.F) { groupCodec.fuzz(f) }

// TestGroupRecords encodes records as they come, which must give the bytes of the whole group.
func TestGroupRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := groupCodec.generate(t)
		var records []byte
		for i := range g.Records {
			records = AppendRecord(records, &g.Records[i])
		}
		got := AppendGroupRecords(nil, records, len(g.Records), &g)
		if want := AppendGroup(nil, &g); !bytes.Equal(got, want) {
			t.Fatalf("got %x, want %x", got, want)
		}
	})
}
