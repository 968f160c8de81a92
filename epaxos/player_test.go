package epaxos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// player is a cluster of bare replicas whose messages are delivered by hand. Nothing moves by itself: no
// tick, no delivery. Replicas are named by their ids. After every step it checks what holds in every
// schedule: agreement; that a replica's disk vouches for what it sends; that promises never go back; that a
// quorum stands behind each proposal and decision; that nothing executes twice, nor before what was answered
// before it was proposed. Visibility, order and progress are checked by heal.
type player struct {
	members   epaxos.Membership
	limits    epaxos.Limits
	actors    []*actor // by column
	wire      []epaxos.Envelope
	now       time.Duration
	proposed  epaxos.ProposalID
	requests  map[uint64]*asked
	decided   map[epaxos.InstanceID]epaxos.Decision
	orders    [][]epaxos.InstanceID // of past lives
	ledger    *ledger
	gossip    bool // is shown
	branches  epaxos.Branches
	restarted bool
	healed    bool
	quiet     bool
	out       []string // what the running command has caused
	trace     []string // everything
}

// actor is one replica in all its lives.
type actor struct {
	*epaxos.Replica // nil while it is down
	disk            *disk
	graph           *execution.Graph
	order           []epaxos.InstanceID
	led             map[epaxos.InstanceID]epaxos.Led // decided, and not executed
	branches        epaxos.Branches                  // when last looked at
}

// asked is a client's request.
type asked struct {
	answered []*asked // before it was proposed
	executed epaxos.InstanceID
	done     bool // answered itself
}

// broken ends a script: it is the text of a violated invariant.
type broken string

func newPlayer(m epaxos.Membership, limits epaxos.Limits) *player {
	p := &player{
		members: m, limits: limits, now: time.Second, ledger: newLedger(m),
		requests: map[uint64]*asked{}, decided: map[epaxos.InstanceID]epaxos.Decision{},
	}
	for i := range m.Voters {
		p.actors = append(p.actors, &actor{disk: newDisk()})
		p.boot(epaxos.ReplicaID(i + 1))
	}
	return p
}

func (p *player) at(id epaxos.ReplicaID) *actor { return p.actors[id-1] }

func (p *player) alive(id epaxos.ReplicaID) bool { return p.at(id).Replica != nil }

func (p *player) note(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	p.trace = append(p.trace, line)
	if !p.quiet {
		p.out = append(p.out, line)
	}
}

// quietly keeps what happens out of the golden text. The trace of a failure has it.
func (p *player) quietly(do func()) {
	before := p.quiet
	p.quiet = true
	do()
	p.quiet = before
}

func (p *player) violated(invariant, format string, args ...any) {
	panic(broken(violation(invariant, format, args...)))
}

func (p *player) must(why string) {
	if why != "" {
		panic(broken(why))
	}
}

// boot makes a replica from what its disk holds. It executes again what it had executed.
func (p *player) boot(id epaxos.ReplicaID) {
	a := p.at(id)
	r, err := epaxos.New(epaxos.Config{
		ID: id, Membership: p.members, Index: deps.New(p.members.N()), Limits: p.limits,
		Rand: seeded(uint64(id)), Timing: epaxos.DefaultTiming(),
	})
	if err != nil {
		panic(err)
	}
	for _, record := range a.disk.synced {
		if err := r.Restore(record); err != nil {
			p.violated("integrity", "restore r%d: %v", id, err)
		}
	}
	r.Restored(p.now)
	a.Replica, a.graph, a.order, a.branches = r, execution.NewGraph(p.members), nil, epaxos.Branches{}
	a.led = map[epaxos.InstanceID]epaxos.Led{}
	p.quietly(func() { p.settle(id) })
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) } //nolint:gosec // reproducible

func write(key string) epaxos.Footprint { return epaxos.Footprint{{Mode: epaxos.Write, Key: key}} }

// settle does what a replica wants done: saves, then sends, then executes.
func (p *player) settle(id epaxos.ReplicaID) {
	a := p.at(id)
	for turns := 0; a.Replica != nil && a.HasReady(); turns++ {
		if turns > 100 {
			p.violated("progress", "a turn of r%d does not end", id)
		}
		ready := a.Ready()
		p.choices(id)
		if slot, forgot := a.Forgotten(); forgot {
			p.violated("durability", "r%d has forgotten %v", id, slot)
		}
		p.save(id, ready)
		p.send(ready.Messages)
		p.execute(id, ready)
	}
}

