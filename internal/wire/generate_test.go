package wire

import (
	"math"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Generators of values in the form that decoders give back: lists without elements are nil. Byte
// strings and dependency vectors are nil or empty, which stay apart.

func genNumber(least, most uint64) *rapid.Generator[uint64] {
	return rapid.OneOf(
		rapid.Uint64Range(least, min(least+200, most)),
		rapid.Uint64Range(least, most),
		rapid.Just(most),
	)
}

func drawNumber(t *rapid.T, least, most uint64) uint64 {
	return genNumber(least, most).Draw(t, "number")
}

func drawReplica(t *rapid.T) epaxos.ReplicaID {
	return epaxos.ReplicaID(drawNumber(t, 1, math.MaxUint32))
}

func drawInstance(t *rapid.T) epaxos.InstanceID {
	return epaxos.InstanceID{
		Epoch:   epaxos.Epoch(drawNumber(t, 1, math.MaxUint32)),
		Replica: drawReplica(t),
		Slot:    epaxos.Slot(drawNumber(t, 1, math.MaxUint64)),
	}
}

func drawSession(t *rapid.T) epaxos.InstanceID {
	if rapid.Bool().Draw(t, "no session") {
		return epaxos.InstanceID{}
	}
	return drawInstance(t)
}

func drawBallot(t *rapid.T) epaxos.Ballot {
	if rapid.Bool().Draw(t, "first ballot") {
		return epaxos.Ballot{}
	}
	return epaxos.Ballot{Number: drawNumber(t, 1, math.MaxUint64), Replica: drawReplica(t)}
}

func drawDependencies(t *rapid.T) epaxos.Dependencies {
	if rapid.Bool().Draw(t, "unknown") {
		return nil
	}
	deps := make(epaxos.Dependencies, rapid.IntRange(0, epaxos.VotersMax).Draw(t, "voters"))
	for i := range deps {
		deps[i] = epaxos.Slot(drawNumber(t, 0, math.MaxUint64))
	}
	return deps
}

func drawBytes(t *rapid.T) []byte {
	if rapid.Bool().Draw(t, "nil") {
		return nil
	}
	return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
}

func drawString(t *rapid.T) string {
	return string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "key"))
}

// drawList draws up to most elements, and nil for none.
func drawList[T any](t *rapid.T, most int, element func(*rapid.T) T) []T {
	var list []T
	for range rapid.IntRange(0, most).Draw(t, "elements") {
		list = append(list, element(t))
	}
	return list
}

func drawCommand(t *rapid.T) *epaxos.Command {
	return &epaxos.Command{
		Requests: drawList(t, 4, func(t *rapid.T) epaxos.Request {
			return epaxos.Request{
				Session: drawSession(t), Number: drawNumber(t, 0, math.MaxUint64), Payload: drawBytes(t),
			}
		}),
		Footprint: drawList(t, 4, func(t *rapid.T) epaxos.Access {
			a := epaxos.Access{
				Mode:  epaxos.Mode(rapid.IntRange(int(epaxos.Read), int(epaxos.Everything)).Draw(t, "mode")),
				Space: epaxos.Space(rapid.IntRange(0, int(epaxos.SpaceSession)).Draw(t, "space")),
				Key:   drawString(t),
				Range: rapid.Bool().Draw(t, "range"),
			}
			if a.Range {
				a.End = drawString(t)
			}
			return a
		}),
	}
}

// drawValue draws a value whose kind is at most most.
func drawValue(t *rapid.T, most epaxos.ValueKind) epaxos.Value {
	v := epaxos.Value{Kind: epaxos.ValueKind(rapid.IntRange(1, int(most)).Draw(t, "kind"))}
	if v.Kind == epaxos.Full {
		v.Command = drawCommand(t)
	}
	return v
}

func drawPhase(t *rapid.T) epaxos.Phase {
	return epaxos.Phase(rapid.IntRange(0, int(epaxos.Committed)).Draw(t, "phase"))
}

func drawInstances(t *rapid.T) []epaxos.InstanceID { return drawList(t, 20, drawInstance) }
