package clients

import (
	"context"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Batch is operations that have nothing to do with each other but that they are sent together. Each takes effect, or
// does not, by itself and in no particular order; where all or none are to, use Txn. A Batch is not safe for concurrent
// use, and is sent once.
type Batch struct {
	client  *Client
	ctx     context.Context
	ops     []Op
	futures []*Future
	held    []*Future // ready, not sent yet
}

// BatchResult is what became of one operation of a Batch.
type BatchResult struct {
	Result
	Err error // an *Error, or nil
}

// Batch begins a batch. Nothing is sent before Do.
func (c *Client) Batch(ctx context.Context) *Batch { return &Batch{client: c, ctx: ctx} }

// Add adds operations.
func (b *Batch) Add(ops ...Op) *Batch {
	b.ops = append(b.ops, ops...)
	return b
}

// Do sends the operations in one flush, as far as WithInFlight allows, and waits for all. The results are in the order
// of Add. The error is that of the first operation that failed, nil if none did.
func (b *Batch) Do() ([]BatchResult, error) {
	for i := range b.ops {
		op := &b.ops[i].op
		f := &Future{client: b.client, ctx: b.ctx, kind: wire.RequestCommand, batch: b}
		f.request = Request{Payload: wire.AppendOp(nil, op), ReadOnly: readsOnly(op)}
		b.futures = append(b.futures, f)
		f.start()
	}
	b.flush()
	results := make([]BatchResult, len(b.futures))
	var first error
	for i, f := range b.futures {
		reply, err := f.Wait()
		if err == nil {
			var result wire.Result
			if result, err = decodeResult(&reply); err == nil {
				results[i].Result = publicResult(&result, reply)
			}
		}
		if results[i].Err = err; first == nil {
			first = err
		}
	}
	return results, first
}

// flush sends what is ready.
func (b *Batch) flush() {
	held := b.held
	b.held = nil
	if s := b.client.current.Load(); s == nil || !s.enqueue(held...) {
		for _, f := range held {
			b.client.place(f)
		}
	}
}
