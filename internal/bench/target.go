package bench

import (
	"context"
	"errors"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Target carries out operations for the clients of one region.
type Target interface {
	// Start begins an operation, and calls done once with what became of it, perhaps before it returns. It may block
	// while the target has no room. The operation is the target's from then on. It is called by several goroutines.
	Start(ctx context.Context, op *wire.Op, done func(Answer))
}

// Answer is what became of an operation.
type Answer struct {
	Cause   string          // why there is no answer, as a word for a table; empty if the operation was executed
	Outcome clients.Outcome // of its effect
	Command bool            // it took an instance, so that Fast means something
	Fast    bool
	// Resolve asks what became of an effect that is unknown; nil if nobody can tell.
	Resolve func(context.Context) (clients.Outcome, error)
}

// Place says how a client serves the operations of a region.
type Place struct {
	Replica     clients.ReplicaID // the only one that serves them; 0 is the nearest
	Consistency clients.Consistency
}

// Client makes a client of the cluster a Target.
func Client(c *clients.Client, place Place) Target { return &client{c, place} }

type client struct {
	*clients.Client
	place Place
}

func (c *client) Start(ctx context.Context, op *wire.Op, done func(Answer)) {
	request := clients.Request{Payload: wire.AppendOp(nil, op), Replica: c.place.Replica}
	if op.Kind == wire.OpGet {
		request.ReadOnly, request.Consistency = true, c.place.Consistency
	}
	request.Done = func(reply clients.Reply, err error) { done(c.answer(reply, err, request.ReadOnly)) }
	c.Client.Start(ctx, request)
}

func (c *client) answer(reply clients.Reply, err error, reads bool) Answer {
	if err == nil {
		result, err := wire.DecodeResult(reply.Result)
		switch {
		case err != nil:
			return Answer{Cause: clients.CodeProtocol.String(), Outcome: clients.Applied}
		case result.Status != wire.OpOK:
			return Answer{Cause: "refused by the machine", Outcome: clients.NotApplied}
		}
		return Answer{Outcome: clients.Applied, Command: !reads, Fast: reply.Fast}
	}
	failed, ok := errors.AsType[*clients.Error](err)
	if !ok {
		return Answer{Cause: "other", Outcome: clients.Unknown}
	}
	a := Answer{Cause: failed.Code.String(), Outcome: failed.Outcome}
	if id := failed.Request; a.Outcome == clients.Unknown && !id.IsZero() {
		a.Resolve = func(ctx context.Context) (clients.Outcome, error) {
			resolution, err := c.Outcome(ctx, id)
			return resolution.Outcome, err
		}
	}
	return a
}
