package epaxos_test

import (
	"flag"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

var (
	runs = flag.Int("runs", 0, "random schedules of each shape; 0 is 400, and a quarter of that from 7 replicas on")
	seed = flag.Uint64("seed", 1, "first seed of the random schedules")
)

type shape struct{ n, f, e int }

func (s shape) membership() epaxos.Membership {
	m := epaxos.Membership{Epoch: 1, F: s.f, E: s.e}
	for i := range s.n {
		m.Voters = append(m.Voters, epaxos.ReplicaID(i+1))
	}
	return m
}

var messageTypes = []string{
	"epaxos.PreAccept", "epaxos.PreAcceptReply", "epaxos.Accept", "epaxos.AcceptReply", "epaxos.Commit", "epaxos.Recover",
	"epaxos.RecoverReply", "epaxos.Validate", "epaxos.ValidateReply", "epaxos.Waiting",
}

// TestRandomSchedules is the random checker of the bare core: agreement, visibility, order and
// progress after the faults end, for every shape of cluster.
func TestRandomSchedules(t *testing.T) {
	shapes := []shape{{1, 0, 0}, {2, 0, 0}, {3, 1, 1}, {3, 1, 0}, {4, 1, 1}, {5, 2, 2}, {5, 2, 1}, {7, 3, 2}, {9, 4, 3}}
	for _, s := range shapes {
		t.Run(fmt.Sprintf("n=%d,f=%d,e=%d", s.n, s.f, s.e), func(t *testing.T) {
			t.Parallel()
			var total epaxos.Stats
			var slowest time.Duration
			count := *runs
			if count == 0 {
				count = 400
				if s.n >= 7 {
					count /= 4 // they take long and find little more
				}
			}
			for i := range count {
				c := randomRun(t, *seed+uint64(i), s.membership(), false)
				if c == nil {
					randomRun(t, *seed+uint64(i), s.membership(), true)
					t.Fatalf("seed %d failed once and not again: the core is not deterministic", *seed+uint64(i))
				}
				c.count(total)
				total = c.total
				slowest = max(slowest, c.settled)
			}
			t.Logf("fast %d slow %d recoveries %d validations %d waits %d no-ops %d again %d forgotten %d, slowest end %v",
				total.Fast, total.Slow, total.Recoveries, total.Validations, total.Waits, total.NoOps, total.Reproposed,
				total.Forgotten, slowest)
			if total.Malformed > 0 {
				t.Error(violation("integrity", "%d messages of correct replicas were called malformed", total.Malformed))
			}
		})
	}
}

// randomRun is one run. Without tracing it returns nil if the run failed or the core panicked; with it
// the test ends.
func randomRun(t *testing.T, seed uint64, m epaxos.Membership, tracing bool) (c *cluster) {
	return runOf((*cluster).anything, t, seed, m, tracing)
}

// anything is a run of one of the kinds.
func (c *cluster) anything() {
	switch c.rand.IntN(6) {
	case 0:
		c.calm()
		c.run(c.now + time.Duration(2+c.rand.IntN(8))*time.Second)
	case 1:
		c.forgetful()
	case 2:
		c.hostile()
		c.run(c.now + time.Duration(2+c.rand.IntN(8))*time.Second)
	default:
		c.acts()
		c.run(c.now + time.Duration(c.rand.IntN(2000))*time.Millisecond)
	}
}

// runOf is one run of a kind.
func runOf(kind func(*cluster), t *testing.T, seed uint64, m epaxos.Membership, tracing bool) (c *cluster) {
	defer func() {
		switch why := recover(); {
		case why == nil:
		case tracing:
			_, stack, _ := strings.Cut(string(debug.Stack()), "panic(")
			if at := strings.Index(stack, "epaxos"); at < 0 || strings.HasPrefix(stack[at:], "epaxos/epaxos_test.") {
				panic(why) // a fault of the harness
			}
			c.violated("integrity", "panic: %v\n%s", why, stack)
		default:
			c = nil
		}
	}()
	c = newCluster(t, seed, m)
	c.tracing = tracing
	kind(c)
	c.heal()
	healed := c.now
	for deadline := c.now + 120*time.Second; c.unsettled() != ""; {
		if c.now > deadline {
			c.violated("progress", "%s", c.unsettled())
		}
		c.run(c.now + time.Second)
	}
	c.settled = c.now - healed
	c.checkEnd()
	return c
}

// calm is a run of ordinary trouble: several commands and keys, loss, crashes, slow message types.
func (c *cluster) calm() {
	c.chaos = chaos{slow: map[string]time.Duration{}, collect: c.rand.IntN(2) == 0}
	if c.rand.IntN(2) == 0 {
		c.chaos.loss = c.rand.Float64() * 0.3
	}
	c.chaos.duplicate = float64(c.rand.IntN(2)) * 0.1
	c.chaos.crash = []float64{0, 0, 0.05, 0.3}[c.rand.IntN(4)]
	c.chaos.dieAfterFast = c.rand.IntN(3) == 0
	for range c.rand.IntN(6) {
		kind := messageTypes[c.rand.IntN(len(messageTypes))]
		if c.rand.IntN(2) == 0 {
			kind += fmt.Sprint(1 + c.rand.IntN(c.members.N()))
		}
		c.chaos.slow[kind] = time.Duration(c.rand.IntN(4000)) * time.Millisecond
	}
	c.boot()
	c.workload(2 + c.rand.IntN(10))
}

// hostile is a run made for recovery: two to four interfering commands of different leaders close
// together, each known to some replicas only, leaders that die in the middle or just after a fast
// commit, and recoveries of the commands that meet.
func (c *cluster) hostile() {
	n := c.members.N()
	c.chaos = chaos{
		hasty: true, salt: c.rand.Uint64(), duplicate: float64(c.rand.IntN(3)) * 0.15,
		loss: []float64{0, 0, 0.1}[c.rand.IntN(3)], crash: []float64{0, 0, 0, 0.1}[c.rand.IntN(4)],
		dieAfterFast: c.rand.IntN(2) == 0,
	}
	for kind := range c.chaos.split {
		c.chaos.split[kind] = []float64{0, 0, 0.1, 0.3}[c.rand.IntN(4)]
	}
	c.chaos.split[kindOf(epaxos.PreAccept{})] = []float64{0.2, 0.4, 0.6}[c.rand.IntN(3)]
	c.chaos.split[kindOf(epaxos.Commit{})] = []float64{0, 0.5, 1}[c.rand.IntN(3)]
	c.boot()
	leaders := c.rand.Perm(n)
	mortal := c.rand.Float64()
	for p := range 2 + c.rand.IntN(3) {
		at := leaders[p%n]
		start := time.Duration(c.rand.IntN(120)) * time.Millisecond
		if p > 1 {
			start += time.Duration(c.rand.IntN(2000)) * time.Millisecond
		}
		c.proposeAt(start, at, p, 1)
		if c.rand.Float64() < mortal {
			c.after(start+time.Duration(c.rand.IntN(400))*time.Millisecond, func() { c.crash(at) })
		}
	}
	for range c.rand.IntN(3 * n) {
		at, whom := c.rand.IntN(n), leaders[c.rand.IntN(min(n, 3))]
		c.suspectAt(time.Duration(c.rand.IntN(2000))*time.Millisecond, at, whom, c.rand.IntN(8) > 0)
	}
}

func (c *cluster) proposeAt(delay time.Duration, at, p, keys int) {
	c.after(delay, func() {
		s := c.sites[at]
		if s.replica == nil {
			return
		}
		request := epaxos.Request{Number: uint64(p + 1)}
		_ = s.replica.Propose(c.now, epaxos.ProposalID(p+1), request, c.footprint(keys))
		c.turn(at)
	})
}

func (c *cluster) suspectAt(delay time.Duration, at, whom int, suspected bool) {
	c.after(delay, func() {
		if s := c.sites[at]; s.replica != nil {
			s.replica.Suspect(c.now, c.members.Voters[whom], suspected)
			c.turn(at)
		}
	})
}

// workload schedules proposals, wrong and right suspicions and crashes.
func (c *cluster) workload(commands int) {
	keys := 1 + c.rand.IntN(3)
	for p := range commands {
		c.proposeAt(time.Duration(c.rand.IntN(1500))*time.Millisecond, c.rand.IntN(len(c.sites)), p, keys)
	}
	for range c.rand.IntN(3 * len(c.sites)) {
		at, whom := c.rand.IntN(len(c.sites)), c.rand.IntN(len(c.sites))
		c.suspectAt(time.Duration(c.rand.IntN(4000))*time.Millisecond, at, whom, c.rand.IntN(3) > 0)
	}
	for range c.rand.IntN(3) {
		at := c.rand.IntN(len(c.sites))
		c.after(time.Duration(c.rand.IntN(3000))*time.Millisecond, func() {
			if c.chaos.crash > 0 {
				c.crash(at)
			}
		})
	}
}

func (c *cluster) footprint(keys int) epaxos.Footprint {
	key := func() string { return string(rune('a' + c.rand.IntN(keys))) }
	mode := epaxos.Write
	if c.rand.IntN(4) == 0 {
		mode = epaxos.Read
	}
	f := epaxos.Footprint{{Mode: mode, Key: key()}}
	switch c.rand.IntN(8) {
	case 0:
		if k := key(); k != f[0].Key {
			f = append(f, epaxos.Access{Mode: epaxos.Write, Key: k})
		}
	case 1:
		f = epaxos.Footprint{{Mode: epaxos.Everything}}
	case 2:
		f = epaxos.Footprint{{Mode: epaxos.Read, Range: true, Key: "a", End: "c"}}
	}
	return f
}
