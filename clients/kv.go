package clients

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Result is the answer of the key-value machine to one operation.
type Result struct {
	// Succeeded is false if a compare-and-set or a PutIfAbsent found something else and wrote nothing;
	// Value and Version then tell what it found. Inside a transaction it is also false for an increment
	// or add to what is not a number, and for an append beyond a limit.
	Succeeded bool
	// Found: the key exists after the operation; for Delete, Swap and Take: it existed before.
	Found bool
	// Value after the operation, of Get, Increment and a compare-and-set that found something else; before
	// it, of Swap and Take.
	Value []byte
	// Omitted: the operation was done, but its Value is left out, because the values that the
	// transaction returns exceed 512 KiB. Read the key by itself.
	Omitted bool
	// Version is the number of changes of the key, deletes included, up to and with this operation. It
	// advances by one with each change and never repeats: a key that is put again after a delete
	// goes on where it stopped, unless it was forgotten (Client.Forget). It is 0 for a key that does not
	// exist, and for Add, which does not tell.
	Version uint64
	// Lease is what the key ends with, of Get and of a compare-and-set or PutIfAbsent that found something else; the
	// zero id if it is under none.
	Lease LeaseID
	// LeaseGone: an operation in a transaction wrote nothing, because there is no such lease.
	LeaseGone bool
	// Page is the answer of OpRange and OpDeleteRange, in transactions.
	Page Page

	Replica epaxos.ReplicaID // which replica answered
	Fast    bool             // the command was committed on the fast path; false for reads without a command
	Age     time.Duration    // of stale reads, see Reply
}

// Int is Value as a number, for counters.
func (r Result) Int() (int64, error) { return strconv.ParseInt(string(r.Value), 10, 64) }

// Get returns the value of a key. The read is linearizable, unless options say otherwise: Session, Stale, a Token.
// No read waits for another, nor any write for a read.
func (c *Client) Get(ctx context.Context, key string, options ...ReadOption) (Result, error) {
	return c.apply(ctx, wire.Op{Kind: wire.OpGet, Key: []byte(key)}, options...)
}

// Put sets the value of a key, of at most 256 KiB. Like every change but Add it interferes with all
// operations on the key. Without WithLease the key is under no lease any more.
func (c *Client) Put(ctx context.Context, key string, value []byte, options ...PutOption) (Result, error) {
	return c.apply(ctx, OpPut(key, value, options...).op)
}

// PutIfAbsent creates a key. If it exists, Succeeded is false, and Value, Version and Lease tell what is there.
func (c *Client) PutIfAbsent(ctx context.Context, key string, value []byte, options ...PutOption) (Result, error) {
	return c.apply(ctx, OpPutIfAbsent(key, value, options...).op)
}

// Append puts bytes behind the value of a key; an absent key counts as empty. A value that would get longer
// than 256 KiB is ErrLimit, and nothing is written.
func (c *Client) Append(ctx context.Context, key string, value []byte) (Result, error) {
	return c.apply(ctx, OpAppend(key, value).op)
}

// Swap sets the value of a key and returns the one that it had; Found tells whether there was one.
func (c *Client) Swap(ctx context.Context, key string, value []byte, options ...PutOption) (Result, error) {
	return c.apply(ctx, OpSwap(key, value, options...).op)
}

// Take removes a key and returns the value that it had; Found tells whether there was one.
func (c *Client) Take(ctx context.Context, key string) (Result, error) {
	return c.apply(ctx, OpTake(key).op)
}

// Delete removes a key. Deleting what is not there succeeds, with Found false.
func (c *Client) Delete(ctx context.Context, key string) (Result, error) {
	return c.apply(ctx, OpDelete(key).op)
}

// Increment adds delta, modulo 2^64, to the decimal value of a key; an absent key counts as 0.
// Result.Value is the sum. A value that is not a number is ErrWrongType, and nothing is written.
//
// Because it tells the sum, increments of one key wait for each other. If nobody needs the sum, use Add.
func (c *Client) Increment(ctx context.Context, key string, delta int64) (Result, error) {
	return c.apply(ctx, OpIncrement(key, delta).op)
}