// choices tells which lines of Figure 3 a replica has taken, and counts the branches of all kinds.
func (p *player) choices(id epaxos.ReplicaID) {
	a := p.at(id)
	now := a.Stats().Branches
	for i, n := range now {
		p.branches[i] += n - a.branches[i]
		if name := epaxos.Branch(i).String(); n > a.branches[i] && strings.HasPrefix(name, "line ") {
			p.note("r%d takes %s", id, name)
		}
	}
	a.branches = now
}

func (p *player) save(id epaxos.ReplicaID, ready epaxos.Ready) {
	a := p.at(id)
	for _, r := range ready.Records {
		line := p.members.FormatRecord(id, r)
		if r.Command != nil && len(r.Command.Requests) > 1 {
			line += " requests=" + numbers(r.Command)
		}
		if !ready.MustSync {
			line += " (not synced)"
		}
		p.note("%s", line)
	}
	p.must(a.disk.save(ready.Records, ready.MustSync))
	p.ledger.saved(id, ready.Records)
	for _, r := range ready.Records {
		if _, known := p.ledger.chosen[r.ID]; r.Phase == epaxos.Committed && !known {
			p.must(p.ledger.decided(r))
		}
	}
	for _, l := range ready.Led {
		p.must(a.disk.forbidsAnswer(p.members, l))
		a.led[l.ID] = l
	}
}

func numbers(c *epaxos.Command) string {
	var all []string
	for _, r := range c.Requests {
		all = append(all, fmt.Sprint(r.Number))
	}
	return strings.Join(all, ",")
}

// send puts messages on the wire. The trace has one line for the same message to several replicas.
func (p *player) send(messages []epaxos.Envelope) {
	for i := 0; i < len(messages); {
		e := messages[i]
		text, to := p.members.FormatMessage(e.Message), ""
		for ; i < len(messages) && p.members.FormatMessage(messages[i].Message) == text; i++ {
			p.must(p.at(e.From).disk.forbids(messages[i].Message))
			p.must(p.ledger.sent(messages[i]))
			p.wire = append(p.wire, messages[i])
			to += fmt.Sprintf(",r%d", messages[i].To)
		}
		if _, gossip := e.Message.(epaxos.Gossip); !gossip || p.gossip {
			p.note("r%d -> %s %s", e.From, to[1:], text)
		}
	}
}

func (p *player) execute(id epaxos.ReplicaID, ready epaxos.Ready) {
	a := p.at(id)
	for _, l := range ready.Learned {
		a.graph.Learn(l.ID, l.Command)
	}
	for _, d := range ready.Committed {
		if before, seen := p.decided[d.ID]; seen && p.format(before) != p.format(d) {
			p.violated("agreement", "r%d commits %v as %s, before it was %s", id, d.ID, p.format(d), p.format(before))
		}
		p.decided[d.ID] = d
		a.graph.Commit(d.ID, d.Command, d.Deps)
	}
	for component := a.graph.Next(); component != nil; component = a.graph.Next() {
		p.note("r%d executes %s", id, list(component))
		p.checkSize(component)
		for _, v := range component {
			p.run(a, v)
		}
	}
	a.Executed(p.now, a.graph.TakeExecuted())
}

// list is "1.1", or "[1.1 2.1]" for a component of several.
func list(component []execution.Vertex) string {
	var ids []string
	for _, v := range component {
		ids = append(ids, v.ID.String())
	}
	if len(ids) == 1 {
		return ids[0]
	}
	return "[" + strings.Join(ids, " ") + "]"
}

