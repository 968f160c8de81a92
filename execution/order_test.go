package execution

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

// history is a legal outcome of the protocol: every instance with its initial command and decision,
// such that of two interfering commands at least one depends on the other (Visibility).
type history struct {
	membership epaxos.Membership
	instances  []decided
}

type decided struct {
	id      epaxos.InstanceID
	initial *epaxos.Command
	noop    bool
	deps    epaxos.Dependencies
}

func (h *history) column(i int) int {
	column, _ := h.membership.Column(h.instances[i].id.Replica)
	return column
}

// dependsOn is design decision D2 word by word, no-ops being no dependency.
func (h *history) dependsOn(i, j int) bool {
	return i != j && !h.instances[i].noop && !h.instances[j].noop && h.names(i, j)
}

// names reports whether j is among the dependencies of i, whatever was decided for j.
func (h *history) names(i, j int) bool {
	return h.instances[i].deps.Covers(h.column(j), h.instances[j].id.Slot) &&
		h.instances[i].initial.Footprint.Interferes(h.instances[j].initial.Footprint)
}

type workload struct {
	keys     int
	ranges   bool
	noops    bool
	perQueue int // instances of one replica at most
	ordered  int // if set, commands see the earlier ones, and one in that many pairs also the reverse
}

// source is where a test's choices come from: rapid, which shrinks what fails, or a generator, which
// makes histories that are large without being special.
type source interface {
	pick(label string, low, high int) int
}

type shrinking struct{ t *rapid.T }

func (s shrinking) pick(label string, low, high int) int {
	return rapid.IntRange(low, high).Draw(s.t, label)
}

type seeded struct{ *rand.Rand }

func (s seeded) pick(_ string, low, high int) int { return low + s.IntN(high-low+1) }

// permutation is a random order of 0 to n-1.
func permutation(from source, n int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j := from.pick("permutation", 0, i)
		order[i], order[j] = order[j], order[i]
	}
	return order
}

func (w workload) draw(from source) *history {
	h := &history{membership: threeVoters()}
	for replica := 1; replica <= 3; replica++ {
		for slot := range from.pick("slots", w.perQueue/2, w.perQueue) {
			h.instances = append(h.instances, decided{
				id:      id(replica, slot+1),
				initial: &epaxos.Command{Footprint: w.footprint(from)},
				noop:    w.noops && from.pick("noop", 0, 5) == 0,
			})
		}
	}
	w.drawDependencies(from, h)
	return h
}

func (w workload) footprint(from source) epaxos.Footprint {
	modes := []epaxos.Mode{epaxos.Read, epaxos.Write, epaxos.Write, epaxos.Add}
	var footprint epaxos.Footprint
	for range from.pick("accesses", 0, 3) {
		a := epaxos.Access{
			Mode: modes[from.pick("mode", 0, len(modes)-1)],
			Key:  string(rune('a' + from.pick("key", 0, w.keys-1))),
		}
		if w.ranges && from.pick("range", 0, 4) == 0 {
			a.Range, a.End = true, string(rune('a'+from.pick("end", 0, w.keys)))
		}
		if w.ranges && from.pick("everything", 0, 12) == 0 {
			a = epaxos.Access{Mode: epaxos.Everything}
		}
		footprint = append(footprint, a)
	}
	return footprint
}

// drawDependencies draws, for every pair that interferes, who sees whom, and adds random surplus,
// as receivers with wider knowledge do.
func (w workload) drawDependencies(from source, h *history) {
	for i := range h.instances {
		v := &h.instances[i]
		if v.noop {
			continue
		}
		v.deps = make(epaxos.Dependencies, 3)
		// Its own replica knew what it proposed before.
		v.deps[h.column(i)] = v.id.Slot - 1
		if w.ordered == 0 && from.pick("surplus", 0, 1) == 1 {
			column := from.pick("column", 0, 2)
			if column != h.column(i) {
				v.deps[column] = epaxos.Slot(from.pick("upto", 0, w.count(h, column)))
			}
		}
	}
	for i := range h.instances {
		for j := range i {
			if h.instances[i].noop || h.instances[j].noop || h.dependsOn(i, j) || h.dependsOn(j, i) ||
				!h.instances[i].initial.Footprint.Interferes(h.instances[j].initial.Footprint) {
				continue
			}
			w.drawPair(from, h, i, j)
		}
	}
}

// drawPair lets one of two instances see the other, or both.
func (w workload) drawPair(from source, h *history, i, j int) {
	sees := from.pick("sees", 1, 3)
	if w.ordered > 0 {
		sees = 1
		if h.instances[i].id.Slot+epaxos.Slot(from.pick("late", 0, 2)) < h.instances[j].id.Slot {
			sees = 2
		}
		if from.pick("both", 1, w.ordered) == 1 {
			sees = 3
		}
	}
	if sees&1 != 0 {
		h.see(i, j)
	}
	if sees&2 != 0 {
		h.see(j, i)
	}
}

