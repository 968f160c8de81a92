package clients

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Request is one operation on the replicated state machine.
type Request struct {
	// Payload goes to the state machine as it is. The client keeps it: it must not change any more,
	// because an operation that was given up may still be on its way.
	Payload []byte
	// ReadOnly promises that the payload changes nothing.
	ReadOnly bool
	// Consistency is what a request that only reads may show; Linearizable if 0.
	Consistency Consistency
	// Token, with Session, is what the read has to show beside what the client has seen.
	Token Token
	// Cut, if not zero, is where a request that only reads is served, whatever Consistency says; see Client.Cut.
	Cut CutID
	// ID, if not zero, names a request that may change the state in a session that the caller looks after, see
	// Client.OpenSession. It must name no other request ever. Otherwise the client's own session names it.
	ID RequestID
	// Replica, if not 0, is the only replica that may serve the operation.
	Replica epaxos.ReplicaID
	// Done, if set, is called once with what Wait would return, by a goroutine of the client. It
	// must not block, and must not call Start: it holds up the answers that come after.
	Done func(Reply, error)
}

// Reply is the answer of the state machine.
type Reply struct {
	Result  []byte           // owned by the caller
	Replica epaxos.ReplicaID // which replica led the command
	Fast    bool             // the command was committed on the fast path
	// Age is of stale reads: everything that was answered anywhere before that long ago is shown. It is negative if
	// the replica cannot tell.
	Age time.Duration
}

// The life of an operation. Who moves it to finished, and nobody else, delivers its answer: the
// session's reader, the keeper at its deadline, or the caller when its context ends.
//
//	queued ⇄ sent
//	   ↘     ↙
//	  finished
const (
	stateQueued   uint32 = iota // nobody but this client knows of it
	stateSent                   // given to a stream: its effect is out of our hands
	stateFinished               // reply and err are final
)

// Future is an operation under way. Its methods are safe for concurrent use.
type Future struct {
	client   *Client
	ctx      context.Context
	request  Request
	kind     wire.RequestKind
	deadline time.Time
	id       atomic.Pointer[RequestID] // what the cluster knows it by; nil if by nothing

	// uncertain: a copy was sent of which nobody has told that it had no effect, beside the one under way.
	uncertain atomic.Bool

	state   atomic.Uint32
	replica atomic.Uint32 // last sent to
	ready   chan struct{} // closed when finished; nil if Request.Done is set
	reply   Reply
	err     *Error

	batch    *Batch // with others of which it is sent; nil if alone
	observed func() // tells the observer of the end; may be nil
	copies   atomic.Int32

	// Retries. One goroutine at a time has these: whoever moved the operation to queued.
	attempts  int
	avoid     epaxos.ReplicaID
	notBefore time.Time
	without   []epaxos.ReplicaID    // replicas that do not hold the cut at which it reads
	hopeless  bool                  // and no other was connected when the last of them said so
	refusal   atomic.Pointer[Error] // the last, by a replica that did nothing
}

// Done is closed when the operation has finished. It is nil if Request.Done was given.
func (f *Future) Done() <-chan struct{} { return f.ready }

// Wait returns the answer as soon as there is one, and at the latest when the context or the
// deadline of the operation ends. The error, if any, is an *Error. Wait must not be called if
// Request.Done was given.
func (f *Future) Wait() (Reply, error) {
	select {
	case <-f.ready:
	case <-f.ctx.Done():
		f.expire(f.ctx.Err())
		<-f.ready
	}
	if f.err != nil {
		return Reply{}, f.err
	}
	return f.reply, nil
}

// RequestID names the operation at the cluster, see Client.Outcome. It is zero for what only reads, before there is a
// session, and where the client has none. The name of an operation that was never sent may change.
func (f *Future) RequestID() RequestID {
	if id := f.id.Load(); id != nil {
		return *id
	}
	return RequestID{}
}

// takeName takes the name that the caller gives, if any.
func (f *Future) takeName() *Error {
	if f.kind != wire.RequestCommand {
		return nil
	}
	if given, ok := f.ctx.Value(nameKey{}).(*name); ok && f.request.ID.IsZero() {
		if given.used.Swap(true) {
			return f.failure(stateQueued, CodeInvalid,
				fmt.Sprintf("the name %v is that of another request under the same context", given.id), nil)
		}
		f.request.ID = given.id
	}
	if !f.request.ID.IsZero() {
		f.id.Store(&f.request.ID)
		f.uncertain.Store(true) // it may have been sent by whoever had the name before
	}
	return nil
}

// once reports whether the client's session is to name the operation.
func (f *Future) once() bool {
	return f.kind == wire.RequestCommand && f.client.options.sessionTTL > 0 && f.request.ID.IsZero()
}

// polls reports whether the operation is a poll of a watch. It is open for long if all is well.
func (f *Future) polls() bool { return f.kind == wire.RequestWatch }

// repeats reports whether copies of the operation do no harm.
func (f *Future) repeats() bool { return f.request.ReadOnly || f.id.Load() != nil }

// start admits the operation and hands it to a replica.
func (f *Future) start() {
	c := f.client
	if f.request.Done == nil {
		f.ready = make(chan struct{})
	}
	if f.kind == wire.RequestCommand && f.request.ReadOnly {
		f.kind = wire.RequestRead
	}
	f.observe()
	if err := f.takeName(); err != nil {
		f.refuse(err)
		return
	}
	if err := f.admit(); err != nil {
		f.refuse(err)
		return
	}
	if c.asleep.Load() && c.asleep.CompareAndSwap(true, false) {
		c.wakeKeeper()
	}
	if !c.named(f) {
		c.putAside(f)
		return
	}
	if f.batch != nil {
		f.batch.held = append(f.batch.held, f)
		return
	}
	chosen := f.request.Replica != 0 || f.request.Consistency == Stale || !f.request.Cut.IsZero()
	if s := c.current.Load(); chosen || s == nil || !s.enqueue(f) {
		c.place(f)
	}
}

