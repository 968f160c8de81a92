package history

import (
	"cmp"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Transactions tie keys together: what they do must be one step on all of them. So keys that some
// transaction names, directly or through a chain of others, are searched as one object.

// keysOf lists the keys of an operation, each once, ascending. Of a range it lists those of all that exist
// in the history.
func keysOf(op *wire.Op, all []string) []string {
	if op.Kind != wire.OpTxn && !op.Kind.Ranged() {
		return []string{string(op.Key)}
	}
	var keys []string
	one := func(ranged bool, key, end []byte) {
		if !ranged {
			keys = append(keys, string(key))
			return
		}
		for _, name := range all {
			if within(name, key, end) {
				keys = append(keys, name)
			}
		}
	}
	for i := range op.Compares {
		one(op.Compares[i].Target == wire.CompareCount, op.Compares[i].Key, op.Compares[i].End)
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else, {*op}} {
		for i := range branch {
			if branch[i].Kind != wire.OpTxn {
				one(branch[i].Kind.Ranged(), branch[i].Key, branch[i].End)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// within reports whether a key lies in [from, end); an empty end is no bound.
func within(key string, from, end []byte) bool {
	return key >= string(from) && (len(end) == 0 || key < string(end))
}

// universe lists every key that a history names or shows, ascending.
func universe(operations []Operation) []string {
	var all []string
	for i := range operations {
		o := &operations[i]
		all = append(all, keysOf(&o.Op, nil)...)
		for _, r := range append(slices.Clone(o.Result.Results), o.Result) {
			for j := range r.Pairs {
				all = append(all, string(r.Pairs[j].Key))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// readsOnly reports whether an operation changes nothing, whatever it finds.
func readsOnly(op *wire.Op) bool {
	if op.Kind != wire.OpTxn {
		return op.Kind == wire.OpGet || op.Kind == wire.OpRange
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else} {
		for i := range branch {
			if !readsOnly(&branch[i]) {
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
	for i := 1; i < len(keys); i++ {
		key := keys[i]
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
		if !after.holds(g, &op.Compares[i]) {
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

func (s groupState) holds(g group, c *wire.Compare) bool {
	if c.Target != wire.CompareCount {
		return s[g.place(c.Key)].holds(c)
	}
	count := 0
	for i := range s {
		if s[i].exists() && within(g[i], c.Key, c.End) {
			count++
		}
	}
	return related(cmp.Compare(uint64(count), c.Version), c.Relation)
}

func (s groupState) one(g group, op *wire.Op) wire.Result {
	if op.Kind.Ranged() {
		return s.ranged(g, op)
	}
	i := g.place(op.Key)
	var result wire.Result
	result, s[i] = s[i].apply(op)
	return result
}

// ranged reads or deletes a range. The model knows no limit but that of the operation: histories are small.
func (s groupState) ranged(g group, op *wire.Op) wire.Result {
	result := wire.Result{Status: wire.OpOK}
	for i := range s {
		counts := s[i].exists()
		if op.Kind == wire.OpForgetRange {
			counts = s[i].deleted
		}
		if !counts || !within(g[i], op.Key, op.End) {
			continue
		}
		if op.Limit > 0 && result.Count == op.Limit {
			result.Next = []byte(g[i])
			break
		}
		result.Count++
		switch {
		case op.Kind == wire.OpForgetRange:
			s[i] = state{}
		case op.Kind == wire.OpDeleteRange:
			s[i] = state{version: s[i].version + 1, deleted: true}
		case op.Options == wire.RangeKeys:
			result.Pairs = append(result.Pairs, wire.Pair{Key: []byte(g[i]), Version: s[i].version})
		case op.Options == 0:
			pair := wire.Pair{Key: []byte(g[i]), Value: []byte(s[i].value), Version: s[i].version}
			result.Pairs = append(result.Pairs, pair)
		}
	}
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
