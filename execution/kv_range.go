package execution

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// deleteBytes is what deleting a key of a range counts beside the key, against wire.GrowthMax: what is
// kept of it, and what a batch of writes pays for one.
const deleteBytes = versionBytes + 128

// scan visits the keys of [from, end), deleted ones too, ascending, until visit returns false. It returns the
// first key that it did not look at because the request has looked at too many, or nil.
func (r *kvRun) scan(from, end []byte, visit func(key string, now record) bool) (next []byte) {
	r.view.Scan(string(from), string(end), func(key string, saved []byte) bool {
		if r.scanned == wire.ScanMax {
			next = []byte(key)
			return false
		}
		r.scanned++
		now, err := parseRecord(saved)
		if err != nil {
			r.fail(fmt.Errorf("key %q: %w", key, err))
			return false
		}
		return visit(key, now)
	})
	return next
}

// ranged reads or deletes a range. What it hands to the view lives on the heap: so it runs on copies, since
// the operations on single keys, which are most, would pay for theirs too.
func (r *kvRun) ranged(op *wire.Op) (result wire.Result) {
	here, copied := *r, *op
	if op.Kind == wire.OpRange {
		result = here.readRange(&copied)
	} else {
		result = here.clearRange(&copied)
	}
	*r = here
	return result
}

// readRange answers as many keys as the limits allow, and where to go on.
func (r *kvRun) readRange(op *wire.Op) wire.Result {
	result := wire.Result{Status: wire.OpOK}
	var full []byte
	next := r.scan(op.Key, op.End, func(key string, now record) bool {
		if !now.found {
			return true
		}
		if op.Limit > 0 && result.Count == op.Limit || !r.take(&result, op.Options, key, &now) {
			full = []byte(key)
			return false
		}
		result.Count++
		return true
	})
	result.Next = next
	if full != nil {
		result.Next = full
	}
	return result
}

// take adds a key to the pairs of a result, and reports whether there was room for it.
func (r *kvRun) take(result *wire.Result, options wire.RangeOptions, key string, now *record) bool {
	if options == wire.RangeCount {
		return true
	}
	pair := wire.Pair{Key: []byte(key), Version: now.version}
	if options != wire.RangeKeys {
		pair.Value = bytes.Clone(now.value)
	}
	size := len(pair.Key) + len(pair.Value) + wire.PairOverhead
	if r.answered+size > wire.ResultMax {
		return false
	}
	r.answered += size
	result.Pairs = append(result.Pairs, pair)
	return true
}

// clearRange deletes the keys that exist, or forgets those that were deleted, as many as the limits allow.
func (r *kvRun) clearRange(op *wire.Op) wire.Result {
	type victim struct {
		key     string
		version uint64
	}
	var victims []victim
	var full []byte
	next := r.scan(op.Key, op.End, func(key string, now record) bool {
		if now.found != (op.Kind == wire.OpDeleteRange) {
			return true
		}
		size := len(key) + deleteBytes
		if op.Limit > 0 && uint64(len(victims)) == op.Limit || r.grown+size > wire.GrowthMax {
			full = []byte(key)
			return false
		}
		r.grown += size
		victims = append(victims, victim{key, now.version + 1})
		return true
	})
	for _, v := range victims {
		if op.Kind == wire.OpDeleteRange {
			r.view.Put(v.key, deletedRecord(v.version))
		} else {
			r.view.Delete(v.key)
		}
	}
	if full != nil {
		next = full
	}
	return wire.Result{Status: wire.OpOK, Count: uint64(len(victims)), Next: next}
}

// countHolds compares the number of keys of a range. It looks at no more of them than decide it.
func (r *kvRun) countHolds(c *wire.Compare) (holds, known bool) {
	var count uint64
	next := r.scan(c.Key, c.End, func(_ string, now record) bool {
		if now.found {
			count++
		}
		return count <= c.Version
	})
	if next != nil {
		return false, false
	}
	return related(cmp.Compare(count, c.Version), c.Relation), true
}
