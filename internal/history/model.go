package history

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"

	"github.com/anishathalye/porcupine"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// state is one key as the model sees it. Version 0 is a key that does not exist.
type state struct {
	version uint64
	value   string
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
	if s.version == 0 {
		return "nothing"
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
	case wire.OpDelete:
		return wire.Result{Status: wire.OpOK, Found: s.version > 0}, state{}
	case wire.OpCompareAndSet:
		if !s.holds(&op.Compares[0]) {
			return s.seen(wire.OpCompareFailed), s
		}
		return s.write(string(op.Value))
	default: // an increment: Check has refused everything else, and a group takes transactions apart
		return s.increment(op.Delta)
	}
}

func (s state) seen(status wire.OpStatus) wire.Result {
	return wire.Result{Status: status, Found: s.version > 0, Value: []byte(s.value), Version: s.version}
}

func (s state) write(value string) (wire.Result, state) {
	after := state{version: s.version + 1, value: value}
	return wire.Result{Status: wire.OpOK, Found: true, Version: after.version}, after
}

func (s state) increment(delta int64) (wire.Result, state) {
	var number int64
	if s.version > 0 {
		var err error
		if number, err = strconv.ParseInt(s.value, 10, 64); err != nil {
			return wire.Result{Status: wire.OpWrongType, Found: true, Version: s.version}, s
		}
	}
	sum := strconv.FormatInt(number+delta, 10)
	result, after := s.write(sum)
	result.Value = []byte(sum)
	return result, after
}

func (s state) holds(c *wire.Compare) bool {
	order := cmp.Compare(s.version, c.Version)
	if c.Target == wire.CompareValue {
		if s.version == 0 {
			return c.Relation == wire.NotEqual
		}
		order = cmp.Compare(s.value, string(c.Value))
	}
	switch c.Relation {
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
	return a.Status == b.Status && a.Found == b.Found && a.Version == b.Version && bytes.Equal(a.Value, b.Value)
}

// kindNames are the operations as people read them.
var kindNames = map[wire.OpKind]string{
	wire.OpGet: "get", wire.OpPut: "put", wire.OpDelete: "delete",
	wire.OpCompareAndSet: "compare-and-set", wire.OpIncrement: "increment", wire.OpTxn: "transaction",
}

// describe is an operation on one line: client, times, what was asked and what came back.
func describe(o *Operation) string {
	end := o.Return.String()
	if o.Outcome == wire.OutcomeUnknown {
		end = "?"
	}
	text := fmt.Sprintf("client %d, %v to %s: %s", o.Client, o.Call, end, asked(&o.Op))
	if o.Outcome == wire.OutcomeUnknown {
		return text + " -> unknown"
	}
	return text + " -> " + answered(&o.Op, &o.Result)
}

func asked(op *wire.Op) string {
	text := kindNames[op.Kind]
	switch op.Kind {
	case wire.OpPut:
		text += fmt.Sprintf(" %.24q", op.Value)
	case wire.OpIncrement:
		text += fmt.Sprintf(" by %d", op.Delta)
	case wire.OpCompareAndSet:
		text += fmt.Sprintf(" %.24q", op.Value)
		for i := range op.Compares {
			text += " if " + condition(&op.Compares[i])
		}
	case wire.OpTxn:
		for i := range op.Compares {
			text += fmt.Sprintf(" if %s %s;", op.Compares[i].Key, condition(&op.Compares[i]))
		}
		text += branch("then", op.Then) + branch("else", op.Else)
	}
	return text
}

func branch(name string, ops []wire.Op) string {
	text := ""
	for i := range ops {
		text += fmt.Sprintf(" %s %s %s;", name, ops[i].Key, asked(&ops[i]))
	}
	return text
}

var relationNames = map[wire.CompareRelation]string{
	wire.Equal: "=", wire.NotEqual: "!=", wire.Less: "<", wire.Greater: ">",
}

func condition(c *wire.Compare) string {
	relation := relationNames[c.Relation]
	if c.Target == wire.CompareVersion {
		return fmt.Sprintf("version %s %d", relation, c.Version)
	}
	return fmt.Sprintf("value %s %.24q", relation, c.Value)
}

func answered(op *wire.Op, r *wire.Result) string {
	if op.Kind == wire.OpTxn {
		taken, text := op.Else, "a condition failed"
		if r.Succeeded {
			taken, text = op.Then, "all conditions held"
		}
		for i := range min(len(taken), len(r.Results)) {
			text += fmt.Sprintf("; %s: %s", taken[i].Key, answered(&taken[i], &r.Results[i]))
		}
		return text
	}
	text := fmt.Sprintf("version %d, found %v", r.Version, r.Found)
	if r.Status == wire.OpCompareFailed {
		text = "failed, " + text
	}
	if op.Kind != wire.OpPut && len(r.Value) > 0 {
		text += fmt.Sprintf(", %.24q", r.Value)
	}
	return text
}

// String is the operation on one line, for people.
func (o Operation) String() string { return describe(&o) }
