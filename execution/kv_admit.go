package execution

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Footprint names the keys and ranges of an operation, each once: gets, range reads and compares read, adds
// add, everything else writes. It refuses what exceeds a limit or makes no sense.
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

// Format implements Leveled.
func (KV) Format(payload []byte) uint32 {
	op, err := wire.DecodeOp(payload)
	if err != nil {
		return wire.FormatMin
	}
	return op.Format()
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
		c := &op.Compares[i]
		err := validateCondition(c)
		if c.Target == wire.CompareCount {
			err = cmp.Or(validateRange(c.Key, c.End), err)
		} else {
			err = cmp.Or(validateKey(c.Key), err)
		}
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
	switch {
	case op.Kind < wire.OpGet || op.Kind > wire.OpForgetRange || op.Kind == wire.OpTxn:
		return fmt.Errorf("operation kind %d is unknown", op.Kind)
	case op.Kind.Ranged():
		if op.Options > wire.RangeCount {
			return fmt.Errorf("range options %d are unknown", op.Options)
		}
		return validateRange(op.Key, op.End)
	}
	if err := validateKey(op.Key); err != nil {
		return err
	}
	if len(op.Value) > wire.ValueMax {
		return fmt.Errorf("value of %d bytes: at most %d are possible", len(op.Value), wire.ValueMax)
	}
	if !op.Lease.IsZero() && !op.Kind.Leasable() {
		return fmt.Errorf("operation kind %d attaches no key to a lease", op.Kind)
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
	if op.Compares[0].Target > wire.CompareVersion {
		return errors.New("compare-and-set: compares neither value nor version; use a transaction")
	}
	return validateCondition(&op.Compares[0])
}

func validateCondition(c *wire.Compare) error {
	switch {
	case c.Target < wire.CompareValue || c.Target > wire.CompareLease:
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

// validateRange accepts empty bounds: below all keys, and above.
func validateRange(from, end []byte) error {
	switch {
	case max(len(from), len(end)) > wire.KeyMax:
		return fmt.Errorf("bound of a range of %d bytes: at most %d are possible",
			max(len(from), len(end)), wire.KeyMax)
	case len(end) > 0 && bytes.Compare(end, from) <= 0:
		return fmt.Errorf("empty range: its end %.64q is not above its start %.64q", end, from)
	}
	return nil
}

// footprint is the union of what an operation may touch, whichever branch it takes.
func footprint(op *wire.Op) epaxos.Footprint {
	if op.Kind != wire.OpTxn {
		if op.Lease.IsZero() {
			return epaxos.Footprint{accessOf(op)}
		}
		return epaxos.Footprint{accessOf(op), leaseAccess(op.Lease)}
	}
	var all epaxos.Footprint
	for i := range op.Compares {
		c := &op.Compares[i]
		all = append(all, epaxos.Access{
			Mode: epaxos.Read, Range: c.Target == wire.CompareCount, Key: string(c.Key), End: string(c.End),
		})
	}
	for _, branch := range [][]wire.Op{op.Then, op.Else} {
		for i := range branch {
			all = append(all, accessOf(&branch[i]))
			if lease := branch[i].Lease; !lease.IsZero() {
				all = append(all, leaseAccess(lease))
			}
		}
	}
	return compact(all)
}

// compact leaves one access of each key and range. Several in one mode are one in that mode. In two modes
// they are a write: a request that reads a key and adds to it must not pass by others that add to it.
func compact(all epaxos.Footprint) epaxos.Footprint {
	slices.SortFunc(all, place)
	kept := all[:0]
	for _, a := range all {
		n := len(kept)
		switch {
		case n == 0 || place(kept[n-1], a) != 0:
			kept = append(kept, a)
		case kept[n-1].Mode != a.Mode:
			kept[n-1].Mode = epaxos.Write
		}
	}
	return kept
}

// place orders accesses by what they name, points first, and leases behind everything.
func place(a, b epaxos.Access) int {
	switch {
	case a.Space != b.Space:
		return cmp.Compare(a.Space, b.Space)
	case a.Range && !b.Range:
		return 1
	case b.Range && !a.Range:
		return -1
	}
	return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.End, b.End))
}

// leaseAccess orders what attaches a key to a lease with whatever becomes of the lease (rule T1).
func leaseAccess(lease epaxos.InstanceID) epaxos.Access {
	return epaxos.Access{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: lease.Key()}
}

func accessOf(op *wire.Op) epaxos.Access {
	a := epaxos.Access{Mode: epaxos.Write, Key: string(op.Key)}
	if op.Kind.Ranged() {
		a.Range, a.End = true, string(op.End)
	}
	switch op.Kind {
	case wire.OpGet, wire.OpRange:
		a.Mode = epaxos.Read
	case wire.OpAdd:
		a.Mode = epaxos.Add
	}
	return a
}
