package epaxos_test

import (
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// stage is a run in which no message moves by itself. Acts decide what is delivered: a leader proposes and
// is heard by some, collects answers, dies; somebody recovers an instance with a chosen quorum and gets so
// far and no further. Two recoveries of interfering commands that know different things meet in nearly every
// run, where delays drawn at random bring them together once in many thousand.
type stage struct {
	c    *cluster
	held []epaxos.Envelope
	ids  []epaxos.InstanceID

	proposed uint64
}

// heldMax bounds what is under way: the oldest is lost.
const heldMax = 400

func (g *stage) hold(e epaxos.Envelope) {
	switch e.Message.(type) {
	case epaxos.Gossip, epaxos.Fetch, epaxos.TryRecover:
		return
	}
	if len(g.held) >= heldMax {
		g.held = g.held[1:]
	}
	g.held = append(g.held, e)
}

// acts plays a few acts, then lets the messages that are left go, or loses them.
func (c *cluster) acts() {
	c.chaos = chaos{
		hasty: true, dieAfterFast: c.rand.IntN(3) == 0, duplicate: float64(c.rand.IntN(2)) * 0.1,
		crash: []float64{0, 0, 0, 0.05}[c.rand.IntN(4)],
	}
	if c.rand.IntN(3) == 0 {
		c.chaos.away = c.distances()
	}
	c.boot()
	if c.members.N() == 1 {
		return // nobody to recover with
	}
	g := &stage{c: c}
	c.stage = g
	g.open()
	for range 3 + c.rand.IntN(10) {
		g.act()
	}
	c.stage = nil
	for _, e := range g.held {
		if c.rand.IntN(3) == 0 {
			c.carry(e)
		}
	}
}

// distances are those of sites at one place, or of some far from the rest, whose answers always come last.
func (c *cluster) distances() []time.Duration {
	away := make([]time.Duration, c.members.N())
	far := time.Duration(c.rand.IntN(3)) * 25 * time.Millisecond
	for i := range away {
		away[i] = 35*time.Millisecond - far/2
		if c.rand.IntN(2) == 0 {
			away[i] += far
		}
	}
	return away
}

// open has two or three leaders propose, each heard by some replicas.
func (g *stage) open() {
	leaders := g.c.rand.Perm(len(g.c.sites))
	for p := range min(len(leaders), 2+g.c.rand.IntN(4)/3) {
		if g.propose(leaders[p]) && g.chance(0.7) {
			g.spread(g.ids[len(g.ids)-1])
		}
	}
	for _, id := range g.ids {
		g.spread(id)
		if g.chance(0.3) {
			g.collect(id)
		}
	}
}

func (g *stage) act() {
	if len(g.ids) == 0 {
		return
	}
	id := g.ids[g.c.rand.IntN(len(g.ids))]
	switch g.c.rand.IntN(16) {
	case 0, 1:
		g.spread(id)
	case 2, 3:
		g.collect(id)
	case 4:
		g.hurry(id)
	case 5, 6:
		g.kill(g.leader(id))
	case 7:
		g.kill(g.c.rand.IntN(len(g.c.sites)))
	case 8:
		g.c.restart(g.c.rand.IntN(len(g.c.sites)))
	case 9:
		if len(g.ids) < 4 {
			g.propose(g.c.rand.IntN(len(g.c.sites)))
		}
	case 10:
		g.gossip(id)
	default:
		g.recover(id)
	}
}

func (g *stage) chance(p float64) bool { return g.c.rand.Float64() < p }

func (g *stage) leader(id epaxos.InstanceID) int {
	column, _ := g.c.members.Column(id.Replica)
	return column
}

// propose has a replica lead a command.
func (g *stage) propose(at int) bool {
	s := g.c.sites[at]
	if s.replica == nil {
		return false
	}
	slot := s.replica.Tops()[at] + 1
	keys := 1
	if g.chance(0.1) {
		keys = 2
	}
	footprint := write("a")
	if g.chance(0.15) {
		footprint = g.c.footprint(keys)
	}
	g.proposed++
	_ = s.replica.Propose(g.c.now, epaxos.ProposalID(g.proposed), epaxos.Request{Number: g.proposed}, footprint)
	g.c.turn(at)
	if s.replica == nil || s.replica.Tops()[at] < slot {
		return false // it died, or its window is full
	}
	g.ids = append(g.ids, epaxos.InstanceID{Epoch: 1, Replica: g.c.members.Voters[at], Slot: slot})
	return true
}

// spread lets some replicas hear of a proposal, and its leader of some of their answers.
func (g *stage) spread(id epaxos.InstanceID) {
	for _, to := range g.some(0.5) {
		g.deliver(id, g.leader(id), to)
		if g.chance(0.3) {
			g.deliver(id, to, g.leader(id))
		}
	}
}

// collect brings the leader the answers that are under way, so that it may decide; then it may die.
func (g *stage) collect(id epaxos.InstanceID) {
	leader := g.leader(id)
	for _, from := range g.some(0.9) {
		g.deliver(id, from, leader)
	}
	if g.chance(0.3) {
		g.kill(leader)
	}
}

// hurry lets time pass at the leader, until it takes the slow path or repeats itself.
func (g *stage) hurry(id epaxos.InstanceID) {
	at := g.leader(id)
	if g.chance(0.3) {
		at = g.c.rand.IntN(len(g.c.sites))
	}
	g.c.now += 300 * time.Millisecond
	if s := g.c.sites[at]; s.replica != nil {
		s.replica.Tick(g.c.now)
		g.c.turn(at)
	}
}

// gossip delivers whatever there is about an instance on some links.
func (g *stage) gossip(id epaxos.InstanceID) {
	for _, from := range g.some(0.5) {
		for _, to := range g.some(0.5) {
			g.deliver(id, from, to)
		}
	}
}

// kill crashes a replica if a quorum stays, and mostly what it has sent is lost with it.
func (g *stage) kill(at int) {
	if g.c.sites[at].replica == nil || g.c.down() >= g.c.members.F {
		return
	}
	g.c.crash(at)
	if g.chance(0.7) {
		g.held = slices.DeleteFunc(g.held, func(e epaxos.Envelope) bool { return e.From == g.c.members.Voters[at] })
	}
	if g.chance(0.1) {
		g.c.restart(at)
	}
}

// recover has somebody recover an instance with a quorum, up to some stage.
func (g *stage) recover(id epaxos.InstanceID) {
	n := len(g.c.sites)
	at := g.c.rand.IntN(n)
	if s := g.c.sites[at]; s.replica == nil || !g.begin(id, at) {
		return
	}
	quorum := g.quorum(id, at)
	if g.chance(0.15) {
		quorum = g.some(0.5)
	}
	for depth := 1 + g.c.rand.IntN(5); depth > 0; depth-- {
		for _, to := range quorum {
			g.deliver(id, at, to)
		}
		for _, from := range quorum {
			g.deliver(id, from, at)
		}
		if g.chance(0.1) {
			quorum = g.quorum(id, at)
		}
	}
	if g.chance(0.2) {
		g.gossip(id)
	}
}

// begin makes it a replica's turn to recover an instance: others tell it to, and time passes for it alone.
func (g *stage) begin(id epaxos.InstanceID, at int) bool {
	s := g.c.sites[at]
	nominate := epaxos.Envelope{
		From: g.c.members.Voters[(at+1)%len(g.c.sites)], To: g.c.members.Voters[at],
		Message: epaxos.TryRecover{IDs: []epaxos.InstanceID{id}},
	}
	for range 2 {
		if s.replica == nil {
			return false
		}
		s.replica.Step(g.c.now, nominate)
		g.c.turn(at)
		g.c.now += 6 * time.Second
	}
	if s.replica != nil && g.chance(0.2) {
		s.replica.Tick(g.c.now) // repeats what it waits for, or begins again
		g.c.turn(at)
	}
	return s.replica != nil
}

// quorum is as few others as a recovery needs, seldom with the leader of the instance.
func (g *stage) quorum(id epaxos.InstanceID, at int) []int {
	var others []int
	for i, s := range g.c.sites {
		if i != at && s.replica != nil && (i != g.leader(id) || g.chance(0.25)) {
			others = append(others, i)
		}
	}
	g.c.rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return others[:min(len(others), max(0, g.c.members.SlowQuorum()-1))]
}

// some is a random set of replicas, in random order.
func (g *stage) some(p float64) []int {
	set := g.c.rand.Perm(len(g.c.sites))
	return slices.DeleteFunc(set, func(int) bool { return !g.chance(p) })
}

// deliver hands over what is under way about an instance on one link, now and then a second time later.
func (g *stage) deliver(id epaxos.InstanceID, from, to int) {
	voters := g.c.members.Voters
	var now []epaxos.Envelope
	g.held = slices.DeleteFunc(g.held, func(e epaxos.Envelope) bool {
		if e.From != voters[from] || e.To != voters[to] || epaxos.InstanceOf(e.Message) != id {
			return false
		}
		now = append(now, e)
		return !g.chance(g.c.chaos.duplicate)
	})
	for _, e := range now {
		g.c.deliver(to, e)
	}
}
