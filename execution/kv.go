package execution

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// KV is the bundled state machine: keys with values and versions, read and changed by wire.Op and
// answered by wire.Result. The version of a key is the number of writes since it was created, 1 at
// its creation; a delete ends the count.
//
// In the state a value is its version, 8 bytes big endian, and then its bytes.
type KV struct{}

var _ StateMachine = KV{}

// versionBytes is the length of the version in front of a saved value.
const versionBytes = 8

// errValue means that the saved state holds what KV never wrote.
var errValue = errors.New("kv: saved value is shorter than its version; restore the replica from its peers")

// Footprint names the keys of an operation, each once: gets and compares read, everything else
// writes. It refuses what exceeds a limit or makes no sense.
func (KV) Footprint(payload []byte) (epaxos.Footprint, error) {
	op, err := wire.DecodeOp(payload)
	if err != nil {
		return nil, fmt.Errorf("decode operation: %w", err)
	}
	if err := validate(&op); err != nil {
		return nil, err
	}
	return footprint(&op), nil
}

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

// validate returns why an operation cannot be admitted, or nil.
func validate(op *wire.Op) error {
	if op.Kind != wire.OpTxn {
		return validateSingle(op)
	}
	if n := max(len(op.Compares), len(op.Then), len(op.Else)); n > wire.OpsMax {
		return fmt.Errorf("transaction: %d compares or operations in one list: at most %d are possible", n, wire.OpsMax)
	}
	for i := range op.Compares {
		err := cmp.Or(validateKey(op.Compares[i].Key), validateCondition(&op.Compares[i]))
		if err != nil {
			return fmt.Errorf("transaction compare %d: %w", i+1, err)
		}
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else} {
		for i := range branch {
			if branch[i].Kind == wire.OpTxn {
				return fmt.Errorf("transaction operation %d: a transaction inside a transaction", i+1)
			}
			if err := validateSingle(&branch[i]); err != nil {
				return fmt.Errorf("transaction operation %d: %w", i+1, err)
			}
		}
	}
	return nil
}

func validateSingle(op *wire.Op) error {
	if op.Kind < wire.OpGet || op.Kind >= wire.OpTxn {
		return fmt.Errorf("operation kind %d is unknown", op.Kind)
	}
	if err := validateKey(op.Key); err != nil {
		return err
	}
	if len(op.Value) > wire.ValueMax {
		return fmt.Errorf("value of %d bytes: at most %d are possible", len(op.Value), wire.ValueMax)
	}
	if op.Kind != wire.OpCompareAndSet {
		return nil
	}
	if len(op.Compares) != 1 {
		return fmt.Errorf("compare-and-set: %d compares: needs exactly one", len(op.Compares))
	}
	if key := op.Compares[0].Key; len(key) > 0 && !bytes.Equal(key, op.Key) {
		return errors.New("compare-and-set: compares another key than it sets; use a transaction")
	}
	return validateCondition(&op.Compares[0])
}

func validateCondition(c *wire.Compare) error {
	switch {
	case c.Target != wire.CompareValue && c.Target != wire.CompareVersion:
		return fmt.Errorf("compare target %d is unknown", c.Target)
	case c.Relation < wire.Equal || c.Relation > wire.Greater:
		return fmt.Errorf("compare relation %d is unknown", c.Relation)
	case len(c.Value) > wire.ValueMax:
		return fmt.Errorf("compare value of %d bytes: at most %d are possible", len(c.Value), wire.ValueMax)
	}
	return nil
}

func validateKey(key []byte) error {
	switch {
	case len(key) == 0:
		return errors.New("empty key: a key has at least one byte")
	case len(key) > wire.KeyMax:
		return fmt.Errorf("key of %d bytes: at most %d are possible", len(key), wire.KeyMax)
	}
	return nil
}

// footprint is the union of what an operation may touch, whichever branch it takes.
func footprint(op *wire.Op) epaxos.Footprint {
	if op.Kind != wire.OpTxn {
		return epaxos.Footprint{access(modeOf(op), op.Key)}
	}
	var all epaxos.Footprint
	for i := range op.Compares {
		all = append(all, access(epaxos.Read, op.Compares[i].Key))
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else} {
		for i := range branch {
			all = append(all, access(modeOf(&branch[i]), branch[i].Key))
		}
	}
	slices.SortFunc(all, func(a, b epaxos.Access) int {
		// Write before Read, so that the one that is kept is the stronger.
		return cmp.Or(strings.Compare(a.Key, b.Key), cmp.Compare(b.Mode, a.Mode))
	})
	return slices.CompactFunc(all, func(a, b epaxos.Access) bool { return a.Key == b.Key })
}

