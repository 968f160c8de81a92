package experiment

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/paxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// replica is what a run drives: a core and what executes its decisions.
type replica interface {
	propose(now time.Duration, id epaxos.ProposalID, request epaxos.Request, f epaxos.Footprint) error
	step(now time.Duration, from int, message any)
	tick(now time.Duration)
	suspect(now time.Duration, column int, suspected bool)
	// ready returns what is to be saved and sent, valid until the next call.
	ready() turn
	// execute applies what the last ready decided. It comes after save and send.
	execute(now time.Duration) ([]answer, error)
	// busy reports whether ready would return anything.
	busy() bool
	leads() bool
}

// turn is what a replica wants done.
type turn struct {
	records  []any
	sync     bool
	bytes    int // of the records
	messages []envelope
}

// envelope is a message on its way.
type envelope struct {
	to         int
	message    any
	bytes      int
	background bool // sent whether or not there is work
}

// answer is what became of a proposal: chosen first, then executed.
type answer struct {
	proposal epaxos.ProposalID
	executed bool
	fast     bool
	deps     int // interfering instances that were not executed when it was chosen; -1 where there is no such thing
	result   []byte
	slot     uint64 // its place in the log, or of its instance in its column
}

// nothing is a disk without applied state: a run starts with none, and its State keeps all in memory.
type nothing struct{ execution.Reader }

func (nothing) Get([]byte) ([]byte, bool, error) { return nil, false, nil }

func newState() *execution.State {
	s := execution.NewState(nothing{})
	s.LimitCache(1 << 40) // what it forgot would be gone
	return s
}

// settled makes a State believe that all was saved, so that it does not hold it twice.
func settled(s *execution.State) {
	if s.PendingBytes() > 1<<20 {
		s.Take()
		s.Saved()
	}
}

// egalitarian is EPaxos* as it ships.
type egalitarian struct {
	core    *epaxos.Replica
	graph   *execution.Graph
	index   *deps.Index
	state   *execution.State
	members epaxos.Membership
	led     map[epaxos.InstanceID]epaxos.Led
	now     time.Duration
	pending epaxos.Ready
	last    epaxos.Message // whose size is known
	size    int
	out     turn
	scratch []byte
	saved   time.Duration
	sizes   func(component int)
	decided func(epaxos.Decision)
}

// writeBack is how long executed marks may wait for a save, as in a server.
const writeBack = 100 * time.Millisecond

func newEgalitarian(id epaxos.ReplicaID, m epaxos.Membership, t Tuning, r *rand.Rand) (*egalitarian, error) {
	index := deps.New(m.N())
	limits, timing := epaxos.DefaultLimits(), epaxos.DefaultTiming()
	if t.Window > 0 {
		limits.InFlightPerKey = t.Window
	}
	if t.Gather > 0 {
		limits.Gather = t.Gather
	}
	if t.FastPathWait > 0 {
		timing.FastPathWait = t.FastPathWait
	}
	timing.DisputedWait += t.DisputedWait
	core, err := epaxos.New(epaxos.Config{
		ID: id, Membership: m, Index: index, Rand: r,
		Limits: limits, Timing: timing,
	})
	if err != nil {
		return nil, err
	}
	return &egalitarian{
		core: core, graph: execution.NewGraph(m), index: index, state: newState(), members: m,
		led: map[epaxos.InstanceID]epaxos.Led{}, sizes: func(int) {}, decided: func(epaxos.Decision) {},
	}, nil
}

func (e *egalitarian) propose(now time.Duration, id epaxos.ProposalID, r epaxos.Request, f epaxos.Footprint) error {
	return e.core.Propose(now, id, r, f)
}

func (e *egalitarian) step(now time.Duration, from int, message any) {
	e.core.Step(now, epaxos.Envelope{From: e.members.Voters[from], Message: message.(epaxos.Message)})
}

func (e *egalitarian) tick(now time.Duration) {
	e.now = now
	if blocked := e.graph.Blocked(); len(blocked) > 0 {
		e.core.Blocked(now, blocked)
	}
	e.core.Tick(now)
}

func (e *egalitarian) suspect(now time.Duration, column int, suspected bool) {
	e.core.Suspect(now, e.members.Voters[column], suspected)
}

func (e *egalitarian) busy() bool { return e.core.HasReady() }

func (e *egalitarian) leads() bool { return false }

func (e *egalitarian) ready() turn {
	e.pending = e.core.Ready()
	out := &e.out
	out.records, out.messages = out.records[:0], out.messages[:0]
	out.sync, out.bytes = e.pending.MustSync, 0
	for i := range e.pending.Records {
		e.scratch = wire.AppendRecord(e.scratch[:0], &e.pending.Records[i])
		out.bytes += len(e.scratch)
	}
	for i := range e.pending.Messages {
		m := &e.pending.Messages[i]
		to, _ := e.members.Column(m.To)
		_, gossip := m.Message.(epaxos.Gossip)
		e.scratch = wire.AppendMessage(e.scratch[:0], m.Message)
		out.messages = append(out.messages, envelope{
			to: to, message: m.Message, bytes: len(e.scratch), background: gossip,
		})
	}
	if e.pending.MustSync || e.now-e.saved >= writeBack {
		e.saved = e.now
		e.core.ExecutedDurably(e.graph.Executed()) // the marks go with the group
	}
	return *out
}

