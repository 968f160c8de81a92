package epaxos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// The part of the random checker that is about watermarks: replicas tell what they have executed, forget
// it in memory and on disk, and replay after a crash from the state that they had saved.

// durable is the state that a replica has saved: which commands it has executed, in which order.
type durable struct {
	order     []epaxos.InstanceID
	marks     []epaxos.InstanceID // no-ops too
	floor     epaxos.Dependencies // records at or below are deleted; nil if none are
	unwritten []epaxos.InstanceID // marks that are in memory only
}

// restore begins a life from what the disk holds: state and marks first, so that nothing that was
// executed is ordered again (rule K8).
func (c *cluster) restore(s *site) {
	for _, id := range s.durable.marks {
		s.graph.Restore(id)
	}
	s.order, s.durable.unwritten = slices.Clone(s.durable.order), nil
	for _, id := range s.order {
		for _, request := range c.commands[id].Requests {
			s.applied[request.Number] = true
		}
	}
	if s.durable.floor != nil {
		if err := s.replica.RestoreTruncated(s.durable.floor); err != nil {
			c.violated("integrity", "restore: %v", err)
		}
	}
	for _, record := range s.disk.synced {
		if err := s.replica.Restore(record); err != nil {
			c.violated("integrity", "restore: %v", err)
		}
	}
	if err := s.replica.Restored(c.now); err != nil {
		c.violated("integrity", "restore: %v", err)
	}
	s.replica.ExecutedDurably(s.graph.Executed())
}

// writeBack saves the applied state now and then, with all records that it relies on, and deletes records
// that nobody needs any more.
func (c *cluster) writeBack(i int) {
	s := c.sites[i]
	if !c.chaos.collect && c.rand.IntN(8) > 0 || c.rand.IntN(2) > 0 {
		return
	}
	c.must(s.disk.sync(len(s.disk.lazy)))
	s.durable.marks = append(s.durable.marks, s.durable.unwritten...)
	s.durable.order, s.durable.unwritten = slices.Clone(s.order), nil
	s.replica.ExecutedDurably(s.graph.Executed())
	c.progress.executed(s.graph.Executed(), i, c.members)
	if c.rand.IntN(3) == 0 {
		s.durable.floor = s.replica.Watermarks().Truncated
		s.disk.synced = slices.DeleteFunc(s.disk.synced, func(r epaxos.Record) bool {
			column, _ := c.members.Column(r.ID.Replica)
			return s.durable.floor.Covers(column, r.ID.Slot)
		})
	}
}

// progress is when, by a count of both kinds of events, an instance was decided and when the last
// replica had executed it durably.
type progress struct {
	clock     int
	decidedAt map[epaxos.InstanceID]int
	doneAt    map[epaxos.InstanceID]int
	prefixes  []epaxos.Dependencies
	stable    epaxos.Dependencies
}

func newProgress() progress {
	return progress{decidedAt: map[epaxos.InstanceID]int{}, doneAt: map[epaxos.InstanceID]int{}}
}

func (p *progress) decided(id epaxos.InstanceID) {
	p.clock++
	p.decidedAt[id] = p.clock
}

func (p *progress) executed(prefix epaxos.Dependencies, by int, m epaxos.Membership) {
	if p.stable == nil {
		p.stable = make(epaxos.Dependencies, m.N())
		for range m.N() {
			p.prefixes = append(p.prefixes, make(epaxos.Dependencies, m.N()))
		}
	}
	p.prefixes[by].Raise(prefix)
	p.clock++
	for column := range p.stable {
		lowest := p.prefixes[0][column]
		for _, other := range p.prefixes {
			lowest = min(lowest, other[column])
		}
		for ; p.stable[column] < lowest; p.stable[column]++ {
			p.doneAt[m.ID(column, p.stable[column]+1)] = p.clock
		}
	}
}

// excused reports whether rule K4 allows two interfering commands not to depend on each other: all had
// executed one before the other was decided anywhere. Their order is checked all the same.
func (c *cluster) excused(a, b epaxos.InstanceID) bool {
	before := func(first, second epaxos.InstanceID) bool {
		done, all := c.progress.doneAt[first]
		return all && done < c.progress.decidedAt[second]
	}
	return before(a, b) || before(b, a)
}

// checkTruncated compares each replica's watermarks with what all have executed durably.
func (c *cluster) checkTruncated() {
	for i, s := range c.sites {
		if s.replica == nil || c.progress.stable == nil {
			continue
		}
		w := s.replica.Watermarks()
		if !w.Stable.CoversAll(w.Truncated) || !c.progress.stable.CoversAll(w.Stable) {
			c.violated("agreement", "r%d forgets up to %v, has stable %v, executed by all is %v",
				c.members.Voters[i], w.Truncated, w.Stable, c.progress.stable)
		}
	}
}