// Add adds as Increment does, and tells neither the sum nor the version. So adds to one key interfere with
// reads and other changes of it, but not with each other: from any number of regions at once each takes
// one round trip to the nearest quorum, as if it had the key for itself.
func (c *Client) Add(ctx context.Context, key string, delta int64) (Result, error) {
	return c.apply(ctx, OpAdd(key, delta).op)
}

// CompareAndSet sets the value of a key if its value is old. An absent key has no value: to
// create a key use PutIfAbsent.
func (c *Client) CompareAndSet(
	ctx context.Context, key string, old, value []byte, options ...PutOption,
) (Result, error) {
	return c.compareAndSet(ctx, CompareValue(key, Equal, old), value, options)
}

// CompareVersionAndSet sets the value of a key if its version is the given one; 0 is that of a
// key that does not exist. Versions never repeat, so of all that compare with one version, other than 0, at
// most one succeeds.
func (c *Client) CompareVersionAndSet(
	ctx context.Context, key string, version uint64, value []byte, options ...PutOption,
) (Result, error) {
	return c.compareAndSet(ctx, CompareVersion(key, Equal, version), value, options)
}

func (c *Client) compareAndSet(
	ctx context.Context, compare Compare, value []byte, options []PutOption,
) (Result, error) {
	return c.apply(ctx, putOp(wire.Op{
		Kind: wire.OpCompareAndSet, Key: compare.compare.Key, Value: value,
		Compares: []wire.Compare{compare.compare},
	}, options))
}

// apply sends one operation and waits for its result.
func (c *Client) apply(ctx context.Context, op wire.Op, options ...ReadOption) (Result, error) {
	result, reply, err := c.execute(ctx, &op, readsOnly(&op), options...)
	if err != nil {
		return Result{}, err
	}
	return publicResult(&result, reply), nil
}

func (c *Client) execute(
	ctx context.Context, op *wire.Op, readOnly bool, options ...ReadOption,
) (wire.Result, Reply, error) {
	request := Request{Payload: wire.AppendOp(nil, op), ReadOnly: readOnly}
	for _, option := range options {
		option.read(&request)
	}
	reply, err := c.Start(ctx, request).Wait()
	if err != nil {
		return wire.Result{}, Reply{}, err
	}
	result, err := decodeResult(&reply)
	return result, reply, err
}

// decodeResult reads the answer of the key-value machine. The error is also that of the machine.
func decodeResult(reply *Reply) (wire.Result, error) {
	result, err := wire.DecodeResult(reply.Result)
	if err != nil {
		return wire.Result{}, &Error{
			Code: CodeProtocol, Outcome: Applied, Replica: reply.Replica,
			Detail: "the result cannot be read: does the cluster run the key-value machine? " + err.Error(),
			causes: []error{err},
		}
	}
	var cause error
	switch result.Status {
	case wire.OpWrongType:
		cause = ErrWrongType
	case wire.OpLimited:
		cause = ErrLimit
	case wire.OpLeaseGone:
		cause = ErrLeaseGone
	}
	if cause != nil {
		return wire.Result{}, &Error{
			Code: CodeInvalid, Outcome: NotApplied, Replica: reply.Replica,
			Detail: cause.Error(), causes: []error{cause},
		}
	}
	return result, nil
}

// ErrLimit matches the errors of requests that nothing was done for, because a value would have become longer
// than 256 KiB, one request would have appended to more bytes than that, a condition would have counted
// more keys than one request may look at, or a lease would have had more keys than one may have.
var ErrLimit = errors.New("a value would exceed 256 KiB, a condition would have to count too many keys, or a lease " +
	"has 512 keys or 64 KiB of their names already")

// readsOnly reports whether an operation changes nothing, so that it may be repeated.
func readsOnly(op *wire.Op) bool { return op.Kind == wire.OpGet || op.Kind == wire.OpRange }

func publicResult(r *wire.Result, reply Reply) Result {
	return Result{
		Succeeded: r.Status == wire.OpOK || r.Status == wire.OpTooLarge, Omitted: r.Status == wire.OpTooLarge,
		Found: r.Found, Value: r.Value, Version: r.Version, Page: publicPage(r, reply),
		Lease: r.Lease, LeaseGone: r.Status == wire.OpLeaseGone,
		Replica: reply.Replica, Fast: reply.Fast, Age: reply.Age,
	}
}
