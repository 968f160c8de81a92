package wire

import (
	"math"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

// id is a short way to write an instance of the first epoch.
func id(replica epaxos.ReplicaID, slot epaxos.Slot) epaxos.InstanceID {
	return epaxos.InstanceID{Epoch: 1, Replica: replica, Slot: slot}
}

var largestID = epaxos.InstanceID{Epoch: math.MaxUint32, Replica: math.MaxUint32, Slot: math.MaxUint64}

var instanceIDCodec = codec[epaxos.InstanceID]{
	name: "instance_id",
	samples: []sample[epaxos.InstanceID]{
		{"usual", id(3, 42)},
		{"largest", largestID},
	},
	generate: drawInstance, encode: AppendInstanceID, decode: DecodeInstanceID, fixed: true,
}

var instanceIDsCodec = codec[[]epaxos.InstanceID]{
	name: "instance_ids",
	samples: []sample[[]epaxos.InstanceID]{
		{"none", nil},
		{"two", []epaxos.InstanceID{id(3, 42), {Epoch: 2, Replica: 300, Slot: 70000}}},
	},
	generate: drawInstances, encode: AppendInstanceIDs, decode: DecodeInstanceIDs, fixed: true,
}

var dependenciesCodec = codec[epaxos.Dependencies]{
	name: "dependencies",
	samples: []sample[epaxos.Dependencies]{
		{"empty", epaxos.Dependencies{}},
		{"five voters", epaxos.Dependencies{0, 127, 128, 65536, math.MaxUint64}},
	},
	generate: drawDependencies, encode: AppendDependencies, decode: DecodeDependencies,
}

func TestInstanceID(t *testing.T) {
	instanceIDCodec.test(t)
	if got, err := DecodeInstanceID(AppendInstanceID(nil, epaxos.InstanceID{})); err != nil || !got.IsZero() {
		t.Errorf("the zero id became %v, %v", got, err)
	}
}

func TestInstanceIDs(t *testing.T) { instanceIDsCodec.test(t) }

// TestDependencies leaves out the test of unknown fields: an element more is a voter more.
func TestDependencies(t *testing.T) {
	t.Run("golden", dependenciesCodec.golden)
	t.Run("round trip", dependenciesCodec.roundTrip)
	t.Run("cut", dependenciesCodec.cut)
	t.Run("changed bytes", dependenciesCodec.changedBytes)
	t.Run("no shared memory", dependenciesCodec.noSharedMemory)
	t.Run("claims", dependenciesCodec.claims)
	t.Run("nesting", dependenciesCodec.nesting)
	if got, err := DecodeDependencies(AppendDependencies(nil, nil)); err != nil || got != nil {
		t.Errorf("the unknown vector became %v, %v", got, err)
	}
	if got, err := DecodeDependencies(AppendDependencies(nil, make(epaxos.Dependencies, epaxos.VotersMax+1))); err == nil {
		t.Errorf("a vector of %d columns was accepted", len(got))
	}
}

func FuzzDecodeInstanceID(f *testing.F)   { instanceIDCodec.fuzz(f) }
func FuzzDecodeInstanceIDs(f *testing.F)  { instanceIDsCodec.fuzz(f) }
func FuzzDecodeDependencies(f *testing.F) { dependenciesCodec.fuzz(f) }
