package sim

import (
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
)

// What a run is drawn from. Each has a stream of random numbers of its own, so that a fault or a
// request less leaves the draws of everything else as they were: otherwise no failure would shrink.
const (
	streamSetup uint64 = iota + 1
	streamPlan
	streamWork
	streamLink
	streamHost
	streamFault
	streamCompaction
	streamEpochs
	streamReads
	streamSessions
	streamWatchers
)

// stream returns one of the streams of a seed.
func stream(seed, of uint64, which int) *rand.Rand {
	mixed := fingerprint(seed)
	mixed.add(of)
	mixed.add(uint64(which))                          //nolint:gosec // columns and indices
	return rand.New(rand.NewPCG(seed, uint64(mixed))) //nolint:gosec // reproducible
}

// profile is what kind of trouble a run is made of.
type profile uint8

const (
	ordinary profile = iota // any fault at any time
	recovery                // split knowledge, leaders that die around their commit, hasty recoverers
)

var profileNames = [...]string{"ordinary", "recovery"}

// setup is what a run has from its beginning to its end.
type setup struct {
	profile profile
	members epaxos.Membership
	limits  epaxos.Limits
	timing  epaxos.Timing

	suspectAfter time.Duration // silence after which a replica is suspected
	writeBack    time.Duration
	compaction   node.Compaction
	tick         time.Duration // the longest time between two ticks

	near, far time.Duration // bounds of what a link delays
	jitter    time.Duration
	ordered   bool // frames of a link do not overtake each other while it is well

	epochs   bool // the membership changes
	watching node.Watching
	machines int // replicas of the first epoch, and those that may join
	transfer node.Transfer

	clients int
	hot     float64       // share of requests on shared keys
	reads   float64       // share of gets that take no instance
	old     bool          // some of those may show old values
	named   float64       // share of clients that have a session
	pace    time.Duration // the longest rest of a client between two requests
}

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)+1))
}

// draw fills in what the options leave open.
func (o *Options) draw() setup {
	r := stream(o.Seed, streamSetup, 0)
	var s setup
	if r.IntN(2) == 0 {
		s.profile = recovery
	}
	replica := r.IntN(20)
	replicas := []int{1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 5, 5, 6, 7, 7}[replica]
	large := r.IntN(64) == 0
	if s.profile == recovery {
		replicas = []int{2, 3, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 7, 7}[replica]
	}
	if large {
		replicas = 9
	}
	commands := 212 + r.IntN(75)
	faults := between(r, 3*time.Second, 8*time.Second)
	if o.Counting {
		replicas, commands, faults = 5, countingRequests, countingFaults
	}
	if o.Replicas == 0 {
		o.Replicas = replicas
	}
	if o.Commands == 0 {
		o.Commands = commands
	}
	if o.Faults == 0 {
		o.Faults = faults
	}
	s.drawMembers(r, o.Replicas)
	if o.other != nil {
		o.other.restrict(&s)
	}
	s.drawLinks(r)
	if o.Counting {
		s.near, s.far = 10*time.Millisecond, between(r, 60*time.Millisecond, 140*time.Millisecond)
	}
	s.drawTiming(r)
	s.drawLimits(r)
	s.drawCompaction(stream(o.Seed, streamCompaction, 0))
	s.watching.JournalBytes = []int{800, 8000, 80000}[stream(o.Seed, streamWatchers, 1<<16).IntN(3)]
	s.drawEpochs(o, stream(o.Seed, streamEpochs, 0))
	s.reads = []float64{0.1, 0.3, 0.8}[stream(o.Seed, streamReads, 0).IntN(3)]
	s.old = true
	s.named = []float64{0, 0.4, 0.8}[stream(o.Seed, streamSessions, 0).IntN(3)]
	s.clients = 2 + r.IntN(8)
	s.hot = []float64{0, 0.1, 0.5, 0.5, 1}[r.IntN(5)]
	if s.profile == recovery {
		s.hot = max(s.hot, 0.5)
	}
	if o.Counting {
		s.clients, s.named = countingClients, 1
		s.limits.InFlight, s.limits.Queue = max(s.limits.InFlight, 30), max(s.limits.Queue, 50)
	}
	// So that requests are under way for as long as faults happen. Half of the requests would be too
	// late if it were for this alone, since the trouble makes each take long.
	s.pace = o.Faults * time.Duration(s.clients) / time.Duration(o.Commands) //nolint:gosec // small
	return s
}

