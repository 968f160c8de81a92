package wire

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var someMembers = Members{
	Epoch: 4, F: 1, E: 1, Format: 1, NextReplica: 7,
	Voters: []Member{
		{Replica: 1, Incarnation: 1 << 40, Fingerprint: [32]byte{1, 2}, Addr: "10.0.0.1:7000", Name: "fra"},
		{Replica: 2, Incarnation: 2, Addr: "10.0.0.2:7000"},
		{Replica: 4, Incarnation: 3, Addr: "[::1]:7000", Name: "ord"},
	},
	Learners: []Member{{Replica: 6, Incarnation: 9, Addr: "10.0.0.6:7000"}},
}

func drawMembers(t *rapid.T) Members {
	draw := func(t *rapid.T) Member {
		return Member{
			Replica: drawReplica(t), Incarnation: drawNumber(t, 0, math.MaxUint64),
			Fingerprint: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "fingerprint")),
			Addr:        drawString(t), Name: drawString(t),
		}
	}
	return Members{
		Epoch: epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)), F: int(drawNumber(t, 0, 31)), E: int(drawNumber(t, 0, 31)),
		Format: uint32(drawNumber(t, 0, math.MaxUint32)), Voters: drawList(t, 4, draw), Learners: drawList(t, 3, draw),
		NextReplica: drawReplica(t),
	}
}

var membersCodec = codec[Members]{
	name: "members", samples: []sample[Members]{{"some", someMembers}}, generate: drawMembers, fixed: true,
	encode: func(dst []byte, m Members) []byte { return AppendMembers(dst, &m) }, decode: DecodeMembers,
}

var controlCodec = codec[Control]{
	name: "control", fixed: true,
	samples: []sample[Control]{
		{"barrier", Control{Kind: ControlBarrier}},
		{"reconfigure", Control{Kind: ControlReconfigure, Members: &someMembers}},
		{"cut", Control{Kind: ControlCut, TTL: CutTTLMax}},
	},
	generate: func(t *rapid.T) Control {
		switch ControlKind(drawNumber(t, uint64(ControlReconfigure), uint64(ControlCut))) {
		case ControlBarrier:
			return Control{Kind: ControlBarrier}
		case ControlCut:
			return Control{Kind: ControlCut, TTL: drawNumber(t, 1, CutTTLMax)}
		default:
			m := drawMembers(t)
			return Control{Kind: ControlReconfigure, Members: &m}
		}
	},
	encode: func(dst []byte, c Control) []byte { return AppendControl(dst, &c) }, decode: DecodeControl,
}

var controlResultCodec = codec[ControlResult]{
	name: "control_result", fixed: true,
	samples: []sample[ControlResult]{{"refused", ControlResult{Refused: "superseded", Members: someMembers}}},
	generate: func(t *rapid.T) ControlResult {
		return ControlResult{Refused: drawString(t), Members: drawMembers(t)}
	},
	encode: func(dst []byte, r ControlResult) []byte { return AppendControlResult(dst, &r) }, decode: DecodeControlResult,
}

func TestMembers(t *testing.T)             { membersCodec.test(t) }
func TestControl(t *testing.T)             { controlCodec.test(t) }
func TestControlResult(t *testing.T)       { controlResultCodec.test(t) }
func FuzzDecodeMembers(f *testing.F)       { membersCodec.fuzz(f) }
func FuzzDecodeControl(f *testing.F)       { controlCodec.fuzz(f) }
func FuzzDecodeControlResult(f *testing.F) { controlResultCodec.fuzz(f) }

// What follows a membership is decided by this function on every replica, so each reason has a case.
func TestSucceed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Members)
		says   string
	}{
		{"a learner is promoted", func(m *Members) {
			m.Voters, m.Learners = append(m.Voters, m.Learners...), nil
		}, ""},
		{"a voter leaves", func(m *Members) { m.Voters, m.F, m.E = m.Voters[:2], 0, 0 }, ""},
		{"a new id", func(m *Members) {
			m.Learners, m.NextReplica = append(m.Learners, Member{Replica: 7}), 8
		}, ""},
		{"the same epoch again", func(m *Members) { m.Epoch = 4 }, "superseded"},
		{"an epoch too many", func(m *Members) { m.Epoch = 6 }, "superseded"},
		{"an id of one that left", func(m *Members) { m.Learners[0].Replica = 5 }, "given away before"},
		{"another incarnation", func(m *Members) { m.Voters[1].Incarnation = 3 }, "incarnation"},
		{"ids go back", func(m *Members) { m.Learners, m.NextReplica = nil, 6 }, "neither goes back"},
		{"the level goes back", func(m *Members) { m.Format = 0 }, "format level"},
		{"no voters", func(m *Members) { m.Voters, m.F, m.E = nil, 0, 0 }, "0 voters"},
		{"too large an f", func(m *Members) { m.F = 2 }, "too small"},
		{"voter and learner", func(m *Members) { m.Learners[0] = m.Voters[2] }, "distinct"},
		{"an id never given away", func(m *Members) { m.Learners[0].Replica = 7 }, "never given away"},
		{"a long name", func(m *Members) { m.Voters[0].Name = strings.Repeat("x", NameMax+1) }, "longer than"},
	} {
		next := someMembers.Clone()
		next.Epoch++
		test.change(&next)
		err := someMembers.Succeed(&next)
		if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: %v, want an error that says %q", test.name, err, test.says)
		}
	}
}
