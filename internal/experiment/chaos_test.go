package experiment

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/paxos"
	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/internal/workload"
)

var (
	seedFlag = flag.Uint64("seed", 0, "the one seed to run, instead of several")
	runsFlag = flag.Int("runs", 0, "random schedules for each protocol and size")
)

// runs is how many schedules are tried. A run is one goroutine, so that the race detector has nothing to find in it.
func runs() int {
	switch {
	case *runsFlag > 0:
		return *runsFlag
	case raceDetector:
		return 1
	default:
		return 8
	}
}

// faultsLast is how long clients ask and faults happen; then there must be an end.
const faultsLast = 6 * time.Second

// auditor watches a run with faults and says what must never be.
type auditor struct {
	w         *world
	rand      *rand.Rand
	restarts  bool
	slots     map[paxos.Slot]string
	instances map[epaxos.InstanceID]string
	order     []paxos.CommandID // as the replica that is farthest has executed it
	position  []int             // of each replica in it
	once      map[paxos.CommandID]bool
	operation []history.Operation
	parted    [][2]int
	problem   string
	crashes   int
	forgets   bool // planted: a restart loses what was saved
}

func (a *auditor) violated(name, format string, args ...any) {
	if a.problem == "" {
		a.problem = fmt.Sprintf("violation of %s: ", name) + fmt.Sprintf(format, args...)
	}
}

func names(entry paxos.Entry) string {
	var b strings.Builder
	for _, v := range entry {
		fmt.Fprint(&b, v.ID)
	}
	return b.String()
}

func (a *auditor) decided(h *host, d paxos.Decision) {
	got := names(d.Entry)
	if want, known := a.slots[d.Slot]; known && want != got {
		a.violated("agreement", "replica %d decides %q for slot %d, others %q", h.column+1, got, d.Slot, want)
	}
	a.slots[d.Slot] = got
}

func (a *auditor) applied(h *host, x paxos.Execution) {
	at := a.position[h.column]
	a.position[h.column]++
	switch {
	case at < len(a.order) && a.order[at] != x.Value.ID:
		a.violated("order", "replica %d executes %v as number %d, others %v", h.column+1, x.Value.ID, at, a.order[at])
	case at < len(a.order):
	case a.once[x.Value.ID]:
		a.violated("once", "replica %d executes %v again", h.column+1, x.Value.ID)
	default:
		a.order = append(a.order, x.Value.ID)
		a.once[x.Value.ID] = true
	}
}

func (a *auditor) committed(d epaxos.Decision) {
	got := fmt.Sprint(d.Command == nil, d.Deps)
	if d.Command != nil {
		got += fmt.Sprint(d.Command.Requests)
	}
	if want, known := a.instances[d.ID]; known && want != got {
		a.violated("agreement", "instance %v is decided as %q and as %q", d.ID, got, want)
	}
	a.instances[d.ID] = got
}

func (a *auditor) answered(now time.Duration, c *call, result []byte) {
	decoded, err := wire.DecodeResult(result)
	if err != nil {
		a.violated("integrity", "a result does not decode: %v", err)
	}
	a.operation = append(a.operation, history.Operation{
		Client: c.region.column<<16 | c.client, Op: c.op, Call: c.At, Return: now, Outcome: wire.OutcomeApplied,
		Result: decoded,
	})
}

func (a *auditor) abandoned(c *call) {
	a.operation = append(a.operation, history.Operation{
		Client: c.region.column<<16 | c.client, Op: c.op, Call: c.At, Outcome: wire.OutcomeUnknown,
	})
}

// crash stops a replica and its clients. What was not synced may be lost.
func (a *auditor) crash(i int) {
	h := a.w.hosts[i]
	if h.replica == nil {
		return
	}
	a.crashes++
	h.replica = nil
	if a.rand.IntN(2) == 0 {
		h.lazy = h.lazy[:0]
	}
	h.disk, h.lazy = append(h.disk, h.lazy...), nil
	if a.forgets {
		h.disk = nil
	}
	a.w.load.stop(i)
}

