package clients

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/clients/internal/protocol"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// endpointsMax bounds the endpoints learnt from replicas.
const endpointsMax = wire.MembersMax

// Client is a connection to every replica of one cluster. It sends operations to the nearest that
// is well. Its methods are safe for concurrent use.
//
// Locks: mu is taken before a session's mu, and neither is held while an operation finishes.
type Client struct {
	options
	ctx       context.Context // ends with Close
	stop      context.CancelCauseFunc
	wg        sync.WaitGroup
	transport *quic.Transport
	slots     chan struct{} // one token per unfinished operation

	current atomic.Pointer[session] // the choice; nil if no replica is connected
	asleep  atomic.Bool             // the keeper waits for the next probe only
	poke    chan struct{}           // wakes the keeper

	mu       sync.Mutex
	closed   bool
	cluster  [16]byte // all zero until known
	links    []*link
	sessions []*session // at most one per replica; with members only
	leaving  []*session // with former members, until their last answer
	members  []wire.MemberInfo
	epoch    epaxos.Epoch // of members, the latest heard of; 0 is unknown
	selector selector
	waiting  []*Future // queued operations that no session has

	ledger    *ledger      // the client's session
	operating atomic.Int32 // operations on sessions under way; they take no slots

	seenMu sync.Mutex
	seen   Token // what all answers so far may have shown

	firstUp  gate // opens when the first replica is connected
	hopeless gate // opens when every endpoint has refused this client for good
}

// gate is a channel that is closed once, by whoever comes first.
type gate struct {
	opened chan struct{}
	once   *sync.Once
}

func newGate() gate { return gate{opened: make(chan struct{}), once: new(sync.Once)} }

func (g gate) open() { g.once.Do(func() { close(g.opened) }) }

// Dial connects to the cluster that the endpoints ("host:port") belong to and returns when the
// first replica has answered; the others are connected in the background, those learnt from the
// first included. It fails when ctx ends (after 10 s if it has no deadline), or when every
// endpoint refused the client. ctx is not used after Dial has returned.
func Dial(ctx context.Context, endpoints []string, opts ...Option) (*Client, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	if len(endpoints) == 0 {
		return nil, errors.New("dial: no endpoints: name at least one replica as host:port")
	}
	if len(o.tls.NextProtos) == 0 {
		o.tls = o.tls.Clone()
		o.tls.NextProtos = []string{protocol.ALPN}
	}
	packets, err := o.packetConn()
	if err != nil {
		return nil, fmt.Errorf("dial: open a socket: %w", err)
	}
	c := &Client{
		options: o, cluster: o.cluster,
		transport: &quic.Transport{Conn: packets},
		slots:     make(chan struct{}, o.inFlight),
		poke:      make(chan struct{}, 1),
		selector:  newSelector(o.policy),
		firstUp:   newGate(),
		hopeless:  newGate(),
	}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	c.ledger = newLedger(c, o.sessionTTL)
	c.mu.Lock()
	for _, endpoint := range endpoints {
		c.addLink(endpoint, true)
	}
	c.mu.Unlock()
	c.wg.Add(1)
	go c.keep()
	if o.sessionTTL > 0 {
		c.wg.Add(1)
		go c.ledger.tend()
	}
	if err := c.awaitFirst(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) awaitFirst(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	select {
	case <-c.firstUp.opened:
		return nil
	case <-c.hopeless.opened:
		return fmt.Errorf("dial: every replica refused: %w", c.lastErr())
	case <-ctx.Done():
		return fmt.Errorf("dial: no replica answered: %w", errors.Join(ctx.Err(), c.lastErr()))
	}
}

func (c *Client) lastErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, 0, len(c.links))
	for _, l := range c.links {
		errs = append(errs, l.lastErr)
	}
	return errors.Join(errs...)
}

// Close ends the client's session and the connections, and fails the operations under way with ErrClosed: those
// that were sent, and may change the state, with their outcome unknown. If some outcome is unknown, the session is
// left to expire, so that Outcome of another client can tell. Close returns when every goroutine of the client has
// ended; it must not be called from a Request.Done.
func (c *Client) Close() error {
	c.ledger.close()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.wg.Wait()
		return nil
	}
	c.closed = true
	c.current.Store(nil)
	waiting, sessions := c.waiting, slices.Concat(c.sessions, c.leaving)
	c.waiting = nil
	c.mu.Unlock()

	c.stop(ErrClosed)
	for _, s := range sessions {
		s.abort(ErrClosed)
	}
	for _, f := range waiting {
		f.fail(CodeClosed, "the client was closed", ErrClosed)
	}
	c.wg.Wait()
	err := c.transport.Close()
	return errors.Join(err, ignoreClosed(c.transport.Conn.Close()))
}

