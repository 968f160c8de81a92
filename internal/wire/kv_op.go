package wire

import (
	"bytes"
	"math"
)

// An operation is part of a replicated command, so each kind has a fixed number of fields.

const (
	opMin      = 3 // the array, the kind and one field
	compareMin = 5 // the array, a key, target, relation and operand

	compareFields = 4 // of a comparison in a transaction; one of a range has its end besides
)

// AppendOp appends an operation of the key-value machine: an array of its kind and the fields which
// that kind has; others are not written. What OpCompareAndSet compares is always Op.Key.
//
// An operation that makes no sense, say a transaction inside another, is written all the same, and
// refused by DecodeOp on every replica alike.
func AppendOp(dst []byte, op *Op) []byte {
	e := appendTo(dst)
	e.op(op)
	return e.done()
}

// DecodeOp reads what AppendOp wrote. Keys and values share one copy of the payload.
func DecodeOp(payload []byte) (Op, error) {
	return decode("Op", bytes.Clone(payload), func(d *decoder) Op { return d.op(true) })
}

func (e *encoder) op(op *Op) {
	switch op.Kind {
	case OpPut, OpAppend, OpSwap:
		e.array(3 + op.leases())
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
		e.bytes(op.Value)
		e.lease(op)
	case OpRange, OpDeleteRange, OpForgetRange:
		e.rangeOp(op)
	case OpCompareAndSet:
		e.array(3 + 3*len(op.Compares) + op.leases())
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
		e.bytes(op.Value)
		for i := range op.Compares {
			e.condition(&op.Compares[i])
		}
		e.lease(op)
	case OpIncrement, OpAdd:
		e.array(3)
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
		e.int(op.Delta)
	case OpTxn:
		e.array(4)
		e.uint(uint64(op.Kind))
		e.array(len(op.Compares))
		for i := range op.Compares {
			e.compare(&op.Compares[i])
		}
		e.ops(op.Then)
		e.ops(op.Else)
	default:
		e.array(2)
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
	}
}

// leases is how many fields the lease of an operation takes.
func (op *Op) leases() int {
	if op.Lease.IsZero() {
		return 0
	}
	return 1
}

func (e *encoder) lease(op *Op) {
	if !op.Lease.IsZero() {
		e.instance(op.Lease)
	}
}

func (e *encoder) ops(ops []Op) {
	e.array(len(ops))
	for i := range ops {
		e.op(&ops[i])
	}
}

func (e *encoder) rangeOp(op *Op) {
	e.array(opFields[op.Kind])
	e.uint(uint64(op.Kind))
	e.bytes(op.Key)
	e.bytes(op.End)
	e.uint(op.Limit)
	if op.Kind == OpRange {
		e.uint(uint64(op.Options))
	}
}

// compare writes a comparison of a transaction. One of a range has the end of the range behind it.
func (e *encoder) compare(c *Compare) {
	fields := compareFields
	if c.Target == CompareCount {
		fields++
	}
	e.array(fields)
	e.bytes(c.Key)
	e.condition(c)
	if c.Target == CompareCount {
		e.bytes(c.End)
	}
}

// counts reports whether a comparison is with a number.
func (t CompareTarget) counts() bool { return t == CompareVersion || t == CompareCount }

// condition writes the three fields of a comparison after its key.
func (e *encoder) condition(c *Compare) {
	e.uint(uint64(c.Target))
	e.uint(uint64(c.Relation))
	if c.Target.counts() {
		e.uint(c.Version)
	} else {
		e.bytes(c.Value)
	}
}

// op reads an operation; one inside a transaction may not be a transaction.
func (d *decoder) op(txn bool) Op {
	fields := d.array("op", 1, math.MaxInt)
	op := Op{Kind: OpKind(d.uint("kind", uint64(OpGet), uint64(opLast)))}
	if !d.ok() {
		return Op{}
	}
	leased := op.Kind.Leasable() && fields == opFields[op.Kind]+1
	if known := opFields[op.Kind]; fields != known && !leased {
		d.fail("op", "%d fields instead of the %d of kind %d", fields, known, op.Kind)
		return Op{}
	}
	if op.Kind == OpTxn {
		if !txn {
			d.fail("op", "a transaction inside a transaction")
			return Op{}
		}
		op.Compares, op.Then, op.Else = d.compares(), d.ops("then"), d.ops("else")
		return op
	}
	op.Key = d.view("key", KeyMax)
	switch op.Kind {
	case OpPut, OpAppend, OpSwap:
		op.Value = d.view("value", ValueMax)
	case OpCompareAndSet:
		op.Value = d.view("value", ValueMax)
		op.Compares = []Compare{d.condition(op.Key, CompareVersion)}
	case OpIncrement, OpAdd:
		op.Delta = d.int64("delta")
	case OpRange, OpDeleteRange, OpForgetRange:
		op.End, op.Limit = d.view("end", KeyMax), d.uint64("limit")
		if op.Kind == OpRange {
			op.Options = RangeOptions(d.uint("options", 0, uint64(RangeCount)))
		}
	}
	if leased {
		op.Lease = d.instance("lease")
	}
	return op
}

// opFields is how many fields each kind has, itself included. One more is a lease, where it may have one.
var opFields = [...]int{
	OpGet: 2, OpPut: 3, OpDelete: 2, OpCompareAndSet: 6, OpIncrement: 3, OpTxn: 4,
	OpAppend: 3, OpAdd: 3, OpSwap: 3, OpTake: 2, OpRange: 5, OpDeleteRange: 4, OpForgetRange: 4,
}

func (d *decoder) ops(field string) []Op {
	n := d.array(field, opMin, OpsMax)
	if n == 0 {
		return nil
	}
	ops := make([]Op, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		ops = append(ops, d.op(false))
	}
	return ops
}

func (d *decoder) compares() []Compare {
	n := d.array("compares", compareMin, OpsMax)
	if n == 0 {
		return nil
	}
	compares := make([]Compare, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		compares = append(compares, d.compare())
	}
	return compares
}

func (d *decoder) compare() Compare {
	fields := d.array("compare", 1, math.MaxInt)
	c := d.condition(d.view("compare key", KeyMax), CompareLease)
	known := compareFields
	if c.Target == CompareCount {
		known++
		c.End = d.view("compare end", KeyMax)
	}
	if d.ok() && fields != known {
		d.fail("compare", "%d fields instead of %d", fields, known)
	}
	return c
}

// condition reads a comparison whose target is at most the given one.
func (d *decoder) condition(key []byte, last CompareTarget) Compare {
	c := Compare{
		Key:      key,
		Target:   CompareTarget(d.uint("compare target", uint64(CompareValue), uint64(last))),
		Relation: CompareRelation(d.uint("compare relation", uint64(Equal), uint64(Greater))),
	}
	if c.Target.counts() {
		c.Version = d.uint64("compare version")
	} else {
		c.Value = d.view("compare value", ValueMax)
	}
	return c
}