func (a *auditor) restart(i int) {
	if a.w.hosts[i].replica != nil {
		return
	}
	a.position[i] = 0
	a.w.start(i)
	r := a.w.load.regions[i]
	r.stopped = false
	for client := range a.w.point.Workload.Load.Clients {
		a.w.load.request(r, client)
	}
}

// plan draws the faults of a run.
func (a *auditor) plan() {
	for at := time.Duration(0); at < faultsLast; at += time.Duration(a.rand.Int64N(int64(1500 * time.Millisecond))) {
		i := a.rand.IntN(a.w.point.Replicas)
		switch {
		case a.rand.IntN(3) == 0:
			j := a.rand.IntN(a.w.point.Replicas)
			a.w.events.push(at, func() { a.parted = append(a.parted, [2]int{i, j}) })
			a.w.events.push(at+time.Duration(a.rand.Int64N(int64(2*time.Second))), func() { a.parted = a.parted[1:] })
		case a.restarts:
			a.w.events.push(at, func() { a.crash(i) })
			a.w.events.push(at+time.Duration(a.rand.Int64N(int64(2*time.Second))), func() { a.restart(i) })
		case a.crashes == 0: // for good, at most one
			a.crashes++
			a.w.events.push(at, func() { a.crash(i) })
		}
	}
}

// randomProfile has sites at random distances.
func randomProfile(r *rand.Rand, n int) wan.Profile {
	p := wan.Profile{Name: "random"}
	for i := range n {
		p.Sites = append(p.Sites, fmt.Sprint("S", i+1))
		p.RTT = append(p.RTT, make([]float64, n))
		for j := range i {
			p.RTT[i][j] = 2 + r.Float64()*r.Float64()*80
			p.RTT[j][i] = p.RTT[i][j]
		}
	}
	return p
}

// audit plays one random schedule and returns what was violated.
func audit(protocol Protocol, n int, seed uint64, alter func(*auditor)) (*auditor, string) {
	r := stream(seed, streamChaos, n)
	p := Point{
		Protocol: protocol, Replicas: n, Profile: randomProfile(r, n), Seed: seed, Duration: faultsLast,
		Workload:  workload.Spec{Load: workload.Load{Clients: 1 + r.IntN(5)}, Conflict: 100 * r.Float64(), Writes: 60, Value: 16},
		Emulation: Emulation{Jitter: 20, Sync: time.Duration(r.IntN(3)) * time.Millisecond},
	}
	w, err := newWorld(p)
	if err != nil {
		return nil, err.Error()
	}
	a := &auditor{
		w: w, rand: r, restarts: protocol.Family != "epaxos", slots: map[paxos.Slot]string{},
		instances: map[epaxos.InstanceID]string{}, position: make([]int, n), once: map[paxos.CommandID]bool{},
	}
	w.chaos = &chaos{
		rand: r, until: faultsLast, loss: 0.1 * r.Float64(), twice: 0.1 * r.Float64(),
		late: time.Duration(r.Int64N(int64(200 * time.Millisecond))), now: func() time.Duration { return w.now },
		parted: func(now time.Duration, from, to int) bool {
			for _, pair := range a.parted {
				if now < faultsLast && (pair == [2]int{from, to} || pair == [2]int{to, from}) {
					return true
				}
			}
			return false
		},
		onDecide: a.decided, onApply: a.applied, onCommit: a.committed, onAnswer: a.answered, onAbandon: a.abandoned,
	}
	if alter != nil {
		alter(a)
	}
	for i := range w.hosts {
		w.start(i)
	}
	w.load.begin()
	a.plan()
	w.events.push(faultsLast, func() {
		for i := range w.hosts {
			if a.restarts {
				a.restart(i)
			}
		}
	})
	err = w.play(context.Background(), faultsLast+DrainMax, func() bool {
		return a.problem != "" || w.now > faultsLast && len(w.load.calls) == 0
	})
	return a, a.verdict(err)
}

