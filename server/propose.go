package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// PayloadBytesMax bounds one request.
const PayloadBytesMax = 320 << 10

// Outcome says what became of the effect of a request.
type Outcome = wire.Outcome

// The outcomes of a request.
const (
	Applied    = wire.OutcomeApplied
	NotApplied = wire.OutcomeNotApplied
	Unknown    = wire.OutcomeUnknown
)

// Reply is the end of a request.
type Reply struct {
	Result  []byte
	Fast    bool    // its instance was committed on the fast path
	Outcome Outcome // also set with an error

	verdict execution.Verdict
	token   []byte
	age     uint64
	cut     uint64       // of a barrier: the group whose state is pinned, for whom the reply is to give back
	past    storage.Past // of a read of a cut, for whom the reply is to close
}

var (
	// ErrInvalid: the state machine refuses the request.
	ErrInvalid = errors.New("the request is invalid")
	// ErrDeadline: the deadline passed before the request was part of any instance.
	ErrDeadline = errors.New("the deadline passed before the request was proposed")
)

// Execute replicates one request and returns the result of its execution here. With an error,
// Reply.Outcome says whether the request was, was not, or may yet be applied; when ctx ends first
// that is Unknown.
func (s *Server) Execute(ctx context.Context, payload []byte) (Reply, error) {
	type end struct {
		reply Reply
		err   error
	}
	ends := make(chan end, 1)
	deadline, _ := ctx.Deadline()
	s.submit(epaxos.Request{Payload: payload}, deadline, func(r Reply, err error) { ends <- end{r, err} })
	select {
	case e := <-ends:
		return e.reply, e.err
	case <-ctx.Done():
		return Reply{Outcome: Unknown}, ctx.Err()
	}
}

// submit hands a request to the replica. done is called once and must not block.
func (s *Server) submit(request epaxos.Request, deadline time.Time, done func(Reply, error)) {
	if len(request.Payload) > PayloadBytesMax {
		done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %d bytes, at most %d are possible",
			ErrInvalid, len(request.Payload), PayloadBytesMax))
		return
	}
	footprint, err := s.footprint(request.Payload)
	if err != nil {
		done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	if !request.Session.IsZero() {
		footprint = execution.SessionFootprint(&request, footprint)
	}
	s.hand(&call{request: request, footprint: footprint, deadline: deadline, done: done})
}

// footprint is what a request touches, if the cluster may execute it.
func (s *Server) footprint(payload []byte) (epaxos.Footprint, error) {
	footprint, err := s.machine.Footprint(payload)
	if err != nil {
		return nil, err
	}
	if err := checkSpaces(footprint); err != nil {
		return nil, err
	}
	if machine, leveled := s.machine.(execution.Leveled); leveled && s.status.Load().Members.Format < wire.Format {
		if err := s.checkLevel(machine.Format(payload)); err != nil {
			return nil, err
		}
	}
	return footprint, nil
}

// checkSpaces keeps a state machine out of what belongs to the service, but for the leases of its keys.
func checkSpaces(footprint epaxos.Footprint) error {
	for i := range footprint {
		a := &footprint[i]
		_, named := epaxos.ParseInstanceKey(a.Key)
		lease := a.Space == epaxos.SpaceSession && a.Mode == epaxos.Write && !a.Range && named
		if a.Space != epaxos.SpaceState && !lease {
			return fmt.Errorf("the state machine touches space %d: it has space %d, and may write leases", a.Space,
				epaxos.SpaceState)
		}
	}
	return nil
}

