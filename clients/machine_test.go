package clients_test

import (
	"errors"
	"sync"

	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// machine is what a cluster comes to: one state, and requests that are executed one after the other. All replicas
// of a test may share one.
type machine struct {
	mu    sync.Mutex
	state *execution.State
	slot  epaxos.Slot
}

func newMachine() *machine { return &machine{state: execution.NewState(nothingSaved{})} }

type nothingSaved struct{}

func (nothingSaved) Get([]byte) ([]byte, bool, error)                        { return nil, false, nil }
func (nothingSaved) Scan(_, _ []byte, _ func(key, value []byte) error) error { return nil }
func (m *machine) Propose(request gateway.Request, done func(answer gateway.Answer)) {
	done(m.do(&request))
}

// do executes one copy of a request.
func (m *machine) do(request *gateway.Request) gateway.Answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := epaxos.Request{Session: request.Session, Number: request.Number, Payload: request.Payload}
	var footprint epaxos.Footprint
	var err error
	switch {
	case request.Kind != wire.RequestSession:
		footprint, err = execution.KV{}.Footprint(r.Payload)
	case r.Session.IsZero():
		r.Number = epaxos.OpenSession
	default:
		var keys []string
		op, malformed := wire.DecodeSessionOp(r.Payload)
		keys, err = m.state.Books(r.Session)
		footprint, err = execution.BooksFootprint(op.Kind, keys), errors.Join(err, malformed)
	}
	if err != nil {
		return gateway.Answer{Code: wire.CodeInvalid, Outcome: wire.OutcomeNotApplied, Detail: err.Error()}
	}
	if !r.Session.IsZero() {
		footprint = execution.SessionFootprint(&r, footprint)
	}
	m.slot++
	results, err := m.state.Perform(execution.KV{}, &execution.Vertex{
		ID:      epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: m.slot},
		Command: &epaxos.Command{Requests: []epaxos.Request{r}, Footprint: footprint},
	})
	if err != nil {
		return gateway.Answer{Detail: err.Error()}
	}
	answer := gateway.Answer{
		Code: wire.CodeOK, Outcome: wire.OutcomeApplied, Result: results[0].Value,
		Token: wire.AppendToken(nil, &wire.Token{Epoch: 1, Deps: epaxos.Dependencies{m.slot}}),
	}
	switch results[0].Verdict {
	case execution.Executed:
	case execution.SessionGone:
		answer.Code, answer.Outcome = wire.CodeSessionGone, wire.OutcomeUnknown
	case execution.BelowFloor:
		answer.Code, answer.Outcome = wire.CodeSessionCovered, wire.OutcomeUnknown
	case execution.BeyondWindow:
		answer.Code, answer.Outcome = wire.CodeSessionWindow, wire.OutcomeUnknown
	case execution.NeverApplied:
		answer.Code, answer.Outcome = wire.CodeSettled, wire.OutcomeNotApplied
	}
	return answer
}

// expire ends a session as replicas do.
func (m *machine) expire(id epaxos.InstanceID) {
	op := wire.SessionOp{Kind: wire.SessionClose}
	m.do(&gateway.Request{Kind: wire.RequestSession, Session: id, Payload: wire.AppendSessionOp(nil, &op)})
}
