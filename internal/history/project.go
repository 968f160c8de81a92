package history

import (
	"slices"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// ByKey takes a history apart into one for each key, ascending by key, with transactions as the single
// operations that they carried out. If the whole could have come from one copy of the machine, each part
// could, since a transaction may as well do one thing after the other when nobody looks at other keys.
// A key whose versions were perhaps forgotten is left out: when that was shows in none of its results.
// The parts say less than the whole: conditions of transactions are left out, and that a transaction was
// one step. But each can be searched by itself.
func ByKey(operations []Operation) [][]Operation {
	keys, all := map[string][]Operation{}, universe(operations)
	for i := range operations {
		for _, o := range operations[i].single() {
			for _, o := range o.spread(all) {
				keys[string(o.Op.Key)] = append(keys[string(o.Op.Key)], o)
			}
		}
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	parts := make([][]Operation, 0, len(names))
	for _, name := range names {
		if !slices.ContainsFunc(keys[name], forgets) {
			parts = append(parts, keys[name])
		}
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

// spread is an operation as those on single keys that it tells of. A range that was read tells each key that
// it showed, and of the others that they were not there. One that was deleted tells nothing of any
// key by itself: each may have been deleted.
func (o Operation) spread(all []string) []Operation {
	if !o.Op.Kind.Ranged() {
		return []Operation{o}
	}
	end := o.Op.End
	if o.Result.Next != nil {
		end = o.Result.Next
	}
	pairs := map[string]*wire.Pair{}
	for i := range o.Result.Pairs {
		pairs[string(o.Result.Pairs[i].Key)] = &o.Result.Pairs[i]
	}
	told := o.Outcome == wire.OutcomeApplied && uint64(len(pairs)) == o.Result.Count
	var each []Operation
	for _, name := range all {
		if !within(name, o.Op.Key, end) {
			continue
		}
		one := o
		one.Op, one.Result = wire.Op{Kind: wire.OpGet, Key: []byte(name)}, wire.Result{Status: wire.OpOK}
		pair := pairs[name]
		switch {
		case o.Op.Kind == wire.OpForgetRange:
			one.Op = o.Op
			one.Op.Key = []byte(name)
		case !told && o.Op.Kind == wire.OpDeleteRange:
			one.Op.Kind, one.Outcome = wire.OpDelete, wire.OutcomeUnknown
		case !told, pair != nil && o.Op.Options == wire.RangeKeys:
			continue
		case pair != nil:
			one.Result.Found, one.Result.Value, one.Result.Version = true, pair.Value, pair.Version
		}
		each = append(each, one)
	}
	return each
}

func forgets(o Operation) bool { return o.Op.Kind == wire.OpForgetRange }
