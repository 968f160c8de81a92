package history

import (
	"slices"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// addConditions takes what a successful comparison has seen.
func (o *ordering) addConditions(node int, compares []wire.Compare) {
	for i := range compares {
		c := &compares[i]
		switch {
		case c.Relation != wire.Equal || c.Target == wire.CompareValue:
		case c.Target == wire.CompareVersion:
			o.key(c.Key).saw(node, c.Version)
		case c.Version == 0: // the range was empty
			o.spans = append(o.spans, span{node: node, from: c.Key, end: c.End})
		}
	}
}

// saw notes that an operation found a version, of whatever value; 0 is none.
func (t *timeline) saw(node int, version uint64) {
	t.reads = append(t.reads, event{node: node, version: version, absent: version == 0})
}

// found notes a value that an operation found.
func (t *timeline) found(node int, version uint64, value []byte) {
	t.reads = append(t.reads, event{node: node, version: version, value: string(value), valued: true})
}

// put notes a value that an operation wrote.
func (t *timeline) put(node int, version uint64, value []byte) {
	t.writes = append(t.writes, event{node: node, version: version, value: string(value), valued: true})
}

func (o *ordering) addOne(node int, op *wire.Op, r *wire.Result) {
	if op.Kind.Ranged() {
		o.addRange(node, op, r)
		return
	}
	t := o.key(op.Key)
	switch ok := r.Status == wire.OpOK || r.Status == wire.OpTooLarge; {
	case op.Kind == wire.OpPut:
		t.put(node, r.Version, op.Value)
	case op.Kind == wire.OpDelete || op.Kind == wire.OpTake || op.Kind == wire.OpSwap:
		t.replaced(node, op, r)
	case op.Kind == wire.OpAppend && ok:
		t.writes = append(t.writes, event{node: node, version: r.Version, suffix: string(op.Value)})
	case op.Kind == wire.OpCompareAndSet && ok:
		t.put(node, r.Version, op.Value)
		if c := op.Compares[0]; c.Target == wire.CompareVersion && c.Relation == wire.Equal {
			t.saw(node, c.Version)
		}
	case op.Kind == wire.OpIncrement && ok:
		t.writes = append(t.writes, event{
			node: node, version: r.Version, value: string(r.Value), valued: true, delta: op.Delta, added: true,
		})
	case op.Kind == wire.OpAdd && ok:
		t.unknown++
	case op.Kind == wire.OpAdd: // of what is no number, and it tells nothing more
	case op.Kind == wire.OpIncrement || op.Kind == wire.OpAppend || r.Status == wire.OpTooLarge || !r.Found:
		t.saw(node, r.Version)
	default:
		t.found(node, r.Version, r.Value)
	}
}

// replaced notes a delete, swap or take, which tell of the key whether it existed before.
func (t *timeline) replaced(node int, op *wire.Op, r *wire.Result) {
	switch {
	case op.Kind == wire.OpSwap:
		t.put(node, r.Version, op.Value)
	case r.Found:
		t.writes = append(t.writes, event{node: node, version: r.Version, absent: true})
	}
	t.deleted = t.deleted || op.Kind != wire.OpSwap
	switch {
	case !r.Found:
		t.saw(node, 0)
	case op.Kind == wire.OpDelete || r.Status == wire.OpTooLarge:
		t.saw(node, r.Version-1)
	default:
		t.found(node, r.Version-1, r.Value)
	}
}

// span is what an operation tells of the keys of a range.
type span struct {
	node      int
	from, end []byte
	pairs     []wire.Pair // those that it found; it found no other
	deletes   bool        // it may have deleted each
	forgets   bool        // it may have forgotten the version of each
}

func (o *ordering) addRange(node int, op *wire.Op, r *wire.Result) {
	s := span{node: node, from: op.Key, end: op.End, pairs: r.Pairs}
	if r.Next != nil {
		s.end = r.Next
	}
	if op.Kind == wire.OpForgetRange {
		s.forgets = true
	} else if uint64(len(r.Pairs)) != r.Count {
		s.deletes = op.Kind == wire.OpDeleteRange
		if !s.deletes {
			return // a count tells nothing of any key
		}
	}
	for i := range r.Pairs {
		p := &r.Pairs[i]
		if t := o.key(p.Key); op.Options == wire.RangeKeys {
			t.saw(node, p.Version)
		} else {
			t.found(node, p.Version, p.Value)
		}
	}
	o.spans = append(o.spans, s)
}

// resolve enters what spans tell, once all keys are known.
func (o *ordering) resolve() {
	names := make([]string, 0, len(o.keys))
	for name := range o.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range o.spans {
		s := &o.spans[i]
		seen := make(map[string]bool, len(s.pairs))
		for j := range s.pairs {
			seen[string(s.pairs[j].Key)] = true
		}
		at, _ := slices.BinarySearch(names, string(s.from))
		for _, name := range names[at:] {
			if !within(name, s.from, s.end) {
				break
			}
			switch t := o.keys[name]; {
			case s.forgets:
				t.forgotten = true
			case s.deletes:
				t.deleted = true
				t.unknown++
			case !seen[name]:
				t.saw(s.node, 0)
			}
		}
	}
}

// addUnknown notes what an operation may have done.
func (o *ordering) addUnknown(node int, op *Operation) {
	ops := []wire.Op{op.Op}
	if op.Op.Kind == wire.OpTxn {
		ops = slices.Concat(op.Op.Then, op.Op.Else)
	}
	for i := range ops {
		kind := ops[i].Kind
		if kind.Ranged() {
			if kind != wire.OpRange {
				o.spans = append(o.spans, span{
					node: node, from: ops[i].Key, end: ops[i].End,
					deletes: kind == wire.OpDeleteRange, forgets: kind == wire.OpForgetRange,
				})
			}
			continue
		}
		t := o.key(ops[i].Key)
		switch kind {
		case wire.OpGet:
		case wire.OpDelete, wire.OpTake:
			t.deleted = true
			t.unknown++
		case wire.OpPut, wire.OpCompareAndSet, wire.OpSwap:
			t.unknown++
			t.maybe[string(ops[i].Value)] = append(t.maybe[string(ops[i].Value)], node)
		default:
			t.unknown++
		}
	}
}