func (a *auditor) verdict(err error) string {
	switch {
	case a.problem != "":
		return a.problem
	case err != nil:
		return "violation of integrity: " + err.Error()
	case len(a.w.load.calls) > 0:
		return fmt.Sprintf("violation of progress: %d requests have no answer %v after the last fault",
			len(a.w.load.calls), a.w.now-faultsLast)
	}
	report, err := history.Check(a.operation, 20*time.Second)
	if err != nil {
		return "violation of integrity: " + err.Error()
	}
	if report.Verdict != history.Linearizable {
		return fmt.Sprintf("violation of linearizability: %v: key %s: %s", report.Verdict, report.Key, report.Detail)
	}
	return ""
}

func protocolsForChaos(t *testing.T, n int) []Protocol {
	protocols, err := ParseProtocols("basicpaxos,multipaxos,flexiblepaxos,fastpaxos,epaxos-all", n)
	if err != nil {
		t.Fatal(err)
	}
	return protocols
}

// TestRandomSchedules: no baseline breaks under loss, repetition, reordering, partitions, crashes and restarts,
// and each makes progress afterwards. EPaxos* is here without restarts: internal/sim has those.
func TestRandomSchedules(t *testing.T) {
	for _, n := range []int{3, 4, 5} {
		for _, protocol := range protocolsForChaos(t, n) {
			t.Run(fmt.Sprintf("%s-n%d", protocol.Name, n), func(t *testing.T) {
				t.Parallel()
				seeds := []uint64{*seedFlag}
				if *seedFlag == 0 {
					seeds = nil
					for seed := range runs() {
						seeds = append(seeds, uint64(seed+1))
					}
				}
				answers, crashes := 0, 0
				for _, seed := range seeds {
					a, problem := audit(protocol, n, seed, nil)
					if problem != "" {
						t.Fatalf("seed %d: %s", seed, problem)
					}
					answers += len(a.operation)
					crashes += a.crashes
				}
				if len(seeds) > 4 && (answers < 30*len(seeds) || crashes < len(seeds)/4) {
					t.Fatalf("%d requests and %d crashes in %d runs prove nothing", answers, crashes, len(seeds))
				}
			})
		}
	}
}

// TestPlantedFaults: the checks find what they are for.
func TestPlantedFaults(t *testing.T) {
	if raceDetector {
		t.Skip("one goroutine: nothing for the race detector")
	}
	smaller := func(change func(*paxos.Quorums)) func(*auditor) {
		return func(a *auditor) {
			a.w.chaos.config = func(c *paxos.Config) { change(&c.Quorums); c.Unchecked = true }
		}
	}
	cases := []struct {
		name, protocol string
		n              int
		plant          func(*auditor)
	}{
		{"basic with small quorums", "basicpaxos", 5, smaller(func(q *paxos.Quorums) { q.Prepare, q.Accept = 2, 2 })},
		{"multi with small quorums", "multipaxos", 5, smaller(func(q *paxos.Quorums) { q.Prepare, q.Accept = 2, 2 })},
		{"flexible with quorums that do not meet", "flexiblepaxos", 5,
			smaller(func(q *paxos.Quorums) { q.Prepare, q.Accept = 3, 2 })},
		{"fast with majorities", "fastpaxos", 5, smaller(func(q *paxos.Quorums) { q.Fast = 3 })},
		{"multi without memory", "multipaxos", 3, func(a *auditor) { a.forgets = true }},
		{"fast without memory", "fastpaxos", 5, func(a *auditor) { a.forgets = true }},
		{"basic without memory", "basicpaxos", 3, func(a *auditor) { a.forgets = true }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			protocols, err := ParseProtocols(c.protocol, c.n)
			if err != nil {
				t.Fatal(err)
			}
			for seed := uint64(1); seed <= 400; seed++ {
				_, problem := audit(protocols[0], c.n, seed, c.plant)
				if problem != "" && !strings.Contains(problem, "progress") {
					t.Logf("seed %d: %.200s", seed, problem)
					return
				}
			}
			t.Fatal("nobody noticed")
		})
	}
}
