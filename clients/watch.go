package clients

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Point is the span of one key.
func Point(key string) Span { return Span{From: key, End: key + "\x00"} }

// EventType says what an Event tells.
type EventType uint8

// The types of events.
const (
	EventPut    = EventType(wire.WatchPut)    // the key was set to Value, at Version
	EventDelete = EventType(wire.WatchDelete) // the key was deleted, at Version
	EventAdd    = EventType(wire.WatchAdd)    // Delta was added to the number that the key holds
	EventState  = EventType(wire.WatchState)  // the key holds Value, at Version

	// EventCurrent: all that was told until here is the state of the whole span as of one point. It follows the last
	// EventState, and tells of no key.
	EventCurrent EventType = 128
	// EventResync: no connected replica could tell all that has changed since the last event, most likely because the
	// consumer was slow. What follows, up to EventCurrent, is the state of the whole span: forget what you have.
	EventResync EventType = 129
)

// String is a word for people and logs.
func (t EventType) String() string {
	switch t {
	case EventPut:
		return "put"
	case EventDelete:
		return "delete"
	case EventAdd:
		return "add"
	case EventState:
		return "state"
	case EventCurrent:
		return "current"
	case EventResync:
		return "resync"
	default:
		return fmt.Sprintf("event(%d)", uint8(t))
	}
}

// ChangeID names one change of one key for ever, alike at every replica.
type ChangeID struct {
	Instance epaxos.InstanceID // that made the change
	Index    uint32            // of the change among those of the instance
}

// Event is one change of one key of a watched span, or a part of its state.
type Event struct {
	Type    EventType
	Key     string
	Value   []byte
	Version uint64 // 0 with EventAdd: which version an add makes depends on other adds, in no order that is agreed
	Delta   int64
	Change  ChangeID // of EventPut, EventDelete and EventAdd
}

// WatchOption says how a watch begins.
type WatchOption interface{ watch(w *Watch) }

type watchOption func(*Watch)

func (o watchOption) watch(w *Watch) { o(w) }

// WithState makes a watch begin with the keys as they stand: EventState for each, ascending, then EventCurrent, then
// the changes since. While the state is told, changes of keys that were told already may come in between.
func WithState() WatchOption { return watchOption(func(w *Watch) { w.withState = true }) }

// FromToken makes a watch go on where another one was, of this client or any other: it tells everything that the other
// had not told, and nothing else. The span must be the same.
func FromToken(token WatchToken) WatchOption {
	return watchOption(func(w *Watch) { w.token, w.begun = token.clone(), true })
}

const (
	// watchWait is how long a poll stays open while nothing changes.
	watchWait = 10 * time.Second
	// watchSlack is how much longer the client waits for the answer.
	watchSlack = 5 * time.Second
	// watchElsewhere bounds the question whether another replica can tell what one has forgotten.
	watchElsewhere = 2 * time.Second
)

// Watch tells the changes of a span of keys, those of each key in their order, each once. It is not safe for
// concurrent use.
//
// It costs nothing between two calls of Next: no goroutine, no memory at a replica. So a consumer that is slow costs
// nobody anything. Replicas keep the last changes, 64 MiB of them unless configured otherwise; who stays
// behind them is told so by EventResync.
//
// The changes of one key come in the order of its versions, without gaps but for adds: the versions that are missing
// between two events are as many as there are EventAdd between them. The changes that one command makes come together
// and in order. There is no order between changes of different keys by different commands, and no revision of the whole
// store: such commands do not interfere, so there is no order of them that the replicas would agree about.
//
// Connections, replicas and members may come and go meanwhile: no change is lost or told twice.
type Watch struct {
	client    *Client
	span      Span
	withState bool
	begun     bool // token says where it is

	token   WatchToken // names what Next has returned
	pending []wire.WatchEvent
	marker  EventType // to follow pending; 0 is none
	after   WatchToken
}

