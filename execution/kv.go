package execution

import (
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// KV is the bundled state machine: keys with values and versions, read and changed by wire.Op and
// answered by wire.Result. The version of a key is the number of its changes, deletes included; it
// survives deletes, so that no two changes of a key make the same version, unless it is told to forget
// (docs/decisions/0014-versions.md).
type KV struct{}

var (
	_ StateMachine = KV{}
	_ Merger       = KV{}
	_ Leaser       = KV{}
	_ Leveled      = KV{}
	_ Watched      = KV{}
)

// Apply carries out an operation. It returns an error only for what Footprint would have refused
// and for a damaged state.
func (KV) Apply(view View, payload []byte) ([]byte, error) {
	op, err := wire.DecodeOp(payload)
	if err != nil {
		return nil, fmt.Errorf("decode operation: %w", err)
	}
	run := kvRun{view: view}
	result := run.apply(&op)
	if run.err != nil {
		return nil, run.err
	}
	return wire.AppendResult(nil, &result), nil
}

// kvRun is one request under way.
type kvRun struct {
	view View
	err  error // the first fault

	// What the whole request, a transaction too, has made of its limits.
	answered int // bytes of values and pairs: at most wire.ResultMax
	scanned  int // keys of ranges: at most wire.ScanMax
	grown    int // bytes written that its payload does not hold: at most wire.GrowthMax
}

func (r *kvRun) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *kvRun) apply(op *wire.Op) wire.Result {
	switch op.Kind {
	case wire.OpGet:
		return r.get(op.Key).seen(wire.OpOK)
	case wire.OpPut:
		return r.set(op, r.get(op.Key))
	case wire.OpAppend:
		return r.append(op)
	case wire.OpDelete, wire.OpSwap, wire.OpTake:
		return r.replace(op)
	case wire.OpCompareAndSet:
		return r.compareAndSet(op)
	case wire.OpIncrement:
		return r.increment(op)
	case wire.OpAdd:
		return r.add(op)
	case wire.OpRange, wire.OpDeleteRange, wire.OpForgetRange:
		return r.ranged(op)
	case wire.OpTxn:
		return r.transaction(op)
	default:
		r.fail(fmt.Errorf("kv: operation kind %d was admitted but is unknown", op.Kind))
		return wire.Result{}
	}
}

func (r *kvRun) get(key []byte) record {
	saved, exists := r.view.Get(string(key))
	if !exists {
		return record{}
	}
	now, err := parseRecord(saved)
	if err != nil {
		r.fail(fmt.Errorf("key %q: %w", key, err))
	}
	return now
}

// put makes the next version of a key, which ends with the lease that it had.
func (r *kvRun) put(key []byte, before record, value []byte) wire.Result {
	after := record{found: true, version: before.version + 1, value: value, lease: before.lease}
	r.view.Put(string(key), after.saved())
	return wire.Result{Status: wire.OpOK, Found: true, Version: after.version}
}

// set gives a key the value and the lease of an operation, or none.
func (r *kvRun) set(op *wire.Op, before record) wire.Result {
	if before.lease = op.Lease; !op.Lease.IsZero() {
		switch r.view.Attach(op.Lease, string(op.Key)) {
		case LeaseGone:
			return wire.Result{Status: wire.OpLeaseGone, Found: before.found, Version: before.shown()}
		case LeaseFull:
			return wire.Result{Status: wire.OpLimited, Found: before.found, Version: before.shown()}
		case Attached:
		}
	}
	return r.put(op.Key, before, op.Value)
}

// replace carries out what tells of the key whether it existed before: delete, swap and take.
func (r *kvRun) replace(op *wire.Op) wire.Result {
	before := r.get(op.Key)
	result := wire.Result{Status: wire.OpOK, Found: before.found}
	switch {
	case op.Kind == wire.OpSwap:
		after := r.set(op, before)
		if after.Status != wire.OpOK {
			return after
		}
		result.Version = after.Version
	case before.found:
		result.Version = before.version + 1
		r.view.Put(string(op.Key), deletedRecord(result.Version))
	}
	if op.Kind != wire.OpDelete {
		result.Value = before.value
	}
	return result
}

func (r *kvRun) append(op *wire.Op) wire.Result {
	now := r.get(op.Key)
	length := len(now.value) + len(op.Value)
	if length > wire.ValueMax || r.grown+length > wire.GrowthMax {
		return wire.Result{Status: wire.OpLimited, Found: now.found, Version: now.shown()}
	}
	r.grown += length
	value := append(make([]byte, 0, length), now.value...)
	return r.put(op.Key, now, append(value, op.Value...))
}

func (r *kvRun) compareAndSet(op *wire.Op) wire.Result {
	now := r.get(op.Key)
	if len(op.Compares) != 1 || !now.holds(&op.Compares[0]) {
		return now.seen(wire.OpCompareFailed)
	}
	return r.set(op, now)
}

func (r *kvRun) increment(op *wire.Op) wire.Result {
	now := r.get(op.Key)
	sum, ok := now.plus(op.Delta)
	if !ok {
		return wire.Result{Status: wire.OpWrongType, Found: true, Version: now.version}
	}
	result := r.put(op.Key, now, sum)
	result.Value = sum
	return result
}

// add tells only what is the same whichever of several adds comes first.
func (r *kvRun) add(op *wire.Op) wire.Result {
	if !r.view.Merge(string(op.Key), addOperand(op.Delta)) {
		return wire.Result{Status: wire.OpWrongType, Found: true}
	}
	return wire.Result{Status: wire.OpOK, Found: true}
}

// transaction takes one of two branches. Every operation sees the effects of those before it; one
// that fails leaves the others as they are.
func (r *kvRun) transaction(op *wire.Op) wire.Result {
	result := wire.Result{Status: wire.OpOK, Succeeded: true}
	for i := 0; i < len(op.Compares) && result.Succeeded; i++ {
		holds, known := r.holds(&op.Compares[i])
		if !known {
			return wire.Result{Status: wire.OpLimited}
		}
		result.Succeeded = holds
	}
	branch := op.Then
	if !result.Succeeded {
		branch = op.Else
	}
	for i := range branch {
		if branch[i].Kind == wire.OpTxn {
			r.fail(errors.New("kv: a transaction inside a transaction was admitted"))
			break
		}
		one := r.apply(&branch[i])
		if r.answered+len(one.Value) > wire.ResultMax {
			// The operation stands; an answer that fits in no frame would never arrive.
			one.Status, one.Value = wire.OpTooLarge, nil
		}
		r.answered += len(one.Value)
		result.Results = append(result.Results, one)
	}
	return result
}

// holds reports whether a condition holds, and whether that could be found out within the limits.
func (r *kvRun) holds(c *wire.Compare) (holds, known bool) {
	if c.Target == wire.CompareCount {
		here, compare := *r, *c // as in ranged
		holds, known = here.countHolds(&compare)
		*r = here
		return holds, known
	}
	now := r.get(c.Key)
	return now.holds(c), true
}
