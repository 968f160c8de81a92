package clients

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// CutID names a cut at the cluster for ever. Its String is what ParseCutID reads, in this process or another.
type CutID = epaxos.InstanceID

// ParseCutID reads what CutID.String wrote.
func ParseCutID(text string) (CutID, error) {
	id, err := ParseSessionID(text)
	if err != nil {
		return CutID{}, fmt.Errorf("cut %q: want REPLICA.SLOT or eEPOCH:REPLICA.SLOT", text)
	}
	return id, nil
}

// CutTTLMax is the longest that a cut is kept.
const CutTTLMax = wire.CutTTLMax * time.Millisecond

// Cut is the state of the cluster at one moment: everything that was answered before Client.Cut was called is in it,
// and nothing that was asked for after it returned. Reads at it show the same at every replica, however often, in
// however many pages, and wait for nobody. Its methods are safe for concurrent use.
//
// It ends at each replica when its time is up there, when the replica restarts or takes over a state, when its disk
// gets full or 1 GiB was saved since, or by Release. As long as one replica has it, reads find it; then
// they fail with ErrCutGone.
//
// A Cut is a ReadOption.
type Cut struct {
	client *Client
	id     CutID
}

// Cut makes a cut, which each replica keeps readable for ttl by its own clock: milliseconds, up to CutTTLMax. Each
// keeps 16 at most, and meanwhile keeps on its disk whatever is overwritten. The call takes what a command takes that
// interferes with all others, and makes each replica sync its disk once: make one for a report, not for each read.
func (c *Client) Cut(ctx context.Context, ttl time.Duration) (*Cut, error) {
	if ttl < time.Millisecond || ttl > CutTTLMax {
		return nil, &Error{
			Code: CodeInvalid, Outcome: NotApplied,
			Detail: fmt.Sprintf("a cut of %v: from 1ms to %v are possible", ttl, CutTTLMax),
		}
	}
	control := wire.Control{Kind: wire.ControlCut, TTL: uint64(ttl.Milliseconds())} //nolint:gosec // positive
	// Another cut in the place of one whose answer was lost does no harm.
	request := Request{Payload: wire.AppendControl(nil, &control), ReadOnly: true}
	reply, err := c.start(ctx, request, wire.RequestControl).Wait()
	if err != nil {
		return nil, err
	}
	id, err := wire.DecodeInstanceID(reply.Result)
	if err != nil || id.IsZero() {
		return nil, &Error{
			Code: CodeProtocol, Outcome: Applied, Replica: reply.Replica,
			Detail: "the replica does not tell how the cut is called", causes: []error{err},
		}
	}
	return c.OpenCut(id), nil
}

// OpenCut is a cut that this client or another has made. Whether it is still kept reads tell.
func (c *Client) OpenCut(id CutID) *Cut { return &Cut{client: c, id: id} }

// ID names the cut, for Client.OpenCut of any client.
func (cut *Cut) ID() CutID { return cut.id }

// AtCut makes a read show the state at a cut, as reads of Client.OpenCut do.
func AtCut(id CutID) ReadOption { return &Cut{id: id} }

func (cut *Cut) read(request *Request) { request.Cut = cut.id }

func (cut *Cut) rangeOption(_ *wire.Op, request *Request) { cut.read(request) }

// Get returns the value of a key at the cut.
func (cut *Cut) Get(ctx context.Context, key string) (Result, error) {
	return cut.client.Get(ctx, key, cut)
}

// Range reads the keys of a span at the cut, as Client.Range does. All pages show the same moment.
func (cut *Cut) Range(ctx context.Context, span Span, options ...RangeOption) (Page, error) {
	return cut.client.Range(ctx, span, append(slices.Clip(options), cut)...)
}

// Scan reads the keys of a span at the cut page after page, as Client.Scan does, and all at one moment.
func (cut *Cut) Scan(ctx context.Context, span Span, options ...RangeOption) iter.Seq2[Pair, error] {
	return cut.client.Scan(ctx, span, append(slices.Clip(options), cut)...)
}

// Txn begins a transaction at the cut. It may read only.
func (cut *Cut) Txn(ctx context.Context) *Txn {
	t := cut.client.Txn(ctx)
	t.cut = cut
	return t
}

// Query sends a payload that only reads to the state machine as it was at the cut.
func (cut *Cut) Query(ctx context.Context, payload []byte) (Reply, error) {
	return cut.client.Query(ctx, payload, cut)
}

// releasePatience is how long Release waits for a replica that the context gives longer.
const releasePatience = 2 * time.Second

// Release tells all replicas that nobody reads at the cut any more. Those that do not hear of it, of which an error
// tells, let go when its time is up.
func (cut *Cut) Release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	payload := wire.AppendInstanceID(nil, cut.id)
	var futures []*Future
	for _, replica := range cut.client.voters() {
		request := Request{Payload: payload, ReadOnly: true, Replica: replica}
		futures = append(futures, cut.client.start(ctx, request, wire.RequestRelease))
	}
	var failed error
	for _, f := range futures {
		if _, err := f.Wait(); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// voters is who takes part in agreeing, connected or not, as far as is known.
func (c *Client) voters() (voters []ReplicaID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.members {
		if c.members[i].Role == wire.RoleVoter {
			voters = append(voters, c.members[i].Replica)
		}
	}
	for _, s := range c.sessions {
		if c.votes(s.hello.Replica) && !slices.Contains(voters, s.hello.Replica) {
			voters = append(voters, s.hello.Replica) // of a cluster that tells no members
		}
	}
	return voters
}

// cutPatience is how long a read whose cut no connected replica holds waits for another to be connected.
const cutPatience = 500 * time.Millisecond

// tryOtherCut moves a read to a replica that may hold its cut.
func (c *Client) tryOtherCut(f *Future, refusal *Error) {
	if f.request.Replica != 0 {
		refusal.Outcome, refusal.Retryable = NotApplied, false
		f.finish(stateSent, Reply{}, refusal)
		return
	}
	if !f.state.CompareAndSwap(stateSent, stateQueued) {
		return
	}
	f.refusal.Store(refusal)
	f.without = append(f.without, refusal.Replica)
	now := time.Now()
	c.mu.Lock()
	next := c.selector.untried(f.without, 0, now)
	heard := c.epoch > 0 && !slices.ContainsFunc(c.members, func(m wire.MemberInfo) bool {
		return m.Role == wire.RoleVoter && !slices.Contains(f.without, m.Replica)
	})
	c.mu.Unlock()
	switch {
	case next != 0:
		c.place(f)
	case heard:
		c.endCutRead(f)
	default:
		f.hopeless, f.notBefore = true, now.Add(cutPatience)
		c.putAside(f)
	}
}

// endCutRead gives up a read whose cut nobody holds.
func (c *Client) endCutRead(f *Future) {
	f.fail(CodeCutGone, fmt.Sprintf("cut %v is held by none of replicas %d", f.request.Cut, f.without))
}
