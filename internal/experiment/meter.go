package experiment

import (
	"slices"
	"time"
)

// meter measures a run. What is counted began, or was sent, in the measured time.
type meter struct {
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

// bucket is one interval of a time line.
type bucket struct {
	count int
	times []time.Duration
}

// bucketWidth is the interval of time lines.
const bucketWidth = 250 * time.Millisecond

func newMeter(p *Point) *meter {
	m := &meter{
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

func (m *meter) during(now time.Duration) bool { return now >= m.from && now < m.to }

func (m *meter) begun(column int) { m.regions[column].begun++ }

func (m *meter) abandoned(column int) { m.regions[column].begun-- }

func (m *meter) refused(c *call) {
	if c.measured {
		m.regions[c.region.column].refused++
	}
}

func (m *meter) chosen(now time.Duration, c *call, a *answer) {
	if !c.measured {
		return
	}
	r := &m.regions[c.region.column]
	r.commit = append(r.commit, now-c.at)
	m.counted++
	if a.fast {
		m.fast++
	}
	if a.deps >= 0 {
		m.withDeps++
		m.deps += a.deps
		m.depsMax = max(m.depsMax, a.deps)
		if a.deps > 0 {
			m.waiting++
		}
	}
}

func (m *meter) executed(now time.Duration, c *call) {
	r := &m.regions[c.region.column]
	if c.measured {
		r.execution = append(r.execution, now-c.at)
	}
	if !m.during(now) {
		return
	}
	m.done++
	r.gap = max(r.gap, now-max(r.last, m.from))
	r.last = now
	if m.buckets != nil {
		b := &m.buckets[c.region.column][(now-m.from)/bucketWidth]
		b.count++
		b.times = append(b.times, now-c.at)
	}
}

// component counts at one replica only: all have the same ones.
func (m *meter) component(column, size int) {
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

func (m *meter) message(now time.Duration, from, to int) {
	if m.during(now) {
		m.messages++
		m.handled[from]++
		m.handled[to]++
	}
}

func (m *meter) frame(now time.Duration, bytes int) {
	if m.during(now) {
		m.frames++
		m.bytes += bytes
	}
}

func (m *meter) sync(now time.Duration, _ int, bytes int) {
	if m.during(now) {
		m.syncs++
		m.syncBytes += bytes
	}
}

// finish closes the gaps of regions that never answered again.
func (m *meter) finish(*world) {
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
