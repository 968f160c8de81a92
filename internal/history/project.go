package history

import (
	"slices"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// ByKey takes a history apart into one for each key, ascending by key, with transactions as the single
// operations that they carried out. If the whole could have come from one copy of the machine, each part
// could, since a transaction may as well do one thing after the other when nobody looks at other keys.
// The parts say less than the whole: conditions of transactions are left out, and that a transaction was
// one step. But each can be searched by itself.
func ByKey(operations []Operation) [][]Operation {
	keys := map[string][]Operation{}
	for i := range operations {
		for _, o := range operations[i].single() {
			keys[string(o.Op.Key)] = append(keys[string(o.Op.Key)], o)
		}
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	parts := make([][]Operation, len(names))
	for i, name := range names {
		parts[i] = keys[name]
	}
	return parts
}

// single is an operation as one or more that are no transactions.
func (o *Operation) single() []Operation {
	if o.Op.Kind != wire.OpTxn {
		return []Operation{*o}
	}
	ops := slices.Concat(o.Op.Then, o.Op.Else)
	if o.Outcome == wire.OutcomeApplied {
		ops = o.Op.Else
		if o.Result.Succeeded {
			ops = o.Op.Then
		}
		ops = ops[:min(len(ops), len(o.Result.Results))]
	}
	var all []Operation
	for i := range ops {
		one := *o
		one.Op, one.Result = ops[i], wire.Result{}
		if o.Outcome == wire.OutcomeApplied {
			one.Result = o.Result.Results[i]
		}
		if one.Result.Status != wire.OpTooLarge {
			all = append(all, one)
		}
	}
	return all
}