// Start begins an operation. It blocks while the client has as many operations open as
// WithInFlight allows, and after that never; the deadline is that of ctx, or WithTimeout.
func (c *Client) Start(ctx context.Context, request Request) *Future {
	return c.start(ctx, request, wire.RequestCommand)
}

func (c *Client) start(ctx context.Context, request Request, kind wire.RequestKind) *Future {
	f := &Future{client: c, ctx: ctx, request: request, kind: kind}
	f.start()
	return f
}

// Submit is Start for a payload that may change the state, on the nearest replica.
func (c *Client) Submit(ctx context.Context, payload []byte) *Future {
	return c.Start(ctx, Request{Payload: payload})
}

// Do sends a payload that may change the state to the nearest replica and waits for the answer.
func (c *Client) Do(ctx context.Context, payload []byte) (Reply, error) {
	return c.Start(ctx, Request{Payload: payload}).Wait()
}

// Query sends a payload that only reads, and waits for the answer. If a connection is lost it is
// sent again, to another replica if need be. The read is linearizable unless options say otherwise.
func (c *Client) Query(ctx context.Context, payload []byte, options ...ReadOption) (Reply, error) {
	request := Request{Payload: payload, ReadOnly: true}
	for _, option := range options {
		option.read(&request)
	}
	return c.Start(ctx, request).Wait()
}

// Control sends a request to the service itself, as internal/wire encodes it, and waits for the result. It is
// for the commands of the program epaxos.
func (c *Client) Control(ctx context.Context, payload []byte) (Reply, error) {
	return c.start(ctx, Request{Payload: payload}, wire.RequestControl).Wait()
}

// Status returns the view that a replica has of itself, as JSON; that of the nearest if replica
// is 0.
func (c *Client) Status(ctx context.Context, replica epaxos.ReplicaID) ([]byte, error) {
	reply, err := c.start(ctx, Request{ReadOnly: true, Replica: replica}, wire.RequestStatus).Wait()
	return reply.Result, err
}

// ReplicaInfo is what the client knows of one connected replica.
type ReplicaInfo struct {
	Replica  epaxos.ReplicaID
	Endpoint string        // as the replicas tell it; empty if they do not
	Name     string        // region or site
	RTT      time.Duration // smoothed round trip
	Draining bool
	Learner  bool // serves no operations but those that name it
	Current  bool // serves the operations that name no replica
}