// drawMembers draws any legal f and e, not only the largest: smaller ones have quorums and rules of
// recovery of their own.
func (s *setup) drawMembers(r *rand.Rand, replicas int) {
	ids := make([]epaxos.ReplicaID, replicas)
	for i := range ids {
		ids[i] = epaxos.ReplicaID(i + 1) //nolint:gosec // small
	}
	s.members = epaxos.NewMembership(1, ids...)
	f, e := r.Float64(), r.Float64()
	if r.IntN(4) == 0 {
		s.members.F = int(f * float64(s.members.F+1))
	}
	s.members.E = epaxos.LargestE(replicas, s.members.F)
	if r.IntN(3) == 0 {
		s.members.E = int(e * float64(s.members.E+1))
	}
}

func (s *setup) drawLinks(r *rand.Rand) {
	s.near = between(r, 100*time.Microsecond, 2*time.Millisecond)
	s.far = between(r, s.near, []time.Duration{10, 60, 130}[r.IntN(3)]*time.Millisecond)
	s.jitter = between(r, 0, 20*time.Millisecond)
	s.ordered = r.IntN(2) == 0
}

// drawTiming draws delays that suit the links: a cluster whose recoverers give each other less than a
// round trip duels for ever, and no fault ends it.
func (s *setup) drawTiming(r *rand.Rand) {
	trip := 2*(s.far+s.jitter) + 20*time.Millisecond
	s.timing = epaxos.Timing{
		Resend: between(r, trip, trip+time.Second), Fetch: between(r, trip/2, trip+600*time.Millisecond),
		Recover: between(r, 2*trip, 4*time.Second), Stagger: between(r, trip, trip+700*time.Millisecond),
		Gossip: between(r, 120*time.Millisecond, 500*time.Millisecond), FastPathWait: between(r, time.Millisecond, trip),
	}
	s.suspectAfter = between(r, trip+200*time.Millisecond, trip+2*time.Second)
	if s.profile == recovery {
		s.timing.Recover = between(r, trip, 2*trip+500*time.Millisecond)
		s.timing.Stagger = between(r, trip/2, trip+200*time.Millisecond)
		s.suspectAfter = between(r, trip+100*time.Millisecond, trip+600*time.Millisecond)
	}
	if s.timing.FastPathWait%2 == 0 {
		s.timing.DisputedWait = s.timing.FastPathWait // patience is legal, though it does not ship
	}
	if r.IntN(4) == 0 {
		s.timing = epaxos.DefaultTiming()
	}
	s.writeBack = between(r, time.Millisecond, 400*time.Millisecond)
	s.tick = between(r, 20*time.Millisecond, 90*time.Millisecond)
}

// drawCompaction draws how soon what all have executed is forgotten: often at once, so that the
// watermarks pass by whatever comes late.
func (s *setup) drawCompaction(r *rand.Rand) {
	s.compaction = node.Compaction{Groups: 1 + r.IntN(40), Segment: 1 + r.IntN(4)}
	if r.IntN(4) == 0 {
		s.compaction = node.Compaction{Groups: 1, Segment: 1}
	}
	if r.IntN(2) == 0 {
		s.timing.Gossip = between(r, 20*time.Millisecond, 100*time.Millisecond)
	}
}

// drawEpochs draws whether there are Reconfigures, and for how many new machines.
func (s *setup) drawEpochs(o *Options, r *rand.Rand) {
	many, spares := r.IntN(3) == 0, 2+r.IntN(5)
	s.machines = s.members.N()
	if s.epochs = many && o.Epochs != EpochsOne || o.Epochs == EpochsMany; s.epochs {
		s.machines += spares
		s.transfer = node.Transfer{ChunkBytes: 50 + r.IntN(2000), BytesPerSecond: 1000 << r.IntN(8)}
	}
}

func (s *setup) drawLimits(r *rand.Rand) {
	s.limits = epaxos.DefaultLimits()
	s.limits.InFlight, s.limits.InFlightPerKey = 1+r.IntN(40), 1+r.IntN(3)
	s.limits.Queue, s.limits.Gather, s.limits.Pack = 1+r.IntN(100), 1+r.IntN(8), 1+r.IntN(8)
	if r.IntN(4) == 0 {
		s.limits = epaxos.DefaultLimits()
	}
	if s.profile == recovery {
		s.limits.InFlight = max(s.limits.InFlight, 8) // requests that are stuck do not hold back the next rush
	}
}