// admit checks the operation, sets its deadline and waits for a slot. Nothing is sent before, so
// every refusal says "not applied".
func (f *Future) admit() *Error {
	c := f.client
	if size := len(f.request.Payload); size > PayloadMax {
		return f.failure(stateQueued, CodeInvalid,
			fmt.Sprintf("payload of %d bytes: at most %d are possible", size, PayloadMax), nil)
	}
	now := time.Now()
	deadline, ok := f.ctx.Deadline()
	if !ok {
		deadline = now.Add(c.options.timeout)
	}
	f.deadline = deadline
	if err := f.overdue(now); err != nil {
		return f.late(err)
	}
	switch f.kind {
	case wire.RequestSession: // those that have slots may wait for it
		c.operating.Add(1)
		return nil
	case wire.RequestWatch: // it may stay open for long, and costs the keeper nothing
		return nil
	default:
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	if f.batch != nil {
		f.batch.flush() // what it holds has slots that others wait for
	}
	timer := time.NewTimer(deadline.Sub(now))
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-f.ctx.Done():
		return f.late(f.ctx.Err())
	case <-timer.C:
		return f.late(context.DeadlineExceeded)
	case <-c.ctx.Done():
		return f.failure(stateQueued, CodeClosed, "the client was closed", []error{ErrClosed})
	}
}

func (f *Future) late(cause error) *Error {
	code, detail := describeEnd(cause)
	return f.failure(stateQueued, code, detail+" before it was sent", []error{cause})
}

// refuse finishes an operation that was not admitted, so holds no slot.
func (f *Future) refuse(err *Error) {
	f.state.Store(stateFinished)
	f.err = err
	f.deliver()
}

func (f *Future) deliver() {
	if f.observed != nil {
		f.observed()
	}
	switch {
	case f.request.Done == nil:
		close(f.ready)
	case f.err != nil:
		f.request.Done(Reply{}, f.err)
	default:
		f.request.Done(f.reply, nil)
	}
}

// finished reports whether the answer is final.
func (f *Future) finished() bool { return f.state.Load() == stateFinished }

// finish delivers the answer if the operation is still in state from.
func (f *Future) finish(from uint32, reply Reply, err *Error) bool {
	if !f.state.CompareAndSwap(from, stateFinished) {
		return false
	}
	f.reply, f.err = reply, err
	switch f.kind {
	case wire.RequestSession:
		f.client.operating.Add(-1)
	case wire.RequestWatch:
	default:
		<-f.client.slots
	}
	if id := f.id.Load(); id != nil && f.once() {
		f.client.ledger.end(*id, err != nil && err.Outcome == Unknown)
	}
	f.deliver()
	return true
}

// fail finishes the operation with an error of the client itself. The outcome follows from the
// state: what was never sent, or only reads, has no effect.
func (f *Future) fail(code Code, detail string, causes ...error) {
	for {
		state := f.state.Load()
		if state == stateFinished {
			return
		}
		if f.finish(state, Reply{}, f.failure(state, code, detail, causes)) {
			return
		}
	}
}

func (f *Future) failure(state uint32, code Code, detail string, causes []error) *Error {
	err := &Error{
		Code: code, Outcome: f.outcome(state), Replica: epaxos.ReplicaID(f.replica.Load()),
		Request: f.RequestID(), Detail: detail, causes: causes,
	}
	if f.once() && err.Request.IsZero() {
		if failed := f.client.ledger.failed.Load(); failed != nil {
			err.Detail += "; no session could be opened: " + failed.Error()
			err.causes = append(err.causes, failed)
		}
	}
	err.Retryable = err.Outcome == NotApplied && code != CodeInvalid && code != CodeClosed && code != CodeCutGone
	if refusal := f.refusal.Load(); refusal != nil {
		err.Detail += fmt.Sprintf(" (replica %d refused before: %s: %s)", refusal.Replica, refusal.Code, refusal.Detail)
		err.causes = append(err.causes, refusal)
	}
	return err
}

func (f *Future) outcome(state uint32) Outcome {
	if f.request.ReadOnly || state == stateQueued && !f.uncertain.Load() {
		return NotApplied
	}
	return Unknown
}

// expire finishes the operation because its context or its deadline has ended.
func (f *Future) expire(cause error) {
	code, detail := describeEnd(cause)
	f.fail(code, detail+" without an answer", cause)
}

func describeEnd(cause error) (Code, string) {
	if errors.Is(cause, context.Canceled) {
		return CodeCanceled, "the caller's context was cancelled"
	}
	return CodeTimeout, "the deadline passed"
}

// overdue returns why the operation must end now, or nil.
func (f *Future) overdue(now time.Time) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	if !now.Before(f.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// takeBack returns a sent operation to the queue, if it may be sent again.
func (f *Future) takeBack() bool {
	if !f.repeats() {
		return false
	}
	if !f.request.ReadOnly {
		f.uncertain.Store(true) // first: from then on anyone may end it, and has to say what is known
	}
	return f.state.CompareAndSwap(stateSent, stateQueued)
}