// forgetful is a run made for the watermarks: a stream of commands on few keys, of which some PreAccepts
// and Commits come so late that the watermarks have passed by meanwhile, gossip that does not reach
// everybody, crashes, and recoveries of the late ones.
func (c *cluster) forgetful() {
	n := c.members.N()
	if n > 1 && c.rand.IntN(3) == 0 {
		c.stale()
		return
	}
	c.chaos = chaos{
		hasty: true, collect: true, salt: c.rand.Uint64(), duplicate: float64(c.rand.IntN(3)) * 0.1,
		loss: []float64{0, 0, 0.05}[c.rand.IntN(3)], crash: []float64{0, 0, 0, 0.05}[c.rand.IntN(4)],
		dieAfterFast: c.rand.IntN(4) == 0, slow: map[string]time.Duration{},
	}
	c.chaos.split[kindOf(epaxos.PreAccept{})] = []float64{0.1, 0.3, 0.5}[c.rand.IntN(3)]
	c.chaos.split[kindOf(epaxos.Commit{})] = []float64{0, 0, 0.3}[c.rand.IntN(3)]
	for _, kind := range []epaxos.Message{epaxos.PreAcceptReply{}, epaxos.Recover{}, epaxos.ValidateReply{}} {
		c.chaos.split[kindOf(kind)] = []float64{0, 0, 0.1}[c.rand.IntN(3)]
	}
	for i := range n { // some hear of the others' progress late
		if c.rand.IntN(3) == 0 {
			c.chaos.slow["epaxos.Gossip"+string(rune('1'+i))] = time.Duration(c.rand.IntN(3000)) * time.Millisecond
		}
	}
	c.boot()
	keys := 1 + c.rand.IntN(2)
	for p := range 4 + c.rand.IntN(8) {
		c.proposeAt(time.Duration(c.rand.IntN(4000))*time.Millisecond, c.rand.IntN(n), p, keys)
	}
	for range c.rand.IntN(2 * n) {
		at, whom := c.rand.IntN(n), c.rand.IntN(n)
		c.suspectAt(time.Duration(c.rand.IntN(5000))*time.Millisecond, at, whom, c.rand.IntN(5) > 0)
	}
	for range c.rand.IntN(3) {
		at := c.rand.IntN(n)
		c.after(time.Duration(c.rand.IntN(5000))*time.Millisecond, func() { c.crash(at) })
	}
	c.run(c.now + time.Duration(2+c.rand.IntN(8))*time.Second)
}

// stale is a run about one late command. Its PreAccepts arrive when the watermarks have passed an interfering
// one that its leader had no part in; a replica that knew so has restarted and hears no more of it; the
// late command commits at once, its leader dies, and that replica recovers it.
func (c *cluster) stale() {
	order := c.rand.Perm(c.members.N())
	first, second := order[0], order[1]
	leader, restarted := c.members.Voters[first], c.members.Voters[second]
	salt := c.rand.Uint64()
	passing := time.Duration(500+c.rand.IntN(1000)) * time.Millisecond
	c.chaos = chaos{collect: true, dieAfterFast: c.rand.IntN(4) > 0}
	c.chaos.late = func(e epaxos.Envelope) time.Duration {
		m, isPreAccept := e.Message.(epaxos.PreAccept)
		_, isGossip := e.Message.(epaxos.Gossip)
		link := rand.New(rand.NewPCG(salt, uint64(e.To))) //nolint:gosec // reproducible
		switch {
		case isPreAccept && m.ID.Replica == leader && m.ID.Slot == 1 && c.now < passing:
			return passing - c.now + time.Duration(200+link.IntN(800))*time.Millisecond
		case isPreAccept && e.To == leader, isGossip && e.To == restarted && c.now > passing:
			return 4 * time.Second
		}
		return 0
	}
	c.boot()
	c.proposeAt(0, first, 0, 1)
	for p := range 1 + c.rand.IntN(2) {
		c.proposeAt(time.Duration(10+c.rand.IntN(100))*time.Millisecond, second, 1+p, 1)
	}
	c.after(passing, func() { c.crash(second) })
	c.after(passing+10*time.Millisecond, func() { c.restart(second) })
	for range 3 {
		c.suspectAt(passing+time.Duration(300+c.rand.IntN(1500))*time.Millisecond, second, first, true)
	}
	c.run(c.now + time.Duration(4+c.rand.IntN(4))*time.Second)
}

// TestRandomForgetting is the random checker on runs made for the watermarks alone.
func TestRandomForgetting(t *testing.T) {
	for _, s := range []shape{{2, 0, 0}, {3, 1, 1}, {3, 1, 0}, {5, 2, 2}, {5, 2, 1}} {
		t.Run(fmt.Sprintf("n=%d,f=%d,e=%d", s.n, s.f, s.e), func(t *testing.T) {
			t.Parallel()
			count := *runs
			if count == 0 {
				count = 100
			}
			var total epaxos.Stats
			for i := range count {
				c := runOf((*cluster).forgetful, t, *seed+uint64(i), s.membership(), false) //nolint:gosec // small
				if c == nil {
					runOf((*cluster).forgetful, t, *seed+uint64(i), s.membership(), true)                         //nolint:gosec // small
					t.Fatalf("seed %d failed once and not again: the core is not deterministic", *seed+uint64(i)) //nolint:gosec // small
				}
				total.Forgotten += c.total.Forgotten
				total.Validations += c.total.Validations
				total.Malformed += c.total.Malformed
			}
			t.Logf("forgotten %d, validations %d", total.Forgotten, total.Validations)
			if total.Forgotten == 0 || total.Malformed > 0 {
				t.Errorf("%d instances were forgotten, %d messages were malformed", total.Forgotten, total.Malformed)
			}
		})
	}
}
