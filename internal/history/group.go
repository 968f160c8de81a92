package history

import (
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Transactions tie keys together: what they do must be one step on all of them. So keys that some
// transaction names, directly or through a chain of others, are searched as one object.

// keysOf lists the keys of an operation, each once, ascending.
func keysOf(op *wire.Op) []string {
	if op.Kind != wire.OpTxn {
		return []string{string(op.Key)}
	}
	var keys []string
	for i := range op.Compares {
		keys = append(keys, string(op.Compares[i].Key))
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else} {
		for i := range branch {
			keys = append(keys, string(branch[i].Key))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// readsOnly reports whether an operation changes nothing, whatever it finds.
func readsOnly(op *wire.Op) bool {
	if op.Kind != wire.OpTxn {
		return op.Kind == wire.OpGet
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else} {
		for i := range branch {
			if branch[i].Kind != wire.OpGet {
				return false
			}
		}
	}
	return true
}

// ties gathers keys into groups: leader[k] is a key of the same group, and that of a group of one
// is itself.
type ties struct{ leader map[string]string }

func (t ties) find(key string) string {
	for {
		next, found := t.leader[key]
		if !found || next == key {
			return key
		}
		key = next
	}
}

func (t ties) tie(keys []string) {
	for _, key := range keys[1:] {
		if a, b := t.find(keys[0]), t.find(key); a != b {
			t.leader[max(a, b)] = min(a, b)
		}
	}
}

// groupState is the state of each key of a group. It is never changed, only replaced.
type groupState []state

// group is the keys of one group, ascending.
type group []string

// model is the specification of a group, which begins without any key.
func (g group) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return make(groupState, len(g)) },
		Step: func(before, input, _ any) (bool, any) {
			operation := input.(step)
			want, after := g.apply(before.(groupState), &operation.Op)
			if operation.Outcome == wire.OutcomeUnknown {
				return true, after
			}
			return sameAll(&want, &operation.Result), after
		},
		Equal: func(a, b any) bool { return slices.Equal(a.(groupState), b.(groupState)) },
		Hash: func(s any) uint64 {
			var hash uint64
			for _, one := range s.(groupState) {
				hash = hash*1_000_003 + one.version
			}
			return hash
		},
		DescribeOperation: describeInput,
		DescribeState: func(s any) string {
			var text []string
			for i, one := range s.(groupState) {
				text = append(text, g[i]+" = "+one.String())
			}
			return strings.Join(text, ", ")
		},
	}
}

func (g group) place(key []byte) int {
	i, _ := slices.BinarySearch(g, string(key))
	return i
}

// apply returns the result of an operation and the state after it. Each operation of a transaction
// sees what those before it did.
func (g group) apply(before groupState, op *wire.Op) (wire.Result, groupState) {
	after := slices.Clone(before)
	if op.Kind != wire.OpTxn {
		return after.one(g, op), after
	}
	result := wire.Result{Status: wire.OpOK, Succeeded: true}
	for i := range op.Compares {
		if !after[g.place(op.Compares[i].Key)].holds(&op.Compares[i]) {
			result.Succeeded = false
		}
	}
	branch := op.Then
	if !result.Succeeded {
		branch = op.Else
	}
	for i := range branch {
		result.Results = append(result.Results, after.one(g, &branch[i]))
	}
	return result, after
}

func (s groupState) one(g group, op *wire.Op) wire.Result {
	i := g.place(op.Key)
	var result wire.Result
	result, s[i] = s[i].apply(op)
	return result
}

// sameAll compares what a client can see of a result, of all its operations.
func sameAll(a, b *wire.Result) bool {
	if !same(a, b) || a.Succeeded != b.Succeeded || len(a.Results) != len(b.Results) {
		return false
	}
	for i := range a.Results {
		if !same(&a.Results[i], &b.Results[i]) {
			return false
		}
	}
	return true
}
