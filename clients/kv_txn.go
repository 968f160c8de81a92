package clients

import (
	"context"
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Relation is how a key's value or version must relate to the one given.
type Relation uint8

const (
	Equal    = Relation(wire.Equal)
	NotEqual = Relation(wire.NotEqual)
	Less     = Relation(wire.Less)
	Greater  = Relation(wire.Greater)
)

// Compare is a condition on one key, or on a range of keys.
type Compare struct{ compare wire.Compare }

// CompareValue compares the bytes of a key's value. An absent key equals nothing.
func CompareValue(key string, relation Relation, value []byte) Compare {
	return Compare{wire.Compare{
		Key: []byte(key), Target: wire.CompareValue, Relation: wire.CompareRelation(relation), Value: value,
	}}
}

// CompareVersion compares the version of a key, as Result tells it; it is 0 for an absent key.
func CompareVersion(key string, relation Relation, version uint64) Compare {
	return Compare{wire.Compare{
		Key: []byte(key), Target: wire.CompareVersion, Relation: wire.CompareRelation(relation), Version: version,
	}}
}

// Exists holds if there is such a key.
func Exists(key string) Compare { return CompareVersion(key, Greater, 0) }

// Absent holds if there is no such key.
func Absent(key string) Compare { return CompareVersion(key, Equal, 0) }

// CompareCount compares the number of keys in a range. It reads no further than it must to decide; a range in
// which that is more than 16,384 keys, deleted ones included, is ErrLimit.
func CompareCount(span Span, relation Relation, count uint64) Compare {
	return Compare{wire.Compare{
		Key: []byte(span.From), End: []byte(span.End),
		Target: wire.CompareCount, Relation: wire.CompareRelation(relation), Version: count,
	}}
}

// Empty holds if there is no key in a range.
func Empty(span Span) Compare { return CompareCount(span, Equal, 0) }

// Op is an operation inside a transaction.
type Op struct{ op wire.Op }

// OpGet reads a key.
func OpGet(key string) Op { return Op{wire.Op{Kind: wire.OpGet, Key: []byte(key)}} }

// OpPut sets the value of a key.
func OpPut(key string, value []byte, options ...PutOption) Op {
	return Op{putOp(wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: value}, options)}
}

// OpDelete removes a key.
func OpDelete(key string) Op { return Op{wire.Op{Kind: wire.OpDelete, Key: []byte(key)}} }

// OpIncrement adds delta to the decimal value of a key.
func OpIncrement(key string, delta int64) Op {
	return Op{wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: delta}}
}

// OpPutIfAbsent creates a key, or else shows it, with Succeeded false.
func OpPutIfAbsent(key string, value []byte, options ...PutOption) Op {
	return Op{putOp(wire.Op{
		Kind: wire.OpCompareAndSet, Key: []byte(key), Value: value, Compares: []wire.Compare{Absent(key).compare},
	}, options)}
}

// OpAppend puts bytes behind the value of a key. All appends of one transaction together may make values of
// at most 256 KiB; one beyond has Succeeded false and writes nothing.
func OpAppend(key string, value []byte) Op {
	return Op{wire.Op{Kind: wire.OpAppend, Key: []byte(key), Value: value}}
}

// OpSwap sets the value of a key and returns the one that it had.
func OpSwap(key string, value []byte, options ...PutOption) Op {
	return Op{putOp(wire.Op{Kind: wire.OpSwap, Key: []byte(key), Value: value}, options)}
}

// OpTake removes a key and returns the value that it had.
func OpTake(key string) Op { return Op{wire.Op{Kind: wire.OpTake, Key: []byte(key)}} }

// OpAdd adds as Client.Add does. A transaction that does nothing else to the key does not interfere with
// others that add to it.
func OpAdd(key string, delta int64) Op {
	return Op{wire.Op{Kind: wire.OpAdd, Key: []byte(key), Delta: delta}}
}

// OpRange reads a range, as Client.Range does, into Result.Page.
func OpRange(span Span, options ...RangeOption) Op {
	return Op{rangeOp(wire.OpRange, span, new(Request), options)}
}

// OpDeleteRange deletes a range, as Client.DeleteRange does; Result.Page tells how many keys.
func OpDeleteRange(span Span) Op { return Op{rangeOp(wire.OpDeleteRange, span, nil, nil)} }

// Txn is a transaction under construction: if all compares hold, the operations of Then are
// carried out, else those of Else; all at one place in the order of commands.
type Txn struct {
	client *Client
	ctx    context.Context
	op     wire.Op
	cut    *Cut // where it reads; nil is the newest state
}

// Txn begins a transaction. Nothing is sent before Commit. It may have 128 conditions, and 128 operations in
// each branch. It interferes with whatever touches a key or range that one of them names, in either branch.
func (c *Client) Txn(ctx context.Context) *Txn {
	return &Txn{client: c, ctx: ctx, op: wire.Op{Kind: wire.OpTxn}}
}

// If adds conditions. A transaction without any succeeds.
func (t *Txn) If(compares ...Compare) *Txn {
	for _, compare := range compares {
		t.op.Compares = append(t.op.Compares, compare.compare)
	}
	return t
}

// Then adds operations for the case that all conditions hold.
func (t *Txn) Then(ops ...Op) *Txn {
	for _, op := range ops {
		t.op.Then = append(t.op.Then, op.op)
	}
	return t
}

// Else adds operations for the case that one does not.
func (t *Txn) Else(ops ...Op) *Txn {
	for _, op := range ops {
		t.op.Else = append(t.op.Else, op.op)
	}
	return t
}

// TxnResult is the answer to a transaction.
type TxnResult struct {
	Succeeded bool     // all compares held
	Results   []Result // of the operations carried out, in their order
	Replica   epaxos.ReplicaID
	Fast      bool
}

// Commit sends the transaction and waits for its result. A transaction that only reads is retried
// like Get.
func (t *Txn) Commit() (TxnResult, error) {
	var options []ReadOption
	if t.cut != nil {
		options = append(options, t.cut)
	}
	result, reply, err := t.client.execute(t.ctx, &t.op, t.cut != nil || t.readOnly(), options...)
	if err != nil {
		return TxnResult{}, err
	}
	branch := t.op.Else
	if result.Succeeded {
		branch = t.op.Then
	}
	if len(result.Results) != len(branch) { // callers index the results by their operations
		return TxnResult{}, &Error{
			Code: CodeProtocol, Outcome: Applied, Replica: reply.Replica,
			Detail: fmt.Sprintf("%d results for %d operations: does the replica run a key-value machine of this version?",
				len(result.Results), len(branch)),
		}
	}
	txn := TxnResult{
		Succeeded: result.Succeeded, Results: make([]Result, len(result.Results)),
		Replica: reply.Replica, Fast: reply.Fast,
	}
	for i := range result.Results {
		txn.Results[i] = publicResult(&result.Results[i], reply)
	}
	return txn, nil
}

// Payload is the transaction in the form that Client.Start takes, for who sends it under a name of its own or does not
// wait for it, or to find out what it touches (execution.KV.Footprint). Its answer is a wire form of the result that
// only Commit reads.
func (t *Txn) Payload() []byte { return wire.AppendOp(nil, &t.op) }

func (t *Txn) readOnly() bool {
	for _, ops := range [][]wire.Op{t.op.Then, t.op.Else} {
		for i := range ops {
			if !readsOnly(&ops[i]) {
				return false
			}
		}
	}
	return true
}
