package experiment

import (
	"slices"
	"time"
)

// Meter measures a run. What is counted began, or was sent, in the measured time. Instants are counted from the
// begin of the warm-up. A Meter is not safe for concurrent use.
type Meter struct {
	point    *Point
	from, to time.Duration
	crashAt  time.Duration
	crashed  int // column, or -1

	regions    []regionMeter
	counted    int // answers whose choice was measured
	fast       int
	deps       int
	waiting    int // answers that had to wait for something
	depsMax    int
	withDeps   int
	components int // at one replica
	members    int
	large      int // components of more than one
	largest    int
	messages   int
	frames     int
	bytes      int
	syncs      int
	syncBytes  int
	handled    []int // messages sent and received, by replica
	done       int   // answers in the measured time
	buckets    [][]bucket
}

// regionMeter is what the clients of one region saw.
type regionMeter struct {
	begun, lost, refused int
	commit, execution    []time.Duration
	last                 time.Duration // of the last answer
	gap                  time.Duration // longest time between answers
}

// Call is one request under way.
type Call struct {
	Column   int // of its region
	At       time.Duration
	Measured bool
}

// Choice is how it became known what a request will be.
type Choice struct {
	Fast bool // by a fast quorum
	Deps int  // interfering instances that were not executed then; -1 where there is no such thing
}

// bucket is one interval of a time line.
type bucket struct {
	count int
	times []time.Duration
}

// bucketWidth is the interval of time lines.
const bucketWidth = 250 * time.Millisecond

// NewMeter makes the meter of a run. A run for which the meter is told of no fault has none.
func NewMeter(p *Point) *Meter {
	m := &Meter{
		point: p, from: p.Warmup, to: p.Warmup + p.Duration, crashAt: p.Warmup + p.Duration/3, crashed: -1,
		regions: make([]regionMeter, p.Replicas), handled: make([]int, p.Replicas),
	}
	if p.Fault.Crash != 0 {
		m.buckets = make([][]bucket, p.Replicas)
		for i := range m.buckets {
			m.buckets[i] = make([]bucket, (p.Duration+bucketWidth-1)/bucketWidth)
		}
	}
	return m
}

func (m *Meter) during(now time.Duration) bool { return now >= m.from && now < m.to }

// Begin makes a Call of a request that is sent now.
func (m *Meter) Begin(now time.Duration, column int) Call {
	c := Call{Column: column, At: now, Measured: m.during(now)}
	if c.Measured {
		m.regions[column].begun++
	}
	return c
}

// Abandon forgets a request whose client has stopped.
func (m *Meter) Abandon(c *Call) {
	if c.Measured {
		m.regions[c.Column].begun--
	}
}

// Refuse counts a request that was not taken.
func (m *Meter) Refuse(c *Call) {
	if c.Measured {
		m.regions[c.Column].refused++
	}
}

// Chosen takes in that the replica of the client knows the outcome.
func (m *Meter) Chosen(now time.Duration, c *Call, how Choice) {
	if !c.Measured {
		return
	}
	r := &m.regions[c.Column]
	r.commit = append(r.commit, now-c.At)
	m.counted++
	if how.Fast {
		m.fast++
	}
	if how.Deps >= 0 {
		m.withDeps++
		m.deps += how.Deps
		m.depsMax = max(m.depsMax, how.Deps)
		if how.Deps > 0 {
			m.waiting++
		}
	}
}

// Executed takes in the answer of a request.
func (m *Meter) Executed(now time.Duration, c *Call) {
	r := &m.regions[c.Column]
	if c.Measured {
		r.execution = append(r.execution, now-c.At)
	}
	if !m.during(now) {
		return
	}
	m.done++
	r.gap = max(r.gap, now-max(r.last, m.from))
	r.last = now
	if m.buckets != nil {
		b := &m.buckets[c.Column][(now-m.from)/bucketWidth]
		b.count++
		b.times = append(b.times, now-c.At)
	}
}

// Component takes in instances that were executed as one. It counts at one replica only: all have the same ones.
func (m *Meter) Component(column, size int) {
	if column != 0 {
		return
	}
	m.components++
	m.members += size
	m.largest = max(m.largest, size)
	if size > 1 {
		m.large++
	}
}

// Message counts a message of the protocol that is sent.
func (m *Meter) Message(now time.Duration, from, to int) {
	if m.during(now) {
		m.messages++
		m.handled[from]++
		m.handled[to]++
	}
}

func (m *Meter) frame(now time.Duration, bytes int) {
	if m.during(now) {
		m.frames++
		m.bytes += bytes
	}
}

func (m *Meter) sync(now time.Duration, _ int, bytes int) {
	if m.during(now) {
		m.syncs++
		m.syncBytes += bytes
	}
}

// CrashAt is when the site that a Fault names stops.
func (m *Meter) CrashAt() time.Duration { return m.crashAt }

// Crash takes in that a site has stopped.
func (m *Meter) Crash(column int) { m.crashed = column }

// Finish closes the gaps of regions that never answered again.
func (m *Meter) Finish() {
	for i := range m.regions {
		r := &m.regions[i]
		if r.begun > 0 && i != m.crashed {
			r.gap = max(r.gap, m.to-max(r.last, m.from))
		}
		r.lost = r.begun - len(r.execution) - r.refused
		slices.Sort(r.commit)
		slices.Sort(r.execution)
	}
}
