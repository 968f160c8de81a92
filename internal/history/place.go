package history

import (
	"cmp"
	"slices"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// piece is a part of the history of one key that begins at a known state.
type piece struct {
	initial    state
	operations []*Operation
	ordered    bool  // the operations can take effect in this order only
	keys       group // if more than one, initial is not looked at: none of them exists
}

// pieceOperations is how long a piece is at least: long enough that cutting costs little, short
// enough that the sets of Porcupine, one of a bit per operation for each operation, stay small.
const pieceOperations = 512

// placeable reports whether versions alone fix the order of a key's operations: no delete begins
// the versions anew, every write of unknown outcome has a known value, and no two have the same.
func placeable(operations []*Operation) bool {
	values := make(map[string]bool, len(operations))
	for _, o := range operations {
		switch {
		case o.Op.Kind == wire.OpGet:
		case o.Op.Kind == wire.OpPut && !values[string(o.Op.Value)]:
			values[string(o.Op.Value)] = true
		default:
			return false
		}
	}
	return true
}

// place gives each put of unknown outcome that must have taken effect its version, and drops the
// others, which may as well have none. It reports false if a version was reached that nobody can
// have written.
//
// A version that somebody saw belongs to the put of the value seen. A version that nobody saw can
// belong to any put of unknown outcome that is left; giving the lowest such version to the put
// called first, the next to the second and so on is at least as good as any other way, because
// none of them ever returned, so that only their calls restrict the order.
func place(operations []*Operation) ([]*Operation, bool) {
	var placed, unknown []*Operation
	written := make(map[uint64]bool, len(operations))
	seen := make(map[string]uint64) // versions of values that gets returned
	var top uint64
	for _, o := range operations {
		switch {
		case o.Outcome == wire.OutcomeUnknown:
			unknown = append(unknown, o)
			continue
		case o.Op.Kind == wire.OpPut:
			written[o.Result.Version] = true
		case o.Result.Found:
			seen[string(o.Result.Value)] = o.Result.Version
		}
		top = max(top, o.Result.Version)
		placed = append(placed, o)
	}
	slices.SortStableFunc(unknown, func(a, b *Operation) int { return cmp.Compare(a.Call, b.Call) })
	unseen := unknown[:0]
	for _, o := range unknown {
		version, found := seen[string(o.Op.Value)]
		if !found {
			unseen = append(unseen, o)
			continue
		}
		written[version] = true
		placed = append(placed, o.at(version))
	}
	// Counted first: a damaged version may be far beyond what could be walked through.
	if missing := top - min(top, uint64(len(written))); missing > uint64(len(unseen)) {
		return nil, false
	}
	for version := uint64(1); version <= top; version++ {
		if written[version] {
			continue
		}
		if len(unseen) == 0 {
			return nil, false
		}
		placed = append(placed, unseen[0].at(version))
		unseen = unseen[1:]
	}
	return placed, true
}

// at is a put of unknown outcome as one that wrote a version, and never returned.
func (o *Operation) at(version uint64) *Operation {
	known := *o
	known.Outcome = wire.OutcomeApplied
	known.Result = wire.Result{Status: wire.OpOK, Found: true, Version: version}
	return &known
}

// cut puts placed operations into the only order that can explain their results, and splits it where
// the version changes. Gets that saw one version commute, so they may as well come as they were
// called: none of them can have ended before one that was called earlier began.
func cut(operations []*Operation) []piece {
	slices.SortStableFunc(operations, func(a, b *Operation) int {
		return cmp.Or(cmp.Compare(a.Result.Version, b.Result.Version),
			cmp.Compare(b.Op.Kind, a.Op.Kind), cmp.Compare(a.Call, b.Call)) // the put of a version comes first
	})
	var pieces []piece
	var last state // what the writes so far leave
	first, initial := 0, last
	for i, o := range operations {
		if i-first >= pieceOperations && o.Result.Version != operations[i-1].Result.Version {
			pieces = append(pieces, piece{initial: initial, operations: operations[first:i], ordered: true})
			first, initial = i, last
		}
		if o.Op.Kind == wire.OpPut {
			last = state{version: o.Result.Version, value: string(o.Op.Value)}
		}
	}
	pieces = append(pieces, piece{initial: initial, operations: operations[first:], ordered: true})
	return pieces
}

// outOfTime returns an operation of a piece that ended before one of an earlier piece began, and
// that one; nil if there is none. It is enough to compare each piece with all that follow.
func outOfTime(pieces []piece) (early, late *Operation) {
	for i := len(pieces) - 1; i > 0; i-- {
		for _, o := range pieces[i].operations {
			if early == nil || o.Return < early.Return {
				early = o
			}
		}
		for _, o := range pieces[i-1].operations {
			if early.Return < o.Call {
				return early, o
			}
		}
	}
	return nil, nil
}