func (w workload) count(h *history, column int) int {
	n := 0
	for i := range h.instances {
		if h.column(i) == column {
			n++
		}
	}
	return n
}

func (h *history) see(i, j int) {
	column := h.column(j)
	h.instances[i].deps[column] = max(h.instances[i].deps[column], h.instances[j].id.Slot)
}

// reachable is the transitive closure of dependsOn, the slow and obvious way.
func (h *history) reachable() [][]bool {
	n := len(h.instances)
	reach := make([][]bool, n)
	for i := range reach {
		reach[i] = make([]bool, n)
		for j := range n {
			reach[i][j] = h.dependsOn(i, j)
		}
	}
	for k := range n {
		for i := range n {
			for j := range n {
				reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
			}
		}
	}
	return reach
}

// before reports whether i must execute before j: j reaches i and not the other way round, or both
// are in one component and the ids decide.
func (h *history) before(reach [][]bool, i, j int) bool {
	if reach[i][j] != reach[j][i] {
		return reach[j][i]
	}
	return h.instances[i].id.Compare(h.instances[j].id) < 0
}

// executable is what may have been executed once some instances are known and some committed:
// the largest set of committed instances that is closed under dependencies.
func (h *history) executable(known, committed []bool) []bool {
	in := slices.Clone(committed)
	for changed := true; changed; {
		changed = false
		for i := range h.instances {
			if in[i] && !h.instances[i].noop && h.waits(i, known, in) {
				in[i], changed = false, true
			}
		}
	}
	return in
}

// waits reports whether i depends on something unknown or outside the set.
func (h *history) waits(i int, known, in []bool) bool {
	for j := range h.instances {
		if !h.instances[i].deps.Covers(h.column(j), h.instances[j].id.Slot) || i == j {
			continue
		}
		if !known[j] || h.names(i, j) && !in[j] {
			return true
		}
	}
	return false
}

// run feeds the history to a graph, in some order, and checks it after every step.
type run struct {
	*history
	graph     *Graph
	known     []bool
	committed []bool
	at        map[epaxos.InstanceID]int // index of each instance
	order     []int                     // of execution, without no-ops
	marked    []bool                    // by TakeExecuted
}

func newRun(h *history) *run {
	n := len(h.instances)
	r := &run{
		history: h, graph: NewGraph(h.membership), at: make(map[epaxos.InstanceID]int),
		known: make([]bool, n), committed: make([]bool, n), marked: make([]bool, n),
	}
	for i := range h.instances {
		r.at[h.instances[i].id] = i
	}
	return r
}

func (r *run) learn(i int) {
	r.graph.Learn(r.instances[i].id, r.instances[i].initial)
	r.known[i] = true
}

func (r *run) commit(i int) {
	v := &r.instances[i]
	command := v.initial
	if v.noop {
		command = nil
	}
	r.graph.Commit(v.id, command, v.deps)
	r.known[i], r.committed[i] = true, true
}

// execute takes what the graph has ready.
func (r *run) execute(t failer) {
	for component := r.graph.Next(); component != nil; component = r.graph.Next() {
		for _, vertex := range component {
			i := r.at[vertex.ID]
			if vertex.Command != r.instances[i].initial || r.instances[i].noop {
				t.Fatalf("%v executed with another command than decided", vertex.ID)
			}
			r.order = append(r.order, i)
		}
		if !slices.IsSortedFunc(component, func(a, b Vertex) int { return a.ID.Compare(b.ID) }) {
			t.Fatalf("component %v is not in the order of ids", component)
		}
	}
	for _, id := range r.graph.TakeExecuted() {
		if i := r.at[id]; r.marked[i] {
			t.Fatalf("%v was executed twice", id)
		} else {
			r.marked[i] = true
		}
	}
}

// check compares the graph's answers with the oracle's.
func (r *run) check(t failer) {
	want := r.executable(r.known, r.committed)
	pending := 0
	prefix := make(epaxos.Dependencies, r.membership.N())
	for i := range r.instances {
		v := &r.instances[i]
		if r.marked[i] != want[i] || r.graph.IsExecuted(v.id) != want[i] {
			t.Fatalf("%v executed: %t, marked: %t, want %t", v.id, r.graph.IsExecuted(v.id), r.marked[i], want[i])
		}
		if r.committed[i] && !want[i] {
			pending++
		}
		if column := r.column(i); want[i] && prefix[column] == v.id.Slot-1 {
			prefix[column] = v.id.Slot
		}
	}
	if got := r.graph.Pending(); got != pending {
		t.Fatalf("%d pending, want %d", got, pending)
	}
	if got := r.graph.Executed(); !got.Equal(prefix) {
		t.Fatalf("executed prefix %v, want %v", got, prefix)
	}
	r.checkBlocked(t, pending)
}

