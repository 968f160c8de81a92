package wire

import (
	"bytes"
	"math"
)

// An operation is part of a replicated command, so each kind has a fixed number of fields.

const (
	opMin      = 3 // the array, the kind and one field
	compareMin = 5 // the array, a key, target, relation and operand
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
	case OpPut:
		e.array(3)
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
		e.bytes(op.Value)
	case OpCompareAndSet:
		e.array(3 + 3*len(op.Compares))
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
		e.bytes(op.Value)
		for i := range op.Compares {
			e.condition(&op.Compares[i])
		}
	case OpIncrement:
		e.array(3)
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
		e.int(op.Delta)
	case OpTxn:
		e.array(4)
		e.uint(uint64(op.Kind))
		e.array(len(op.Compares))
		for i := range op.Compares {
			e.array(4)
			e.bytes(op.Compares[i].Key)
			e.condition(&op.Compares[i])
		}
		e.ops(op.Then)
		e.ops(op.Else)
	default:
		e.array(2)
		e.uint(uint64(op.Kind))
		e.bytes(op.Key)
	}
}

func (e *encoder) ops(ops []Op) {
	e.array(len(ops))
	for i := range ops {
		e.op(&ops[i])
	}
}

// condition writes the three fields of a comparison after its key.
func (e *encoder) condition(c *Compare) {
	e.uint(uint64(c.Target))
	e.uint(uint64(c.Relation))
	if c.Target == CompareVersion {
		e.uint(c.Version)
	} else {
		e.bytes(c.Value)
	}
}

// op reads an operation; one inside a transaction may not be a transaction.
func (d *decoder) op(txn bool) Op {
	fields := d.array("op", 1, math.MaxInt)
	op := Op{Kind: OpKind(d.uint("kind", uint64(OpGet), uint64(OpTxn)))}
	if !d.ok() {
		return Op{}
	}
	if known := opFields[op.Kind]; fields != known {
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
	case OpPut:
		op.Value = d.view("value", ValueMax)
	case OpCompareAndSet:
		op.Value = d.view("value", ValueMax)
		op.Compares = []Compare{d.condition(op.Key)}
	case OpIncrement:
		op.Delta = d.int64("delta")
	}
	return op
}

// opFields is how many fields each kind has, itself included.
var opFields = [...]int{
	OpGet: 2, OpPut: 3, OpDelete: 2, OpCompareAndSet: 6, OpIncrement: 3, OpTxn: 4,
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
		d.exactly("compare", 4)
		compares = append(compares, d.condition(d.view("compare key", KeyMax)))
	}
	return compares
}

func (d *decoder) condition(key []byte) Compare {
	c := Compare{
		Key:      key,
		Target:   CompareTarget(d.uint("compare target", uint64(CompareValue), uint64(CompareVersion))),
		Relation: CompareRelation(d.uint("compare relation", uint64(Equal), uint64(Greater))),
	}
	if c.Target == CompareVersion {
		c.Version = d.uint64("compare version")
	} else {
		c.Value = d.view("compare value", ValueMax)
	}
	return c
}
