package clients

import (
	"context"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Pending is an operation of the key-value machine under way: a Future that knows what the answer means.
type Pending struct{ future *Future }

// Begin starts one operation and returns at once, unless as many as WithInFlight allows are open: then it waits until
// one of them ends, or its own context does. So whoever begins faster than the cluster carries out is slowed down, and
// memory stays bounded. Options choose what a read may show; a change heeds none.
//
// Operations that one goroutine has begun may take effect in any order.
func (c *Client) Begin(ctx context.Context, op Op, options ...ReadOption) *Pending {
	request := Request{Payload: wire.AppendOp(nil, &op.op), ReadOnly: readsOnly(&op.op)}
	if request.ReadOnly {
		for _, option := range options {
			option.read(&request)
		}
	}
	return &Pending{c.Start(ctx, request)}
}

// Done is closed when the operation has ended.
func (p *Pending) Done() <-chan struct{} { return p.future.Done() }

// Wait waits for the end of the operation. Its error is an *Error, or nil. It may be called more than once.
func (p *Pending) Wait() (Result, error) {
	reply, err := p.future.Wait()
	if err != nil {
		return Result{}, err
	}
	result, err := decodeResult(&reply)
	if err != nil {
		return Result{}, err
	}
	return publicResult(&result, reply), nil
}

// RequestID is the name of the operation for Outcome; zero if the cluster knows it by none.
func (p *Pending) RequestID() RequestID { return p.future.RequestID() }