func (e *egalitarian) execute(now time.Duration) ([]answer, error) {
	var answers []answer
	for _, l := range e.pending.Learned {
		e.graph.Learn(l.ID, l.Command)
	}
	for _, l := range e.pending.Led {
		e.led[l.ID] = l
	}
	for _, d := range e.pending.Committed {
		e.decided(d)
		e.graph.Commit(d.ID, d.Command, d.Deps)
		if l, here := e.led[d.ID]; here {
			waits := e.waits(d)
			for _, p := range l.Proposals {
				answers = append(answers, answer{proposal: p, fast: l.Fast, deps: waits})
			}
		}
	}
	e.pending.Learned, e.pending.Committed, e.pending.Led = nil, nil, nil
	for component := e.graph.Next(); component != nil; component = e.graph.Next() {
		e.sizes(len(component))
		for _, v := range component {
			results, err := e.state.Apply(execution.KV{}, v.Command)
			if err != nil {
				return nil, fmt.Errorf("execute %v: %w", v.ID, err)
			}
			l, here := e.led[v.ID]
			if !here {
				continue
			}
			delete(e.led, v.ID)
			for i, p := range l.Proposals {
				answers = append(answers, answer{
					proposal: p, executed: true, fast: l.Fast, result: results[i], slot: uint64(v.ID.Slot),
				})
			}
		}
	}
	settled(e.state)
	if executed := e.graph.TakeExecuted(); len(executed) > 0 {
		e.core.Executed(now, executed)
	}
	return answers, nil
}

// waits counts the instances that a decision names and that are not executed here.
func (e *egalitarian) waits(d epaxos.Decision) int {
	waits := 0
	for _, p := range e.index.Above(d.Command.Footprint, e.graph.Executed()) {
		id := e.members.ID(p.Column, p.Slot)
		if d.Deps.Covers(p.Column, p.Slot) && id != d.ID && !e.graph.IsExecuted(id) {
			waits++
		}
	}
	return waits
}

// logged is a core of internal/paxos.
type logged struct {
	core    paxos.Core
	state   *execution.State
	members epaxos.Membership
	pending paxos.Ready
	out     turn
	decided func(paxos.Decision)
	applied func(paxos.Execution)
}

func newLogged(config paxos.Config) (*logged, error) {
	core, err := paxos.New(config)
	if err != nil {
		return nil, err
	}
	return &logged{
		core: core, state: newState(), members: config.Membership,
		decided: func(paxos.Decision) {}, applied: func(paxos.Execution) {},
	}, nil
}

func (l *logged) propose(now time.Duration, id epaxos.ProposalID, r epaxos.Request, f epaxos.Footprint) error {
	return l.core.Propose(now, id, r, f)
}

func (l *logged) step(now time.Duration, from int, message any) {
	l.core.Step(now, paxos.Envelope{From: l.members.Voters[from], Message: message.(paxos.Message)})
}

func (l *logged) tick(now time.Duration) { l.core.Tick(now) }

func (l *logged) suspect(now time.Duration, column int, suspected bool) {
	l.core.Suspect(now, l.members.Voters[column], suspected)
}

func (l *logged) busy() bool { return l.core.HasReady() }

func (l *logged) leads() bool { return l.core.Leads() }

func (l *logged) ready() turn {
	l.pending = l.core.Ready()
	out := &l.out
	out.records, out.messages = out.records[:0], out.messages[:0]
	out.sync, out.bytes = l.pending.MustSync, 0
	for _, r := range l.pending.Records {
		out.records = append(out.records, r)
		out.bytes += paxos.RecordSize(r)
	}
	for _, m := range l.pending.Messages {
		to, _ := l.members.Column(m.To)
		_, heartbeat := m.Message.(paxos.Heartbeat)
		out.messages = append(out.messages, envelope{
			to: to, message: m.Message, bytes: paxos.Size(m.Message), background: heartbeat,
		})
	}
	return *out
}

func (l *logged) execute(time.Duration) ([]answer, error) {
	var answers []answer
	for _, d := range l.pending.Decided {
		l.decided(d)
	}
	for _, c := range l.pending.Chosen {
		for _, p := range c.Proposals {
			answers = append(answers, answer{proposal: p, fast: c.Fast, deps: -1})
		}
	}
	for _, x := range l.pending.Execute {
		results, err := l.state.Apply(execution.KV{}, x.Value.Command)
		if err != nil {
			return nil, fmt.Errorf("execute slot %d: %w", x.Slot, err)
		}
		l.applied(x)
		for i, p := range x.Proposals {
			answers = append(answers, answer{proposal: p, executed: true, result: results[i], slot: uint64(x.Slot)})
		}
	}
	l.pending = paxos.Ready{}
	settled(l.state)
	return answers, nil
}
