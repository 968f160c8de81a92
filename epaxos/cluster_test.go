package epaxos_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// cluster runs bare replicas, without nodes, disks or encodings, on one thread and fake time, so
// that many thousand random schedules take seconds. It checks agreement at each decision, and
// visibility, order and liveness at the end.
type cluster struct {
	t         testing.TB
	members   epaxos.Membership
	seed      uint64
	rand      *rand.Rand
	now       time.Duration
	flights   flights
	seq       int
	sites     []*site
	decisions map[epaxos.InstanceID]epaxos.Decision
	orders    [][]epaxos.InstanceID // execution orders of all lives of all replicas
	commands  map[epaxos.InstanceID]*epaxos.Command
	healed    bool
	settled   time.Duration // how long it took after that until all was decided and executed
	chaos     chaos
	tracing   bool // formatting takes most of a run, so only a run that failed is traced
	trace     []string
	ledger    *ledger
	progress  progress
	total     epaxos.Stats
	reader    *reader // nil where nobody reads
	stage     *stage  // while set, it decides what is delivered
}

// chaos is how one run misbehaves.
type chaos struct {
	loss, duplicate, crash, suspect float64
	slow                            map[string]time.Duration // extra delay by message type
	dieAfterFast                    bool
	split                           [10]float64                           // by kind: share of (instance, sender, receiver) that is late
	salt                            uint64                                // which of them
	late                            func(e epaxos.Envelope) time.Duration // likewise, by a run itself
	hasty                           bool                                  // recoveries start early
	away                            []time.Duration                       // by site; if set, delays never vary
	collect                         bool                                  // watermarks move fast, and disks forget
}

type site struct {
	replica *epaxos.Replica
	graph   *execution.Graph
	disk    *disk
	waits   *patience
	order   []epaxos.InstanceID
	applied map[uint64]bool // requests executed in this life, and before it in what is saved
	dead    bool            // for good
	durable durable
}

type flight struct {
	at  time.Duration
	seq int
	run func()
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at < f[j].at || f[i].at == f[j].at && f[i].seq < f[j].seq
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }
func (f *flights) Pop() any {
	old := *f
	x := old[len(old)-1]
	*f = old[:len(old)-1]
	return x
}

func newCluster(t testing.TB, seed uint64, m epaxos.Membership) *cluster {
	c := &cluster{
		t: t, members: m, seed: seed, rand: rand.New(rand.NewPCG(seed, 7)), //nolint:gosec // reproducible
		decisions: map[epaxos.InstanceID]epaxos.Decision{}, commands: map[epaxos.InstanceID]*epaxos.Command{},
		ledger: newLedger(m), progress: newProgress(),
	}
	for range m.Voters {
		c.sites = append(c.sites, &site{disk: newDisk()})
	}
	return c
}

func (c *cluster) boot() {
	for i := range c.sites {
		c.start(i)
	}
}

// start makes the replica of a site from what its disk holds.
func (c *cluster) start(i int) {
	s := c.sites[i]
	timing := epaxos.DefaultTiming()
	if c.chaos.hasty {
		timing.DisputedWait = timing.FastPathWait
		timing.Resend, timing.Fetch, timing.Recover = 200*time.Millisecond, 300*time.Millisecond, 900*time.Millisecond
		timing.Stagger = 300 * time.Millisecond
	}
	if c.chaos.collect {
		timing.Gossip = 30 * time.Millisecond
	}
	limits := epaxos.DefaultLimits()
	limits.InFlightPerKey = 2
	r, err := epaxos.New(epaxos.Config{
		ID: c.members.Voters[i], Membership: c.members, Index: deps.New(c.members.N()),
		Rand: rand.New(rand.NewPCG(c.rand.Uint64(), 1)), Limits: limits, Timing: timing, //nolint:gosec // reproducible
	})
	if err != nil {
		c.t.Fatal(err)
	}
	s.replica, s.graph, s.applied = r, execution.NewGraph(c.members), map[uint64]bool{}
	s.waits = newPatience(c.members, timing.Resend)
	c.restore(s)
	c.turn(i)
	c.tick(i, r)
}

func (c *cluster) tick(i int, r *epaxos.Replica) {
	period := time.Duration(40+c.rand.IntN(20)) * time.Millisecond
	if c.chaos.away != nil {
		period = 50 * time.Millisecond
	}
	c.after(period, func() {
		s := c.sites[i]
		if s.replica != r {
			return
		}
		r.Blocked(c.now, s.graph.Blocked())
		r.Tick(c.now)
		c.turn(i)
		c.tick(i, r)
	})
}

