package epaxos_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// reader asks for reads during a run of any kind, and checks what they may show (rules Q1 and Q2).
type reader struct {
	c       *cluster
	rand    *rand.Rand // its own, so that a run is the same without it
	open    map[epaxos.ProposalID]*readAttempt
	last    epaxos.ProposalID
	served  int
	waiting int // points that were not passed when they came
}

// readAttempt is one read: what was executed anywhere before it began must be in what it shows.
type readAttempt struct {
	at        int
	replica   *epaxos.Replica // a restart ends it
	footprint epaxos.Footprint
	before    []epaxos.InstanceID
	point     epaxos.Dependencies
}

func (c *cluster) readNowAndThen() {
	r := &reader{c: c, rand: rand.New(rand.NewPCG(c.seed, 11)), open: map[epaxos.ProposalID]*readAttempt{}} //nolint:gosec // reproducible
	c.reader = r
	for range 3 + r.rand.IntN(12) {
		c.after(time.Duration(r.rand.IntN(6000))*time.Millisecond, r.begin)
	}
}

func (r *reader) begin() {
	at := r.rand.IntN(len(r.c.sites))
	s := r.c.sites[at]
	if s.replica == nil {
		return
	}
	attempt := &readAttempt{
		at: at, replica: s.replica,
		footprint: epaxos.Footprint{{Mode: epaxos.Read, Key: string(rune('a' + r.rand.IntN(2)))}},
	}
	seen := map[epaxos.InstanceID]bool{}
	orders := r.c.orders
	for _, other := range r.c.sites {
		orders = append(orders[:len(orders):len(orders)], other.order)
	}
	for _, order := range orders {
		for _, id := range order {
			if !seen[id] && r.c.commands[id].Footprint.Interferes(attempt.footprint) {
				seen[id] = true
				attempt.before = append(attempt.before, id)
			}
		}
	}
	r.last++
	r.open[r.last] = attempt
	s.replica.Read(r.c.now, r.last, attempt.footprint)
	r.c.turn(at)
}

// take checks the points of a turn, and whether what waits may be served now.
func (r *reader) take(i int, points []epaxos.ReadPoint) {
	for _, p := range points {
		attempt := r.open[p.Proposal]
		attempt.point = p.Deps
		for _, id := range attempt.before {
			if column, _ := r.c.members.Column(id.Replica); !p.Deps.Covers(column, id.Slot) {
				r.c.violated("linearizability", "r%d reads up to %v, and %v was executed before it began",
					r.c.members.Voters[i], p.Deps, id)
			}
		}
		if !r.c.sites[i].graph.Passed(attempt.footprint, p.Deps) {
			r.waiting++
		}
	}
	s := r.c.sites[i]
	for id := epaxos.ProposalID(1); id <= r.last; id++ {
		attempt := r.open[id]
		if attempt == nil || attempt.at != i || attempt.replica != s.replica || attempt.point == nil ||
			!s.graph.Passed(attempt.footprint, attempt.point) {
			continue
		}
		delete(r.open, id)
		r.served++
		for _, id := range attempt.before {
			if !s.graph.IsExecuted(id) {
				r.c.violated("linearizability", "r%d serves a read of %v without %v", r.c.members.Voters[i], attempt.footprint, id)
			}
		}
	}
}

// left are the reads that a replica that is still alive has not served, some time after the end of all faults.
func (r *reader) left() int {
	r.c.run(r.c.now + 10*time.Second) // the last begins within six
	left := 0
	for i, s := range r.c.sites {
		if s.replica != nil {
			r.take(i, nil)
		}
	}
	for id := epaxos.ProposalID(1); id <= r.last; id++ {
		if attempt := r.open[id]; attempt != nil && attempt.replica == r.c.sites[attempt.at].replica {
			left++
		}
	}
	return left
}

// TestRandomReads reads during random runs of every kind.
func TestRandomReads(t *testing.T) {
	for _, s := range []shape{{1, 0, 0}, {2, 0, 0}, {3, 1, 1}, {3, 1, 0}, {4, 1, 1}, {5, 2, 2}, {5, 2, 1}, {7, 3, 2}} {
		t.Run(fmt.Sprintf("n=%d,f=%d,e=%d", s.n, s.f, s.e), func(t *testing.T) {
			t.Parallel()
			count := *runs
			if count == 0 {
				count = 100
			}
			served, waiting := 0, 0
			kind := func(c *cluster) {
				c.readNowAndThen()
				c.anything()
			}
			for i := range count {
				c := runOf(kind, t, *seed+uint64(i), s.membership(), false) //nolint:gosec // small
				if c == nil {
					runOf(kind, t, *seed+uint64(i), s.membership(), true)                                         //nolint:gosec // small
					t.Fatalf("seed %d failed once and not again: the core is not deterministic", *seed+uint64(i)) //nolint:gosec // small
				}
				if left := c.reader.left(); left > 0 {
					t.Fatal(violation("progress", "seed %d: %d reads are never served", *seed+uint64(i), left)) //nolint:gosec // small
				}
				served, waiting = served+c.reader.served, waiting+c.reader.waiting
			}
			t.Logf("%d reads were served, %d of them had to wait", served, waiting)
			if served == 0 || s.n > 2 && waiting == 0 {
				t.Errorf("%d reads, %d of which waited: the runs show nothing", served, waiting)
			}
		})
	}
}