// Watch begins to watch the keys of a span. It returns once a replica has said where the watch begins: every change
// that somebody asks for afterwards is told, and what is not told any more is shown by every linearizable read that
// begins afterwards. So who watches first and reads then misses nothing. The beginning shows everything that this
// client has read or written before: what is told is never older than what the client has seen. The context bounds
// the call, not the watch.
func (c *Client) Watch(ctx context.Context, span Span, options ...WatchOption) (*Watch, error) {
	if span.End != "" && span.End <= span.From {
		return nil, &Error{
			Code: CodeInvalid, Outcome: NotApplied,
			Detail: fmt.Sprintf("no key is between %q and %q", span.From, span.End),
		}
	}
	w := &Watch{client: c, span: span}
	for _, option := range options {
		option.watch(w)
	}
	for !w.begun {
		if err := w.poll(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Next returns the next event, and waits for it. The context bounds this call alone: after its end nothing is lost,
// and Next may be called again. The error is an *Error; one that is not Retryable is final.
func (w *Watch) Next(ctx context.Context) (Event, error) {
	for {
		if event, ok := w.take(); ok {
			return event, nil
		}
		if err := w.poll(ctx); err != nil {
			return Event{}, err
		}
	}
}

// Events yields what Next returns until that is an error, which comes last.
func (w *Watch) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			event, err := w.Next(ctx)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Token names everything that Next has returned so far. A watch that is begun with it goes on behind.
func (w *Watch) Token() WatchToken { return w.token.clone() }

// Close ends the watch. There is nothing to wait for: a Watch holds nothing while it is not in Next.
func (w *Watch) Close() { w.pending, w.marker = nil, 0 }

// take returns the next of the events that have come.
func (w *Watch) take() (Event, bool) {
	switch {
	case len(w.pending) > 0:
		e := w.pending[0]
		w.pending = w.pending[1:]
		w.passed(&e)
		return Event{
			Type: EventType(e.Kind), Key: string(e.Key), Value: e.Value, Version: e.Version, Delta: e.Delta,
			Change: ChangeID{Instance: e.Instance, Index: e.Index},
		}, true
	case w.marker != 0:
		event := Event{Type: w.marker}
		w.marker, w.token = 0, w.after
		return event, true
	default:
		return Event{}, false
	}
}

// passed makes the token name an event.
func (w *Watch) passed(e *wire.WatchEvent) {
	if len(w.pending) == 0 && w.marker == 0 {
		w.token = w.after
		return
	}
	w.token.token.Pass(e, w.pending, &w.after.token)
}

// poll asks once, and takes in the answer.
func (w *Watch) poll(ctx context.Context) error {
	result, replica, err := w.ask(ctx, 0, watchWait, watchWait+watchSlack)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Retryable && ctx.Err() == nil {
			return nil // the answer is overdue: another replica may do better
		}
		return err
	}
	if result.Resync {
		if result, err = w.elsewhere(ctx, replica, result); err != nil {
			return err
		}
	}
	return w.accept(replica, result)
}

// ask sends one poll; to the best replica if none is named.
func (w *Watch) ask(
	ctx context.Context, at epaxos.ReplicaID, wait, patience time.Duration,
) (wire.WatchResult, epaxos.ReplicaID, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	question := wire.WatchRequest{
		From: []byte(w.span.From), End: []byte(w.span.End), State: w.withState,
		Wait: uint64(wait.Milliseconds()), //nolint:gosec // positive
	}
	request := Request{ReadOnly: true, Replica: at}
	if w.begun {
		question.Token = wire.AppendWatchToken(nil, &w.token.token)
	} else {
		request.Consistency = Session
	}
	request.Payload = wire.AppendWatchRequest(nil, &question)
	reply, err := w.client.start(ctx, request, wire.RequestWatch).Wait()
	if err != nil {
		return wire.WatchResult{}, 0, err
	}
	result, err := wire.DecodeWatchResult(reply.Result)
	if err != nil {
		return result, reply.Replica, protocolError(reply.Replica, err)
	}
	return result, reply.Replica, nil
}

func protocolError(replica epaxos.ReplicaID, err error) error {
	return &Error{
		Code: CodeProtocol, Outcome: NotApplied, Replica: replica, Detail: err.Error(), causes: []error{err},
	}
}

// elsewhere asks the other replicas for what one has forgotten, and returns the first answer that goes on, or else the
// one that is there.
func (w *Watch) elsewhere(
	ctx context.Context, replica epaxos.ReplicaID, forgot wire.WatchResult,
) (wire.WatchResult, error) {
	for _, info := range w.client.Replicas() {
		if info.Replica == replica || info.Learner || info.Draining {
			continue
		}
		result, _, err := w.ask(ctx, info.Replica, time.Millisecond, watchElsewhere)
		if err == nil && !result.Resync {
			return result, nil
		}
		if cause := ctx.Err(); cause != nil {
			return forgot, err
		}
	}
	return forgot, nil
}

// accept takes in an answer.
func (w *Watch) accept(replica epaxos.ReplicaID, result wire.WatchResult) error {
	token, err := wire.DecodeWatchToken(result.Token)
	if err != nil {
		return protocolError(replica, err)
	}
	w.pending, w.after, w.marker = result.Events, WatchToken{token}, 0
	switch {
	case result.Resync:
		w.marker = EventResync
	case result.Current:
		w.marker = EventCurrent
	}
	switch {
	case len(result.Events) == 0 && w.marker == 0:
		w.token = w.after
	case !w.begun: // with the state, of which nothing is told yet
		w.token = WatchToken{wire.WatchToken{Span: token.Span, Cursor: []byte(w.span.From)}}
	}
	w.begun = true
	return nil
}