func access(mode epaxos.Mode, key []byte) epaxos.Access {
	return epaxos.Access{Mode: mode, Space: epaxos.SpaceState, Key: string(key)}
}

func modeOf(op *wire.Op) epaxos.Mode {
	if op.Kind == wire.OpGet {
		return epaxos.Read
	}
	return epaxos.Write
}

// kvRun is one operation under way.
type kvRun struct {
	view View
	err  error // the first fault
}

// record is a key as it stands.
type record struct {
	found   bool
	version uint64
	value   []byte
}

func (r *kvRun) apply(op *wire.Op) wire.Result {
	switch op.Kind {
	case wire.OpGet:
		now := r.get(op.Key)
		return wire.Result{Status: wire.OpOK, Found: now.found, Value: now.value, Version: now.version}
	case wire.OpPut:
		return r.put(op.Key, r.get(op.Key), op.Value)
	case wire.OpDelete:
		before := r.get(op.Key)
		if before.found {
			r.view.Delete(string(op.Key))
		}
		return wire.Result{Status: wire.OpOK, Found: before.found}
	case wire.OpCompareAndSet:
		return r.compareAndSet(op)
	case wire.OpIncrement:
		return r.increment(op)
	case wire.OpTxn:
		return r.transaction(op)
	default:
		r.fail(fmt.Errorf("kv: operation kind %d was admitted but is unknown", op.Kind))
		return wire.Result{}
	}
}

func (r *kvRun) compareAndSet(op *wire.Op) wire.Result {
	now := r.get(op.Key)
	if len(op.Compares) != 1 || !now.holds(&op.Compares[0]) {
		return wire.Result{Status: wire.OpCompareFailed, Found: now.found, Value: now.value, Version: now.version}
	}
	return r.put(op.Key, now, op.Value)
}

func (r *kvRun) increment(op *wire.Op) wire.Result {
	now := r.get(op.Key)
	var number int64
	if now.found {
		var err error
		if number, err = strconv.ParseInt(string(now.value), 10, 64); err != nil {
			return wire.Result{Status: wire.OpWrongType, Found: true, Version: now.version}
		}
	}
	value := strconv.AppendInt(nil, number+op.Delta, 10) // signed addition wraps around in Go
	result := r.put(op.Key, now, value)
	result.Value = value
	return result
}

// transaction takes one of two branches. Every operation sees the effects of those before it; one
// that fails leaves the others as they are.
func (r *kvRun) transaction(op *wire.Op) wire.Result {
	result := wire.Result{Status: wire.OpOK, Succeeded: true}
	for i := range op.Compares {
		now := r.get(op.Compares[i].Key)
		if !now.holds(&op.Compares[i]) {
			result.Succeeded = false
			break
		}
	}
	branch, size := op.Then, 0
	if !result.Succeeded {
		branch = op.Else
	}
	for i := range branch {
		if branch[i].Kind == wire.OpTxn {
			r.fail(errors.New("kv: a transaction inside a transaction was admitted"))
			break
		}
		one := r.apply(&branch[i])
		if size+len(one.Value) > wire.ResultMax {
			// The operation stands; an answer that fits in no frame would never arrive.
			one.Status, one.Value = wire.OpTooLarge, nil
		}
		size += len(one.Value)
		result.Results = append(result.Results, one)
	}
	return result
}

func (r *kvRun) get(key []byte) record {
	saved, found := r.view.Get(string(key))
	if !found {
		return record{}
	}
	if len(saved) < versionBytes {
		r.fail(fmt.Errorf("key %q: %w", key, errValue))
		return record{}
	}
	return record{found: true, version: binary.BigEndian.Uint64(saved), value: saved[versionBytes:]}
}

func (r *kvRun) put(key []byte, before record, value []byte) wire.Result {
	version := before.version + 1
	saved := make([]byte, versionBytes, versionBytes+len(value))
	binary.BigEndian.PutUint64(saved, version)
	r.view.Put(string(key), append(saved, value...))
	return wire.Result{Status: wire.OpOK, Found: true, Version: version}
}

func (r *kvRun) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// holds reports whether a comparison holds. The value of an absent key is not equal to any, and
// neither less nor greater; its version is 0.
func (now *record) holds(c *wire.Compare) bool {
	order := cmp.Compare(now.version, c.Version)
	if c.Target == wire.CompareValue {
		if !now.found {
			return c.Relation == wire.NotEqual
		}
		order = bytes.Compare(now.value, c.Value)
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