func (c *cluster) after(d time.Duration, run func()) {
	if c.seq++; c.seq > 400_000 {
		c.violated("progress", "storm: %d events by %v", c.seq, c.now)
	}
	heap.Push(&c.flights, flight{at: c.now + d, seq: c.seq, run: run})
}

// run lets time pass.
func (c *cluster) run(until time.Duration) {
	for len(c.flights) > 0 && c.flights[0].at <= until {
		f := heap.Pop(&c.flights).(flight)
		c.now = max(c.now, f.at)
		f.run()
	}
	c.now = max(c.now, until)
}

// turn does what the replica wants done: saves, sends, executes, perhaps dying on the way.
func (c *cluster) turn(i int) {
	s := c.sites[i]
	for rounds := 0; s.replica != nil && s.replica.HasReady(); rounds++ {
		if rounds > 100 {
			c.violated("progress", "a turn of r%d does not end", c.members.Voters[i])
		}
		ready := s.replica.Ready()
		c.note(i, ready)
		if c.dies(0.2) {
			c.crash(i) // before the save
			return
		}
		c.must(s.disk.save(ready.Records, ready.MustSync))
		c.ledger.saved(c.members.Voters[i], ready.Records)
		for _, r := range ready.Records {
			if _, known := c.ledger.chosen[r.ID]; r.Phase == epaxos.Committed && !known {
				c.must(c.ledger.decided(r))
			}
		}
		for _, l := range ready.Led {
			c.must(s.disk.forbidsAnswer(c.members, l))
		}
		if c.diesAnswered(ready) {
			// The client has its answer, and nobody else knows.
			c.execute(i, ready)
			c.crash(i)
			return
		}
		c.must(s.waits.takesTurn(c.now, s, ready.Messages))
		for _, e := range ready.Messages {
			if c.dies(0.1) {
				c.crash(i) // between two messages
				return
			}
			c.send(e)
		}
		c.execute(i, ready)
		if c.reader != nil {
			c.reader.take(i, ready.Reads)
		}
	}
}

func (c *cluster) dies(share float64) bool {
	return !c.healed && c.rand.Float64() < c.chaos.crash*share
}

// diesAnswered picks the worst moment of a command leader: its fast commit is saved and answered, and
// no Commit has left.
func (c *cluster) diesAnswered(ready epaxos.Ready) bool {
	for _, l := range ready.Led {
		if l.Fast && c.chaos.dieAfterFast && !c.healed && c.rand.Float64() < 0.4 {
			return true
		}
	}
	return false
}

func (c *cluster) note(i int, ready epaxos.Ready) {
	if !c.tracing {
		return
	}
	at := c.members.Voters[i]
	for _, r := range ready.Records {
		c.tracef("%s", c.members.FormatRecord(at, r))
	}
	for _, e := range ready.Messages {
		if _, gossip := e.Message.(epaxos.Gossip); !gossip {
			c.tracef("%s", c.members.FormatEnvelope(e))
		}
	}
}

func (c *cluster) tracef(format string, args ...any) {
	if !c.tracing {
		return
	}
	c.trace = append(c.trace, fmt.Sprintf("%8.1f ", float64(c.now.Microseconds())/1000)+fmt.Sprintf(format, args...))
}

// failed is what a run without a trace ends with.
type failed struct{}

func (c *cluster) fail(format string, args ...any) {
	c.t.Helper()
	if !c.tracing {
		panic(failed{})
	}
	from := max(0, len(c.trace)-400)
	c.t.Fatalf("seed %d: %s\nreplay: go test ./epaxos -run '%s' -runs 1 -seed %d\n%s", c.seed,
		fmt.Sprintf(format, args...), c.t.Name(), c.seed, strings.Join(c.trace[from:], "\n"))
}

// violated ends the run with the invariant that does not hold.
func (c *cluster) violated(invariant, format string, args ...any) {
	c.t.Helper()
	c.fail("%s", violation(invariant, format, args...))
}

// must fails the run if there is a reason.
func (c *cluster) must(broken string) {
	if broken != "" {
		c.t.Helper()
		c.fail("%s", broken)
	}
}