// run executes one command: no request a second time in another instance, and none before one that was
// answered before it was proposed.
func (p *player) run(a *actor, v execution.Vertex) {
	for _, request := range v.Command.Requests {
		q := p.requests[request.Number]
		if !q.executed.IsZero() && q.executed != v.ID {
			p.violated("once", "request %d executes in %v and in %v", request.Number, q.executed, v.ID)
		}
		q.executed = v.ID
		for _, before := range q.answered {
			if !slices.Contains(a.order, before.executed) && before.executed != v.ID && p.interfere(before.executed, v.ID) {
				p.violated("linearizability", "%v executes before %v, which was answered before %v was proposed",
					v.ID, before.executed, v.ID)
			}
		}
	}
	a.order = append(a.order, v.ID)
	led, own := a.led[v.ID]
	if !own {
		return
	}
	delete(a.led, v.ID)
	for _, proposal := range led.Proposals {
		p.requests[uint64(proposal)].done = true
	}
	path := ""
	if led.Fast {
		path = " (fast path)"
	}
	p.note("r%d answers %v%s", v.ID.Replica, v.ID, path)
}

func (p *player) interfere(a, b epaxos.InstanceID) bool {
	one, other := p.decided[a].Command, p.decided[b].Command
	return one != nil && other != nil && one.Footprint.Interferes(other.Footprint)
}

// propose has a replica take requests in one turn, one for each footprint.
func (p *player) propose(at epaxos.ReplicaID, footprints ...epaxos.Footprint) {
	for _, f := range footprints {
		p.proposed++
		q := &asked{}
		for number := uint64(1); number < uint64(p.proposed); number++ {
			if before := p.requests[number]; before.done {
				q.answered = append(q.answered, before)
			}
		}
		p.requests[uint64(p.proposed)] = q
		queued := p.at(at).Stats().Queued
		err := p.at(at).Propose(p.now, p.proposed, epaxos.Request{Number: uint64(p.proposed)}, f)
		switch {
		case err != nil:
			p.note("r%d refuses request %d: %v", at, p.proposed, err)
		case p.at(at).Stats().Queued > queued:
			p.note("r%d queues request %d", at, p.proposed)
		}
	}
	p.settle(at)
}

// step hands over one message, from the wire or made up.
func (p *player) step(e epaxos.Envelope) {
	if p.alive(e.To) {
		p.at(e.To).Step(p.now, e)
		p.settle(e.To)
	}
}

// tick lets one replica see that time has passed.
func (p *player) tick(id epaxos.ReplicaID) {
	if a := p.at(id); a.Replica != nil {
		a.Blocked(p.now, a.graph.Blocked())
		a.Tick(p.now)
		p.settle(id)
	}
}

const tickInterval = 50 * time.Millisecond

// wait lets time pass at some replicas.
func (p *player) wait(d time.Duration, at ...epaxos.ReplicaID) {
	for ; d > 0; d -= tickInterval {
		p.now += tickInterval
		for _, id := range at {
			p.tick(id)
		}
	}
}

// kill stops a replica, which loses what it had not synced; start brings it back.
func (p *player) kill(id epaxos.ReplicaID) {
	a := p.at(id)
	p.note("r%d crashes", id)
	p.must(a.disk.crash(0))
	p.checkMalformed(id)
	p.orders = append(p.orders, a.order)
	a.Replica, a.order = nil, nil
}

func (p *player) start(id epaxos.ReplicaID) {
	p.note("r%d restarts", id)
	p.restarted = true
	p.boot(id)
}

func (p *player) suspect(at, whom epaxos.ReplicaID, suspected bool) {
	p.at(at).Suspect(p.now, whom, suspected)
	p.settle(at)
}

// sees delivers everything that is under way among the replicas, and what that causes among them.
func (p *player) sees(among ...epaxos.ReplicaID) {
	for range 10_000 {
		i := slices.IndexFunc(p.wire, func(e epaxos.Envelope) bool {
			return slices.Contains(among, e.To) && slices.Contains(among, e.From)
		})
		if i < 0 {
			return
		}
		e := p.wire[i]
		p.wire = slices.Delete(p.wire, i, i+1)
		p.step(e)
	}
	p.violated("progress", "the replicas %v talk for ever", among)
}

// recover has a replica begin a new attempt on an instance, as it would in due time. It reports whether it can.
func (p *player) recover(at epaxos.ReplicaID, id epaxos.InstanceID) bool {
	began := p.at(at).RecoverNow(id)
	p.settle(at)
	return began
}

// format is "no-op" or the command with its dependencies, as in "w:x deps=[2.1]".
func (p *player) format(d epaxos.Decision) string {
	if d.Command == nil {
		return "no-op"
	}
	return fmt.Sprintf("%v deps=%s", d.Command, p.members.FormatDeps(d.Deps))
}