// Replicas lists the connected replicas in the order of their ids.
func (c *Client) Replicas() []ReplicaInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	infos := make([]ReplicaInfo, 0, len(c.selector.standings))
	for i := range c.selector.standings {
		st := &c.selector.standings[i]
		info := ReplicaInfo{
			Replica: st.replica, RTT: st.rtt, Draining: st.draining, Learner: st.learner,
			Current: st.replica == c.selector.current,
		}
		for _, m := range c.members {
			if m.Replica == st.replica {
				info.Endpoint, info.Name = m.Endpoint, m.Name
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// named reports whether an operation has the name that it needs.
func (c *Client) named(f *Future) bool { return !f.once() || f.id.Load() != nil || c.ledger.number(f) }

// putAside keeps an operation for the keeper.
func (c *Client) putAside(f *Future) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.waiting = append(c.waiting, f)
	}
	c.mu.Unlock()
	switch {
	case closed:
		f.fail(CodeClosed, "the client was closed", ErrClosed)
	case f.polls():
		c.wakeKeeper() // which sleeps longer while only watches are open
	}
}

// place finds a session for a queued operation, or keeps it until there is one.
func (c *Client) place(f *Future) {
	if !c.named(f) {
		c.putAside(f)
		return
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		f.fail(CodeClosed, "the client was closed", ErrClosed)
		return
	}
	s := c.pick(f, time.Now())
	if s == nil && f.hopeless {
		c.mu.Unlock()
		c.endCutRead(f)
		return
	}
	waits := false
	if s == nil || !s.enqueue(f) {
		c.waiting = append(c.waiting, f)
		waits = f.polls()
	}
	c.mu.Unlock()
	if waits {
		c.wakeKeeper()
	}
}

// pick returns the session to use for an operation now, or nil. The caller holds mu.
func (c *Client) pick(f *Future, now time.Time) *session {
	switch {
	case f.request.Replica != 0:
		return c.session(f.request.Replica)
	case !f.request.Cut.IsZero():
		return c.session(c.selector.untried(f.without, f.avoid, now))
	case f.request.Consistency == Stale:
		if nearest := c.selector.nearest(f.avoid, now); nearest != 0 {
			return c.session(nearest)
		}
	case f.avoid != 0:
		if other := c.selector.alternative(f.avoid, now); other != 0 {
			return c.session(other)
		}
	}
	return c.current.Load()
}

func (c *Client) session(replica epaxos.ReplicaID) *session {
	for _, s := range c.sessions {
		if s.hello.Replica == replica {
			return s
		}
	}
	return nil
}

// rescue places an operation that a session gave back unharmed, away from that session's replica.
func (c *Client) rescue(f *Future, from epaxos.ReplicaID) {
	f.avoid = from
	c.place(f)
}

const (
	retryMin = 10 * time.Millisecond
	retryMax = time.Second
)

// answered delivers a response, or tries again if that is safe and promising.
func (c *Client) answered(f *Future, response *wire.ClientResponse) {
	c.saw(response.Token)
	if response.Code == wire.CodeOK {
		f.finish(stateSent, Reply{
			Result: response.Result, Replica: response.Replica, Fast: response.Fast, Age: ageOf(response.Age),
		}, nil)
		return
	}
	err := &Error{
		Code: Code(response.Code), Outcome: Outcome(response.Outcome), Retryable: response.Retry,
		Replica: response.Replica, Request: f.RequestID(), Detail: response.Detail,
	}
	if err.Code == CodeCutGone && f.request.ReadOnly {
		c.tryOtherCut(f, err)
		return
	}
	switch {
	case f.request.ReadOnly, f.kind == wire.RequestSession: // watches are ReadOnly
		err.Outcome = NotApplied
		err.Retryable = err.Code != CodeInvalid
	case f.id.Load() != nil:
		c.judge(f, err)
	}
	if !err.Retryable || err.Outcome != NotApplied && !f.repeats() {
		err.Retryable = err.Retryable && err.Outcome != Unknown
		f.finish(stateSent, Reply{}, err)
		return
	}
	if (err.Code == CodeUnavailable || err.Code == CodeInternal) && !f.polls() {
		c.refused(err.Replica)
	}
	c.retry(f, err)
}

// judge says what the answer to one copy of a request means for the request, and whether another copy may still do
// better.
func (c *Client) judge(f *Future, err *Error) {
	if err.Code == CodeSettled || err.Outcome == Applied {
		return
	}
	gone := err.Code == CodeSessionGone
	if gone {
		c.ledger.gone(err.Request.Session)
		err.Outcome, err.Retryable = NotApplied, f.once() // this copy was not executed
	}
	switch {
	case err.Outcome == Unknown && err.Code == CodeInternal:
		f.uncertain.Store(true)
		err.Retryable = true // elsewhere
	case err.Outcome == NotApplied && f.uncertain.Load():
		err.Outcome = Unknown // another copy may have been executed
		err.Retryable = err.Retryable && !gone
	case gone && f.once():
		f.id.Store(nil) // there is no other copy: it gets a number of the next session
	}
}

func ageOf(age uint64) time.Duration {
	if age > uint64(math.MaxInt64/time.Microsecond) {
		return -1
	}
	return time.Duration(age) * time.Microsecond //nolint:gosec // checked
}

// retry puts a refused operation aside for a while that grows with each refusal. The replica that
// refused is avoided, but for a first "overloaded": queues drain, and the others are farther away.
func (c *Client) retry(f *Future, refusal *Error) {
	if !f.state.CompareAndSwap(stateSent, stateQueued) {
		return
	}
	f.refusal.Store(refusal)
	f.attempts++
	f.avoid = 0
	if refusal.Code != CodeOverloaded || f.attempts > 1 {
		f.avoid = refusal.Replica
	}
	pause := min(retryMin<<min(f.attempts-1, 16), retryMax)
	f.notBefore = time.Now().Add(pause/2 + rand.N(pause/2))
	c.putAside(f)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
