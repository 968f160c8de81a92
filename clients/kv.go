package clients

import (
	"context"
	"fmt"
	"strconv"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Result is the answer of the key-value machine to one operation.
type Result struct {
	// Succeeded is false if a compare-and-set found something else and wrote nothing; Value and
	// Version then tell what it found. Inside a transaction it is also false for an increment of
	// what is not a number.
	Succeeded bool
	// Found: the key exists after the operation; for Delete: it existed before.
	Found bool
	// Value after the operation, of Get, Increment and a compare-and-set that found something else.
	Value []byte
	// Omitted: the operation was done, but its Value is left out, because the values that the
	// transaction returns exceed 512 KiB. Read the key by itself.
	Omitted bool
	// Version is the number of writes since the key was created; 0 if it does not exist.
	Version uint64

	Replica epaxos.ReplicaID // which replica led the command
	Fast    bool             // the command was committed on the fast path
}

// Int is Value as a number, for counters.
func (r Result) Int() (int64, error) { return strconv.ParseInt(string(r.Value), 10, 64) }

// Get returns the value of a key. The read is linearizable.
func (c *Client) Get(ctx context.Context, key string) (Result, error) {
	return c.apply(ctx, &wire.Op{Kind: wire.OpGet, Key: []byte(key)})
}

// Put sets the value of a key.
func (c *Client) Put(ctx context.Context, key string, value []byte) (Result, error) {
	return c.apply(ctx, &wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: value})
}

// Delete removes a key. Deleting what is not there succeeds, with Found false.
func (c *Client) Delete(ctx context.Context, key string) (Result, error) {
	return c.apply(ctx, &wire.Op{Kind: wire.OpDelete, Key: []byte(key)})
}

// Increment adds delta, modulo 2^64, to the decimal value of a key; an absent key counts as 0.
// Result.Value is the sum. A value that is not a number is ErrWrongType, and nothing is written.
func (c *Client) Increment(ctx context.Context, key string, delta int64) (Result, error) {
	return c.apply(ctx, &wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: delta})
}

// CompareAndSet sets the value of a key if its value is old. An absent key has no value: to
// create a key use CompareVersionAndSet with version 0.
func (c *Client) CompareAndSet(ctx context.Context, key string, old, value []byte) (Result, error) {
	return c.compareAndSet(ctx, CompareValue(key, Equal, old), value)
}

// CompareVersionAndSet sets the value of a key if its version is the given one; 0 is that of a
// key that does not exist.
func (c *Client) CompareVersionAndSet(
	ctx context.Context, key string, version uint64, value []byte,
) (Result, error) {
	return c.compareAndSet(ctx, CompareVersion(key, Equal, version), value)
}

func (c *Client) compareAndSet(ctx context.Context, compare Compare, value []byte) (Result, error) {
	return c.apply(ctx, &wire.Op{
		Kind: wire.OpCompareAndSet, Key: compare.compare.Key, Value: value,
		Compares: []wire.Compare{compare.compare},
	})
}

// apply sends one operation and waits for its result.
func (c *Client) apply(ctx context.Context, op *wire.Op) (Result, error) {
	result, reply, err := c.execute(ctx, op, op.Kind == wire.OpGet)
	if err != nil {
		return Result{}, err
	}
	return publicResult(&result, reply), nil
}

func (c *Client) execute(ctx context.Context, op *wire.Op, readOnly bool) (wire.Result, Reply, error) {
	payload := wire.AppendOp(nil, op)
	reply, err := c.Start(ctx, Request{Payload: payload, ReadOnly: readOnly}).Wait()
	if err != nil {
		return wire.Result{}, Reply{}, err
	}
	result, err := wire.DecodeResult(reply.Result)
	if err != nil {
		return wire.Result{}, Reply{}, &Error{
			Code: CodeProtocol, Outcome: Applied, Replica: reply.Replica,
			Detail: "the result cannot be read: does the cluster run the key-value machine? " + err.Error(),
			causes: []error{err},
		}
	}
	if result.Status == wire.OpWrongType {
		return wire.Result{}, Reply{}, &Error{
			Code: CodeInvalid, Outcome: NotApplied, Replica: reply.Replica,
			Detail: ErrWrongType.Error(), causes: []error{ErrWrongType},
		}
	}
	return result, reply, nil
}

func publicResult(r *wire.Result, reply Reply) Result {
	return Result{
		Succeeded: r.Status == wire.OpOK || r.Status == wire.OpTooLarge, Omitted: r.Status == wire.OpTooLarge,
		Found: r.Found, Value: r.Value, Version: r.Version,
		Replica: reply.Replica, Fast: reply.Fast,
	}
}

// Relation is how a key's value or version must relate to the one given.
type Relation uint8

const (
	Equal    = Relation(wire.Equal)
	NotEqual = Relation(wire.NotEqual)
	Less     = Relation(wire.Less)
	Greater  = Relation(wire.Greater)
)

// Compare is a condition on one key.
type Compare struct{ compare wire.Compare }

// CompareValue compares the bytes of a key's value. An absent key equals nothing.
func CompareValue(key string, relation Relation, value []byte) Compare {
	return Compare{wire.Compare{
		Key: []byte(key), Target: wire.CompareValue, Relation: wire.CompareRelation(relation), Value: value,
	}}
}

// CompareVersion compares the number of writes since a key was created; it is 0 for an absent key.
func CompareVersion(key string, relation Relation, version uint64) Compare {
	return Compare{wire.Compare{
		Key: []byte(key), Target: wire.CompareVersion, Relation: wire.CompareRelation(relation), Version: version,
	}}
}

// Op is an operation inside a transaction.
type Op struct{ op wire.Op }

// OpGet reads a key.
func OpGet(key string) Op { return Op{wire.Op{Kind: wire.OpGet, Key: []byte(key)}} }

// OpPut sets the value of a key.
func OpPut(key string, value []byte) Op {
	return Op{wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: value}}
}

// OpDelete removes a key.
func OpDelete(key string) Op { return Op{wire.Op{Kind: wire.OpDelete, Key: []byte(key)}} }

// OpIncrement adds delta to the decimal value of a key.
func OpIncrement(key string, delta int64) Op {
	return Op{wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: delta}}
}

// Txn is a transaction under construction: if all compares hold, the operations of Then are
// carried out, else those of Else; all at one place in the order of commands.
type Txn struct {
	client *Client
	ctx    context.Context
	op     wire.Op
}

// Txn begins a transaction. Nothing is sent before Commit.
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
	result, reply, err := t.client.execute(t.ctx, &t.op, t.readOnly())
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

func (t *Txn) readOnly() bool {
	for _, ops := range [][]wire.Op{t.op.Then, t.op.Else} {
		for i := range ops {
			if ops[i].Kind != wire.OpGet {
				return false
			}
		}
	}
	return true
}