// submitControl hands a request for the service itself to the replica. Of c the payload, the deadline and done are
// set; see submit.
func (s *Server) submitControl(c *call) {
	control, err := wire.DecodeControl(c.request.Payload)
	if err == nil {
		err = s.checkLevel(control.Format())
	}
	if err == nil && control.Members != nil {
		err = s.checkMembers(control.Members)
	}
	if err != nil {
		c.done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	c.footprint = control.Footprint()
	s.hand(c)
}

// checkLevel reports why what came with a format level may not be proposed yet, or nil. What passes may be proposed at
// any later time, since the level of a cluster never goes back. A replica that is behind may refuse what others take.
func (s *Server) checkLevel(needs uint32) error {
	if level := s.status.Load().Members.Format; level < needs {
		return fmt.Errorf("the cluster is at format level %d, and this needs %d: once all replicas run a version that "+
			"knows it, \"epaxos member raise-format\"", level, needs)
	}
	return nil
}

// hand gives a request that was found valid to the replica's goroutine.
func (s *Server) hand(c *call) {
	command := epaxos.Command{Requests: []epaxos.Request{c.request}, Footprint: c.footprint}
	if err := wire.CheckCommand(&command); err != nil {
		c.done(Reply{Outcome: NotApplied}, fmt.Errorf("%w: %w", ErrInvalid, err))
		return
	}
	c.id = s.calls.next()
	if !s.inbox.call(c) {
		c.done(Reply{Outcome: NotApplied}, ErrStopped)
	}
}

// calls holds the requests that are not answered yet. Only the replica's goroutine uses it, but
// for next.
type calls struct {
	last    atomic.Uint64
	open    map[epaxos.ProposalID]*call
	expired time.Time // when expire last ran
}

// expiryInterval is how often deadlines are looked at.
const expiryInterval = 100 * time.Millisecond

func (c *calls) init() { c.open = map[epaxos.ProposalID]*call{} }

func (c *calls) next() epaxos.ProposalID { return epaxos.ProposalID(c.last.Add(1)) }

func (c *calls) add(one *call) { c.open[one.id] = one }

// answer takes what one turn has executed. All its answers have one token.
func (c *calls) answer(answers []node.Answer, unpin func(group uint64)) {
	var token []byte
	for i := range answers {
		a := &answers[i]
		one := c.open[a.Proposal]
		if a.Cut != 0 && (one == nil || !one.takesCut) {
			unpin(a.Cut)
		}
		if a.Past != nil && one == nil {
			a.Past.Close()
		}
		if one == nil {
			continue
		}
		delete(c.open, a.Proposal)
		switch {
		case a.Void && one.poll != nil:
			one.done(Reply{Outcome: NotApplied}, errWatchVoid)
			continue
		case a.Void:
			one.done(Reply{Outcome: NotApplied}, errVoid)
			continue
		case a.Unknown:
			one.done(Reply{Outcome: Unknown}, errMissed)
			continue
		case a.Past != nil || a.Gone != nil:
			one.done(Reply{Outcome: NotApplied, past: a.Past}, a.Gone)
			continue
		}
		if token == nil && a.Token.Epoch != 0 {
			token = wire.AppendToken(nil, &wire.Token{Epoch: a.Token.Epoch, Deps: a.Token.Deps})
		}
		one.done(Reply{
			Result: a.Result, Fast: a.Fast, Outcome: outcomeOf(a.Verdict), verdict: a.Verdict, token: token, cut: a.Cut,
		}, verdictError(a.Verdict))
	}
}

// refuse ends a request that was never proposed.
func (c *calls) refuse(id epaxos.ProposalID, err error) {
	one := c.open[id]
	delete(c.open, id)
	one.done(Reply{Outcome: NotApplied}, err)
}

// expire ends requests whose deadline has passed, if they can be taken back. The others stay until
// they are executed: only then is it known what became of them.
func (c *calls) expire(now time.Time, cancel func(*call) bool) {
	if now.Sub(c.expired) < expiryInterval {
		return
	}
	c.expired = now
	var late []*call
	for _, one := range c.open {
		if !one.deadline.IsZero() && now.After(one.deadline) {
			late = append(late, one)
		}
	}
	slices.SortFunc(late, func(a, b *call) int { return cmp.Compare(a.id, b.id) })
	for _, one := range late {
		if cancel(one) {
			c.refuse(one.id, ErrDeadline)
		}
	}
}

// abandon ends everything with an unknown outcome: it may be applied by others.
func (c *calls) abandon(err error) {
	for id, one := range c.open {
		delete(c.open, id)
		one.done(Reply{Outcome: Unknown}, err)
	}
}

// proposer serves the gateway.
type proposer struct{ s *Server }

// Propose implements gateway.Proposer.
func (p proposer) Propose(request gateway.Request, done func(gateway.Answer)) {
	answered := func(reply Reply, err error) { done(answerOf(reply, err)) }
	r := epaxos.Request{Session: request.Session, Number: request.Number, Payload: request.Payload}
	switch request.Kind {
	case wire.RequestControl:
		p.s.submitControl(&call{
			request: epaxos.Request{Payload: request.Payload}, deadline: request.Deadline, done: answered,
		})
	case wire.RequestSnapshot:
		p.s.snapshot(request, done)
	case wire.RequestSession:
		p.s.submitSession(r, request.Deadline, answered)
	case wire.RequestRead:
		p.s.submitRead(&request, answered)
	case wire.RequestWatch:
		p.s.submitWatch(&request, answered)
	case wire.RequestRelease:
		p.s.releaseCut(request.Payload, answered)
	default:
		if err := checkNumber(&r); err != nil {
			answered(Reply{Outcome: NotApplied}, err)
			return
		}
		p.s.submit(r, request.Deadline, answered)
	}
}

// answerOf translates the end of a request for a client.
func answerOf(reply Reply, err error) gateway.Answer {
	answer := gateway.Answer{
		Code: wire.CodeOK, Outcome: reply.Outcome, Fast: reply.Fast, Result: reply.Result,
		Token: reply.token, Age: reply.age,
	}
	if err == nil {
		return answer
	}
	answer.Result, answer.Detail = nil, err.Error()
	switch {
	case errors.Is(err, ErrInvalid), errors.Is(err, node.ErrWatch):
		answer.Code = wire.CodeInvalid
	case reply.verdict != execution.Executed:
		answer.Code = verdictCode(reply.verdict)
	case errors.Is(err, node.ErrCutGone):
		answer.Code = wire.CodeCutGone
	case errors.Is(err, epaxos.ErrOverloaded), errors.Is(err, node.ErrReads), errors.Is(err, node.ErrSessions),
		errors.Is(err, node.ErrPolls), errors.Is(err, errBusyLease), errors.Is(err, node.ErrCuts):
		answer.Code, answer.Retry = wire.CodeOverloaded, true
	case errors.Is(err, ErrDeadline):
		answer.Code = wire.CodeTimeout
	case errors.Is(err, node.ErrCutAwaited):
		answer.Code, answer.Retry = wire.CodeTimeout, true
	case errors.Is(err, node.ErrProbation), errors.Is(err, node.ErrNoRoom), errors.Is(err, node.ErrNotVoter),
		errors.Is(err, node.ErrBehind), errors.Is(err, errVoid), errors.Is(err, errDraining),
		errors.Is(err, errWatchVoid):
		answer.Code, answer.Retry = wire.CodeUnavailable, true
	case errors.Is(err, ErrStopped) && reply.Outcome == NotApplied:
		answer.Code, answer.Retry = wire.CodeUnavailable, true
	default:
		answer.Code = wire.CodeInternal
	}
	return answer
}
