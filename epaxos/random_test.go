package epaxos_test

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

var (
	runs = flag.Int("runs", 400, "random schedules of each shape")
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
			for i := range *runs {
				c := randomRun(t, *seed+uint64(i), s.membership())
				c.count(total)
				total = c.total
			}
			t.Logf("fast %d slow %d recoveries %d validations %d waits %d no-ops %d again %d", total.Fast, total.Slow,
				total.Recoveries, total.Validations, total.Waits, total.NoOps, total.Reproposed)
			if total.Malformed > 0 {
				t.Errorf("%d messages of correct replicas were called malformed", total.Malformed)
			}
		})
	}
}

func randomRun(t *testing.T, seed uint64, m epaxos.Membership) *cluster {
	c := newCluster(t, seed, m)
	c.tracef("seed %d", seed)
	c.chaos = chaos{slow: map[string]time.Duration{}}
	if c.rand.IntN(2) == 0 {
		c.chaos.loss = c.rand.Float64() * 0.3
	}
	c.chaos.duplicate = float64(c.rand.IntN(2)) * 0.1
	c.chaos.crash = []float64{0, 0, 0.05, 0.3}[c.rand.IntN(4)]
	c.chaos.dieAfterFast = c.rand.IntN(3) == 0
	for range c.rand.IntN(6) {
		kind := messageTypes[c.rand.IntN(len(messageTypes))]
		if c.rand.IntN(2) == 0 {
			kind += fmt.Sprint(1 + c.rand.IntN(m.N()))
		}
		c.chaos.slow[kind] = time.Duration(c.rand.IntN(4000)) * time.Millisecond
	}
	c.workload(2 + c.rand.IntN(10))
	c.run(time.Duration(2+c.rand.IntN(8)) * time.Second)
	c.heal()
	for deadline := c.now + 120*time.Second; c.unsettled() != ""; {
		if c.now > deadline {
			c.fail("progress: %s", c.unsettled())
		}
		c.run(c.now + time.Second)
	}
	c.checkEnd()
	return c
}

// workload schedules proposals, wrong and right suspicions and crashes.
func (c *cluster) workload(commands int) {
	keys := 1 + c.rand.IntN(3)
	for p := range commands {
		at := c.rand.IntN(len(c.sites))
		c.after(time.Duration(c.rand.IntN(1500))*time.Millisecond, func() {
			s := c.sites[at]
			if s.replica == nil {
				return
			}
			_ = s.replica.Propose(c.now, epaxos.ProposalID(p+1), epaxos.Request{Number: uint64(p + 1)}, c.footprint(keys))
			c.turn(at)
		})
	}
	for range c.rand.IntN(3 * len(c.sites)) {
		at, whom := c.rand.IntN(len(c.sites)), c.rand.IntN(len(c.sites))
		suspected := c.rand.IntN(3) > 0
		c.after(time.Duration(c.rand.IntN(4000))*time.Millisecond, func() {
			if s := c.sites[at]; s.replica != nil {
				s.replica.Suspect(c.now, c.members.Voters[whom], suspected)
				c.turn(at)
			}
		})
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
