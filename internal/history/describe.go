package history

import (
	"fmt"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// kindNames are the operations as people read them.
var kindNames = map[wire.OpKind]string{
	wire.OpGet: "get", wire.OpPut: "put", wire.OpDelete: "delete",
	wire.OpCompareAndSet: "compare-and-set", wire.OpIncrement: "increment", wire.OpTxn: "transaction",
	wire.OpAppend: "append", wire.OpAdd: "add", wire.OpSwap: "swap", wire.OpTake: "take",
	wire.OpRange: "range", wire.OpDeleteRange: "delete range", wire.OpForgetRange: "forget range",
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
	case wire.OpPut, wire.OpAppend, wire.OpSwap:
		text += fmt.Sprintf(" %.24q", op.Value)
	case wire.OpIncrement, wire.OpAdd:
		text += fmt.Sprintf(" by %d", op.Delta)
	case wire.OpRange, wire.OpDeleteRange, wire.OpForgetRange:
		text += fmt.Sprintf(" up to %.24q, limit %d, options %d", op.End, op.Limit, op.Options)
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
	if c.Target == wire.CompareCount {
		return fmt.Sprintf("count up to %.24q %s %d", c.End, relation, c.Version)
	}
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
	if op.Kind.Ranged() {
		text := fmt.Sprintf("%d keys", r.Count)
		for i := range r.Pairs {
			text += fmt.Sprintf(", %s = %.24q (version %d)", r.Pairs[i].Key, r.Pairs[i].Value, r.Pairs[i].Version)
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
