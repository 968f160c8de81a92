package clients

import (
	"context"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Resolution is what became of a request whose outcome was unknown.
type Resolution struct {
	// Outcome is Applied or NotApplied, and will never be anything else. It is Unknown if nobody can tell any
	// more: the session has expired, or was closed, or has forgotten the request.
	Outcome Outcome
	// Result is the answer of the state machine to a request that was applied; nil if it is not kept any more.
	Result []byte
}

// Value is Result as the key-value machine means it.
func (r Resolution) Value() (Result, error) {
	result, err := wire.DecodeResult(r.Result)
	if err != nil {
		return Result{}, &Error{Code: CodeProtocol, Outcome: r.Outcome, Detail: err.Error(), causes: []error{err}}
	}
	return publicResult(&result, Reply{}), nil
}

// Outcome finds out what became of a request of this client or another, by the id that its Error or Future told. If it
// was not executed by now it never will be: whoever still waits for it is told so. An id of this client is known as
// long as 250 requests at least have not come after it; an id of any client until its session expires.
//
// It takes what a write takes. An error says that there is no answer, not that there is none to be had; that
// nobody can tell any more is ErrSessionExpired or ErrOutcomeForgotten.
func (c *Client) Outcome(ctx context.Context, id RequestID) (Resolution, error) {
	for {
		outcome, moved := c.ledger.recall(id)
		if outcome != 0 {
			return Resolution{Outcome: outcome}, nil
		}
		op := wire.SessionOp{Kind: wire.SessionSettle, Number: id.Number}
		_, result, err := c.operate(ctx, id.Session, &op)
		switch {
		case err != nil:
			return Resolution{Outcome: Unknown}, err
		case result.Gone:
			c.ledger.gone(id.Session)
			return Resolution{Outcome: Unknown}, unresolved(id, CodeSessionGone, "the session is gone")
		case result.Outcome == wire.OutcomeApplied, result.Outcome == wire.OutcomeNotApplied:
			c.ledger.settled(id)
			return Resolution{Outcome: Outcome(result.Outcome), Result: result.Result}, nil
		case moved == nil:
			return Resolution{Outcome: Unknown}, unresolved(id, CodeSessionCovered, "the session has forgotten the request")
		}
		select { // a checkpoint is under way whose answer tells
		case <-moved:
		case <-ctx.Done():
			return Resolution{Outcome: Unknown}, ctx.Err()
		}
	}
}

func unresolved(id RequestID, code Code, detail string) *Error {
	return &Error{Code: code, Outcome: Unknown, Request: id, Detail: detail}
}

// recall returns what a checkpoint has told of a request, or else, if one may tell yet, what will be closed then.
func (l *ledger) recall(id RequestID) (Outcome, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if outcome := l.resolved[id]; outcome != 0 {
		return outcome, nil
	}
	if id.Session != l.session || id.Number < l.floor || id.Number >= l.next {
		return 0, nil
	}
	return 0, l.moved
}

// settled notes that the outcome of a request that was given up is known to who asked.
func (l *ledger) settled(id RequestID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id.Session == l.session && id.Number >= l.floor && id.Number < l.next && *l.state(id.Number) == numberLost {
		*l.state(id.Number) = numberDone
		l.lost--
		l.advance()
	}
}

// operate carries out an operation on a session. It may be carried out more than once.
func (c *Client) operate(ctx context.Context, id SessionID, op *wire.SessionOp) (*Future, wire.SessionResult, error) {
	f := &Future{
		client: c, ctx: ctx, request: Request{Payload: wire.AppendSessionOp(nil, op)}, kind: wire.RequestSession,
	}
	f.id.Store(&RequestID{Session: id})
	f.start()
	reply, err := f.Wait()
	if err != nil {
		return f, wire.SessionResult{}, err
	}
	result, err := wire.DecodeSessionResult(reply.Result)
	if err != nil {
		return f, wire.SessionResult{}, &Error{
			Code: CodeProtocol, Outcome: Unknown, Replica: reply.Replica,
			Detail: "the answer of the session cannot be read: " + err.Error(), causes: []error{err},
		}
	}
	return f, result, nil
}

// Sessions by hand, for programs that outlive their processes: one opens a session and writes its id down, another
// sends requests with numbers of its own (Request.ID) or asks for their outcomes.

// OpenSession opens a session that expires after ttl without KeepSession. This client does not look after it.
func (c *Client) OpenSession(ctx context.Context, ttl time.Duration) (SessionID, error) {
	op := wire.SessionOp{Kind: wire.SessionOpen, TTL: uint64(max(ttl.Milliseconds(), 1))} //nolint:gosec // positive
	_, result, err := c.operate(ctx, SessionID{}, &op)
	return result.ID, err
}

// KeepSession tells that somebody still needs a session.
func (c *Client) KeepSession(ctx context.Context, id SessionID) error {
	return c.sessionOp(ctx, id, wire.SessionOp{Kind: wire.SessionKeep})
}

// CheckpointSession lets a session forget the requests below a number: their answers are known, or nobody wants
// them. It remembers 1024 at most.
func (c *Client) CheckpointSession(ctx context.Context, id SessionID, number uint64) error {
	return c.sessionOp(ctx, id, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: number})
}

// CloseSession ends a session. Outcomes of its requests that are unknown stay so.
func (c *Client) CloseSession(ctx context.Context, id SessionID) error {
	_, _, err := c.operate(ctx, id, &wire.SessionOp{Kind: wire.SessionClose})
	return err
}

func (c *Client) sessionOp(ctx context.Context, id SessionID, op wire.SessionOp) error {
	_, result, err := c.operate(ctx, id, &op)
	if err == nil && result.Gone {
		return &Error{Code: CodeSessionGone, Outcome: NotApplied, Detail: "the session expired, was closed, or never was"}
	}
	return err
}

// Session returns the id of the session in which this client writes now; the zero id before its first write.
func (c *Client) Session() SessionID {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	return c.ledger.session
}

// Token names all that this client has seen: what it wrote and what it read.
func (c *Client) Token() Token {
	c.seenMu.Lock()
	defer c.seenMu.Unlock()
	return c.seen.clone()
}

// Observe makes the session reads of this client show all that a token names.
func (c *Client) Observe(t Token) {
	c.seenMu.Lock()
	c.seen.merge(t.token)
	c.seenMu.Unlock()
}

// saw takes in the token of an answer. Nonsense is left alone: the answer stands without.
func (c *Client) saw(token []byte) {
	if len(token) == 0 {
		return
	}
	t, err := wire.DecodeToken(token)
	if err != nil {
		return
	}
	c.seenMu.Lock()
	c.seen.token.Raise(t)
	c.seenMu.Unlock()
}