// checkBlocked: who is named is missing and needed, and as long as anything is pending somebody is.
func (r *run) checkBlocked(t failer, pending int) {
	blocked := r.graph.Blocked()
	if pending > 0 != (len(blocked) > 0) {
		t.Fatalf("%d pending, blocked by %v", pending, blocked)
	}
	for n, id := range blocked {
		i := r.at[id]
		if r.committed[i] || n > 0 && blocked[n-1].Compare(id) >= 0 {
			t.Fatalf("blocked by %v", blocked)
		}
		needed := false
		for j := range r.instances {
			needed = needed || r.committed[j] && !r.instances[j].noop && !r.marked[j] &&
				r.instances[j].deps.Covers(r.column(i), id.Slot) && (!r.known[i] || r.names(j, i))
		}
		if !needed {
			t.Fatalf("blocked by %v, which nobody needs", id)
		}
	}
}

// checkOrder: interfering commands executed as the oracle says.
func (r *run) checkOrder(t failer, reach [][]bool) {
	for a, i := range r.order {
		for _, j := range r.order[a+1:] {
			interfere := r.instances[i].initial.Footprint.Interferes(r.instances[j].initial.Footprint)
			if interfere && !r.before(reach, i, j) {
				t.Fatalf("%v executed before %v", r.instances[i].id, r.instances[j].id)
			}
		}
	}
}

// failer is a test, of rapid or not.
type failer interface {
	Fatalf(format string, args ...any)
}

// TestOrderDoesNotDependOnArrival: whatever the order in which commands become known and decisions
// arrive, after every step exactly the closed set has executed, and in the end all interfering
// commands have executed in the order that the decisions alone determine.
func TestOrderDoesNotDependOnArrival(t *testing.T) {
	workloads := []workload{
		{keys: 1, perQueue: 4},
		{keys: 3, perQueue: 6, noops: true},
		{keys: 4, perQueue: 6, noops: true, ranges: true},
		{keys: 2, perQueue: 12, noops: true},
	}
	for _, w := range workloads {
		t.Run(fmt.Sprintf("%+v", w), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { arrivals(t, shrinking{t}, w) })
		})
	}
}

// TestOrderOfLargeHistories is the same with components of dozens of instances.
func TestOrderOfLargeHistories(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			from := seeded{rand.New(rand.NewPCG(seed, 0))}
			w := workload{keys: 3 + int(seed%13), perQueue: 24, noops: seed%2 == 0, ranges: seed%4 == 1}
			if seed%3 > 0 {
				w.ordered = 20 * int(seed%3)
			}
			arrivals(t, from, w)
		})
	}
}

func arrivals(t failer, from source, w workload) {
	h := w.draw(from)
	reach := h.reachable()
	for range 3 {
		arrive(t, from, newRun(h), reach)
	}
}

// arrive feeds everything in a random order: some commands learned before they commit, some not,
// some twice, some executed in a burst.
func arrive(t failer, from source, r *run, reach [][]bool) {
	lazy := from.pick("lazy", 0, 1) == 1
	for n, event := range permutation(from, 2*len(r.instances)) {
		if event < len(r.instances) {
			r.learn(event)
		} else {
			r.commit(event - len(r.instances))
		}
		if lazy && n%3 != 0 {
			continue
		}
		r.execute(t)
		r.check(t)
	}
	r.execute(t)
	r.check(t)
	if n := r.graph.Pending(); n != 0 {
		t.Fatalf("%d commands never executed", n)
	}
	r.checkOrder(t, reach)
	r.checkReleased(t)
}

// checkReleased: nothing is kept of what was executed.
func (r *run) checkReleased(t failer) {
	for i := range r.graph.keys.spaces {
		if n := len(r.graph.keys.spaces[i]); n != 0 {
			t.Fatalf("%d keys kept", n)
		}
	}
	for i := range r.graph.columns {
		if c := &r.graph.columns[i]; len(c.wide.vertices) != c.wide.head || len(c.gaps) != 0 {
			t.Fatalf("column %d keeps %d wide vertices and %d gaps", i, len(c.wide.vertices), len(c.gaps))
		}
	}
}

// TestRestart: a graph that is told what was executed before goes on as if it had never stopped.
func TestRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := workload{keys: 3, perQueue: 6, noops: true, ranges: true}.draw(shrinking{t})
		reach := h.reachable()
		r := newRun(h)
		for _, i := range permutation(shrinking{t}, len(h.instances)) {
			if rapid.IntRange(0, 7).Draw(t, "restart") == 0 {
				r.restart(t)
			}
			r.commit(i)
			r.execute(t)
			r.check(t)
		}
		r.checkOrder(t, reach)
	})
}

// restart replaces the graph by one built from the executed marks and the log.
func (r *run) restart(t *rapid.T) {
	prefix := r.graph.Executed()
	r.graph = NewGraph(r.membership)
	if rapid.Bool().Draw(t, "prefix") {
		r.graph.RestorePrefix(prefix)
	}
	for _, i := range permutation(shrinking{t}, len(r.instances)) {
		if r.marked[i] {
			r.graph.Restore(r.instances[i].id)
		}
	}
	for i := range r.instances {
		if r.committed[i] {
			r.commit(i) // also of what was executed: ignored
		}
	}
}
