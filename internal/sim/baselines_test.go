package sim

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/paxos"
)

// The protocols that the experiments compare EPaxos* with, on the same node, disk, network and faults.

var (
	baselineSeed = flag.Uint64("baseline", 0, "the one seed of the baselines to run, instead of several")
	baselineRuns = flag.Int("baselines", 0, "seeds of each baseline and size; 0 is 3")
)

// baseline is one of them.
type baseline struct {
	name      string
	kind      paxos.Kind
	quorums   func(n int) paxos.Quorums
	unchecked bool // the quorums need not meet
	forgets   bool // a restart loses what was saved
	lazy      bool // votes are told before they are synced
}

func baselines() []baseline {
	return []baseline{
		{name: "basicpaxos", kind: paxos.KindBasic, quorums: paxos.Majority},
		{name: "multipaxos", kind: paxos.KindMulti, quorums: paxos.Majority},
		{name: "flexiblepaxos", kind: paxos.KindMulti, quorums: func(n int) paxos.Quorums {
			return paxos.Flexible(n, max(2, n/2))
		}},
		{name: "fastpaxos", kind: paxos.KindFast, quorums: paxos.FastQuorums},
	}
}

// forgetful is a core that finds nothing of what it has saved.
type forgetful struct{ *paxos.Seat }

func (forgetful) Restore(epaxos.Record) error { return nil }

// lazy is a core that waits for no disk.
type lazy struct{ *paxos.Seat }

func (l lazy) Ready() epaxos.Ready {
	ready := l.Seat.Ready()
	ready.MustSync = false
	return ready
}

// in makes the protocol what runs in a simulation.
func (b baseline) in(n int) *other {
	q := b.quorums(n)
	return &other{
		tolerates:  n - max(q.Prepare, q.Accept),
		newOrderer: func(m epaxos.Membership) node.Orderer { return paxos.NewOrder(m) },
		newCore: func(s *setup, id epaxos.ReplicaID, m epaxos.Membership, r *rand.Rand) (node.Core, error) {
			seat, err := paxos.NewSeat(paxos.Config{
				Kind: b.kind, ID: id, Quorums: q, Rand: r, Succession: m.Voters, Unchecked: b.unchecked,
				Limits: paxos.Limits{InFlight: s.limits.InFlight, Pack: s.limits.Pack, Queue: s.limits.Queue},
				Timing: paxos.Timing{
					Resend: s.timing.Resend, Fetch: s.timing.Fetch, Stagger: s.timing.Stagger, Gossip: s.timing.Gossip,
					Backoff: s.timing.Fetch, Patience: s.timing.Resend,
				},
			}, m)
			switch {
			case b.forgets:
				return forgetful{seat}, err
			case b.lazy:
				return lazy{seat}, err
			default:
				return seat, err
			}
		},
	}
}

// play runs one seed and returns what was violated.
func (b baseline) play(n int, seed uint64) (Report, error) {
	return Run(Options{Seed: seed, Replicas: n, Epochs: EpochsOne, other: b.in(n)})
}

// TestBaselines: none breaks under the faults that EPaxos* has to bear, crashes and restarts on its own log included,
// and each finishes once they are over.
func TestBaselines(t *testing.T) {
	for _, b := range baselines() {
		for _, n := range []int{3, 4, 5} {
			t.Run(fmt.Sprintf("%s-n%d", b.name, n), func(t *testing.T) {
				t.Parallel()
				first, count := uint64(1), *baselineRuns
				switch {
				case count > 0:
				case testing.Short():
					count = 1
				default:
					count = 3
				}
				if *baselineSeed != 0 {
					first, count = *baselineSeed, 1
				}
				began := time.Now()
				var total Report
				for seed := first; seed < first+uint64(count); seed++ { //nolint:gosec // positive
					report, err := b.play(n, seed)
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					total.Crashes += report.Crashes
					total.Answered += report.Answered
				}
				t.Logf("%d runs, %d crashes, %d answers in %v", count, total.Crashes, total.Answered,
					time.Since(began).Round(time.Millisecond))
				if count > 2 && (total.Answered < 50*count || total.Crashes == 0) {
					t.Errorf("%d crashes and %d answers prove nothing", total.Crashes, total.Answered)
				}
			})
		}
	}
}

// TestBrokenBaselines: the checkers find what they are for.
func TestBrokenBaselines(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine for each run: nothing for the race detector")
	}
	quorums := func(change func(*paxos.Quorums)) func(int) paxos.Quorums {
		return func(n int) paxos.Quorums {
			q := paxos.FastQuorums(n)
			change(&q)
			return q
		}
	}
	small := quorums(func(q *paxos.Quorums) { q.Prepare, q.Accept = 2, 2 })
	for _, b := range []struct {
		baseline
		n int
	}{
		{baseline{name: "basic with small quorums", kind: paxos.KindBasic, quorums: small, unchecked: true}, 5},
		{baseline{name: "multi with small quorums", kind: paxos.KindMulti, quorums: small, unchecked: true}, 5},
		{baseline{name: "flexible with quorums that do not meet", kind: paxos.KindMulti, unchecked: true,
			quorums: quorums(func(q *paxos.Quorums) { q.Prepare, q.Accept = 3, 2 })}, 5},
		{baseline{name: "fast with majorities", kind: paxos.KindFast, unchecked: true,
			quorums: quorums(func(q *paxos.Quorums) { q.Fast = 3 })}, 5},
		{baseline{name: "basic without memory", kind: paxos.KindBasic, quorums: paxos.Majority, forgets: true}, 3},
		{baseline{name: "multi without memory", kind: paxos.KindMulti, quorums: paxos.Majority, forgets: true}, 3},
		{baseline{name: "fast without memory", kind: paxos.KindFast, quorums: paxos.FastQuorums, forgets: true}, 5},
		{baseline{name: "basic without syncs", kind: paxos.KindBasic, quorums: paxos.Majority, lazy: true}, 3},
		{baseline{name: "multi without syncs", kind: paxos.KindMulti, quorums: paxos.Majority, lazy: true}, 3},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 300; seed++ {
				_, err := b.play(b.n, seed)
				var v *Violation
				if errors.As(err, &v) && v.Invariant != "progress" {
					text, _, _ := strings.Cut(v.Error(), "\n")
					t.Logf("seed %d: %.200s", seed, text)
					return
				}
			}
			t.Fatal("nobody noticed")
		})
	}
}