func (c *cluster) execute(i int, ready epaxos.Ready) {
	s := c.sites[i]
	for _, l := range ready.Learned {
		c.commands[l.ID] = l.Command
		s.graph.Learn(l.ID, l.Command)
	}
	for _, d := range ready.Committed {
		c.checkAgreement(i, d)
		s.waits.decided[d.ID] = d
		s.graph.Commit(d.ID, d.Command, d.Deps)
	}
	for component := s.graph.Next(); component != nil; component = s.graph.Next() {
		for _, v := range component {
			s.order = append(s.order, v.ID)
			for _, request := range v.Command.Requests {
				if s.applied[request.Number] {
					c.violated("once", "r%d executes request %d again, in %v", c.members.Voters[i], request.Number, v.ID)
				}
				s.applied[request.Number] = true
			}
		}
	}
	executed := s.graph.TakeExecuted()
	s.durable.unwritten = append(s.durable.unwritten, executed...)
	s.replica.Executed(c.now, executed)
	c.writeBack(i)
	c.checkTruncated()
}

func (c *cluster) checkAgreement(i int, d epaxos.Decision) {
	known, seen := c.decisions[d.ID]
	if !seen {
		c.decisions[d.ID] = d
		c.progress.decided(d.ID)
		return
	}
	if (known.Command == nil) != (d.Command == nil) || !known.Deps.Equal(d.Deps) {
		c.violated("agreement", "r%d commits %v deps=%s no-op=%v, before it was deps=%s no-op=%v", c.members.Voters[i], d.ID,
			c.members.FormatDeps(d.Deps), d.Command == nil, c.members.FormatDeps(known.Deps), known.Command == nil)
	}
}

func (c *cluster) send(e epaxos.Envelope) {
	from, _ := c.members.Column(e.From)
	c.must(c.sites[from].disk.forbids(e.Message))
	c.must(c.ledger.sent(e))
	if c.stage != nil {
		c.stage.hold(e)
		return
	}
	c.carry(e)
}

// carry brings a message to its receiver in some time, or never, or twice.
func (c *cluster) carry(e epaxos.Envelope) {
	copies := 1
	if !c.healed && c.rand.Float64() < c.chaos.loss {
		copies = 0
	}
	if !c.healed && c.rand.Float64() < c.chaos.duplicate {
		copies++
	}
	from, _ := c.members.Column(e.From)
	to, _ := c.members.Column(e.To)
	for range copies {
		delay := time.Duration(c.rand.IntN(60)+1) * time.Millisecond
		if c.chaos.away != nil {
			delay = c.chaos.away[from] + c.chaos.away[to]
		}
		if !c.healed {
			delay += c.lateness(e)
		}
		c.after(delay, func() { c.deliver(to, e) })
	}
}

func (c *cluster) deliver(to int, e epaxos.Envelope) {
	if s := c.sites[to]; s.replica != nil {
		s.waits.hears(e)
		s.replica.Step(c.now, e)
		c.turn(to)
	}
}

// lateness is the extra delay of a message: by its type, and by its type, instance and link, so that
// the replicas know different instances, and repetitions do not even it out.
func (c *cluster) lateness(e epaxos.Envelope) time.Duration {
	var late time.Duration
	if len(c.chaos.slow) > 0 {
		late = c.chaos.slow[fmt.Sprintf("%T%d", e.Message, e.To)] + c.chaos.slow[fmt.Sprintf("%T", e.Message)]
	}
	if c.chaos.late != nil {
		late += c.chaos.late(e)
	}
	kind := kindOf(e.Message)
	if c.chaos.split[kind] == 0 {
		return late
	}
	id := epaxos.InstanceOf(e.Message)
	link := uint64(kind)<<48 | uint64(id.Replica)<<40 | uint64(id.Slot)<<16 | uint64(e.From)<<8 | uint64(e.To)
	draw := rand.New(rand.NewPCG(link, c.chaos.salt)) //nolint:gosec // reproducible
	if draw.Float64() < c.chaos.split[kind] {
		late += time.Duration(200+draw.IntN(5000)) * time.Millisecond
	}
	return late
}

func kindOf(m epaxos.Message) int {
	switch m.(type) {
	case epaxos.PreAccept:
		return 1
	case epaxos.PreAcceptReply:
		return 2
	case epaxos.Accept:
		return 3
	case epaxos.AcceptReply:
		return 4
	case epaxos.Commit:
		return 5
	case epaxos.Recover:
		return 6
	case epaxos.RecoverReply:
		return 7
	case epaxos.Validate:
		return 8
	case epaxos.ValidateReply:
		return 9
	default:
		return 0
	}
}

