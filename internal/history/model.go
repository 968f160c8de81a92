package history

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/anishathalye/porcupine"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// state is one key as the model sees it. Version 0 is a key that never existed.
type state struct {
	version uint64 // of its last change
	value   string
	deleted bool // by that change
}

func (s state) exists() bool { return s.version > 0 && !s.deleted }

// shown is the version that clients see.
func (s state) shown() uint64 {
	if !s.exists() {
		return 0
	}
	return s.version
}

// step is an operation with its place in the order, where that is known; else the place is 0.
type step struct {
	*Operation
	place int
}

// progress is the state of a search: of the key, and how many operations with a place have come.
type progress struct {
	state
	placed int
}

// model is the specification of one key, written independently of the machine that ships, so that
// a fault of that one shows.
func model(initial state) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return progress{state: initial} },
		Step: func(before, input, _ any) (bool, any) {
			now, operation := before.(progress), input.(step)
			if operation.place > 0 {
				if operation.place != now.placed+1 {
					return false, nil
				}
				now.placed++
			}
			want, after := now.apply(&operation.Op)
			now.state = after
			if operation.Outcome == wire.OutcomeUnknown {
				return true, now // it is free to come last, where nobody sees it
			}
			return same(&want, &operation.Result), now
		},
		Hash:              func(s any) uint64 { return s.(progress).version },
		DescribeOperation: describeInput,
		DescribeState:     func(s any) string { return s.(progress).String() },
	}
}

// describeInput is for visualisations. The result is part of the input, as the model needs both.
func describeInput(input, _ any) string { return describe(input.(step).Operation) }

// String is the state as people read it.
func (s state) String() string {
	switch {
	case s.version == 0:
		return "nothing"
	case s.deleted:
		return fmt.Sprintf("deleted (version %d)", s.version)
	}
	return fmt.Sprintf("%.24q (version %d)", s.value, s.version)
}

// apply returns the result of an operation and the state after it.
func (s state) apply(op *wire.Op) (wire.Result, state) {
	switch op.Kind {
	case wire.OpGet:
		return s.seen(wire.OpOK), s
	case wire.OpPut:
		return s.write(string(op.Value))
	case wire.OpAppend:
		return s.write(s.value + string(op.Value))
	case wire.OpDelete, wire.OpSwap, wire.OpTake:
		return s.replace(op)
	case wire.OpCompareAndSet:
		if !s.holds(&op.Compares[0]) {
			return s.seen(wire.OpCompareFailed), s
		}
		return s.write(string(op.Value))
	default: // increment and add: Check has refused everything else, and a group takes the others apart
		return s.count(op)
	}
}

func (s state) seen(status wire.OpStatus) wire.Result {
	return wire.Result{Status: status, Found: s.exists(), Value: []byte(s.value), Version: s.shown()}
}

func (s state) write(value string) (wire.Result, state) {
	after := state{version: s.version + 1, value: value}
	return wire.Result{Status: wire.OpOK, Found: true, Version: after.version}, after
}

func (s state) replace(op *wire.Op) (wire.Result, state) {
	result, after := wire.Result{Status: wire.OpOK, Found: s.exists()}, s
	switch {
	case op.Kind == wire.OpSwap:
		after = state{version: s.version + 1, value: string(op.Value)}
		result.Version = after.version
	case s.exists():
		after = state{version: s.version + 1, deleted: true}
		result.Version = after.version
	}
	if op.Kind != wire.OpDelete {
		result.Value = []byte(s.value)
	}
	return result, after
}

func (s state) count(op *wire.Op) (wire.Result, state) {
	silent := op.Kind == wire.OpAdd
	var number int64
	if s.exists() {
		var err error
		if number, err = strconv.ParseInt(s.value, 10, 64); err != nil {
			result := wire.Result{Status: wire.OpWrongType, Found: true}
			if !silent {
				result.Version = s.version
			}
			return result, s
		}
	}
	sum := strconv.FormatInt(number+op.Delta, 10)
	result, after := s.write(sum)
	result.Value = []byte(sum)
	if silent {
		result = wire.Result{Status: wire.OpOK, Found: true}
	}
	return result, after
}

func (s state) holds(c *wire.Compare) bool {
	order := cmp.Compare(s.shown(), c.Version)
	if c.Target == wire.CompareValue {
		if !s.exists() {
			return c.Relation == wire.NotEqual
		}
		order = cmp.Compare(s.value, string(c.Value))
	}
	return related(order, c.Relation)
}

func related(order int, relation wire.CompareRelation) bool {
	switch relation {
	case wire.Equal:
		return order == 0
	case wire.NotEqual:
		return order != 0
	case wire.Less:
		return order < 0
	default:
		return order > 0
	}
}

// same compares what a client can see of a result.
func same(a, b *wire.Result) bool {
	return a.Status == b.Status && a.Found == b.Found && a.Version == b.Version && bytes.Equal(a.Value, b.Value) &&
		a.Count == b.Count && bytes.Equal(a.Next, b.Next) && slices.EqualFunc(a.Pairs, b.Pairs, samePair)
}

func samePair(a, b wire.Pair) bool {
	return bytes.Equal(a.Key, b.Key) && a.Version == b.Version && bytes.Equal(a.Value, b.Value)
}