// crash loses what was not synced; some of the lazy records may have reached the disk.
func (c *cluster) crash(i int) {
	s := c.sites[i]
	if s.replica == nil {
		return
	}
	c.tracef("r%d crashes", c.members.Voters[i])
	c.must(s.disk.crash(c.rand.IntN(len(s.disk.lazy) + 1)))
	c.orders = append(c.orders, s.order)
	c.count(s.replica.Stats())
	s.replica, s.graph, s.order = nil, nil, nil
	if c.down() > c.members.F || c.rand.Float64() < 0.7 {
		c.after(time.Duration(c.rand.IntN(3000))*time.Millisecond, func() { c.restart(i) })
	} else {
		s.dead = true
	}
}

func (c *cluster) restart(i int) {
	if c.sites[i].replica == nil {
		c.tracef("r%d restarts", c.members.Voters[i])
		c.sites[i].dead = false
		c.start(i)
	}
}

func (c *cluster) down() int {
	n := 0
	for _, s := range c.sites {
		if s.dead || s.replica == nil {
			n++
		}
	}
	return n
}

func (c *cluster) count(s epaxos.Stats) {
	c.total.Fast += s.Fast
	c.total.Slow += s.Slow
	c.total.Recoveries += s.Recoveries
	c.total.Validations += s.Validations
	c.total.Waits += s.Waits
	c.total.NoOps += s.NoOps
	c.total.Reproposed += s.Reproposed
	c.total.Malformed += s.Malformed
	c.total.Forgotten += s.Forgotten
}

// heal ends all faults and tells every replica who is really dead.
func (c *cluster) heal() {
	c.healed = true
	c.tracef("healed")
	for i, s := range c.sites {
		if s.replica == nil && !s.dead {
			c.restart(i)
		}
	}
	for i, s := range c.sites {
		for j, other := range c.sites {
			if s.replica != nil && i != j {
				s.replica.Suspect(c.now, c.members.Voters[j], other.replica == nil)
				c.turn(i)
			}
		}
	}
}

// settled reports why the run is not over, or nothing.
func (c *cluster) unsettled() string {
	for i, s := range c.sites {
		if s.replica == nil {
			continue
		}
		if !s.replica.Decided().Equal(s.replica.Tops()) || s.graph.Pending() > 0 {
			return fmt.Sprintf("r%d decided %v of %v, %d wait, blocked by %v", c.members.Voters[i], s.replica.Decided(),
				s.replica.Tops(), s.graph.Pending(), s.graph.Blocked())
		}
	}
	return ""
}

func (c *cluster) checkEnd() {
	for _, s := range c.sites {
		if s.replica != nil {
			c.orders = append(c.orders, s.order)
			c.count(s.replica.Stats())
		}
	}
	c.checkVisibility()
	c.checkOrder()
}

func (c *cluster) checkVisibility() {
	ids := make([]epaxos.InstanceID, 0, len(c.decisions))
	for id, d := range c.decisions {
		if d.Command != nil {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, epaxos.InstanceID.Compare)
	for i, a := range ids {
		for _, b := range ids[i+1:] {
			da, db := c.decisions[a], c.decisions[b]
			if !da.Command.Footprint.Interferes(db.Command.Footprint) {
				continue
			}
			ca, _ := c.members.Column(a.Replica)
			cb, _ := c.members.Column(b.Replica)
			if !da.Deps.Covers(cb, b.Slot) && !db.Deps.Covers(ca, a.Slot) && !c.excused(a, b) {
				c.violated("visibility", "%v and %v interfere and neither depends on the other", a, b)
			}
		}
	}
}

// checkOrder compares the order of every two interfering instances in all lives of all replicas.
func (c *cluster) checkOrder() {
	type pair struct{ first, second epaxos.InstanceID }
	seen := map[pair]bool{}
	for _, order := range c.orders {
		for i, a := range order {
			for _, b := range order[i+1:] {
				if !c.decisions[a].Command.Footprint.Interferes(c.decisions[b].Command.Footprint) {
					continue
				}
				if a == b || seen[pair{b, a}] {
					c.violated("order", "%v before %v here, after it elsewhere", a, b)
				}
				seen[pair{a, b}] = true
			}
		}
	}
}
