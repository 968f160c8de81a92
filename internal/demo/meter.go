package demo

import (
	"math"
	"slices"
	"sync"
	"time"
)

// window is the measured time, on the clock of the run.
type window struct{ start, end time.Duration }

// meter takes what the clients of a region see. It is safe for concurrent use.
type meter struct {
	window window

	mu        sync.Mutex
	latencies []time.Duration // of operations that began in the window and were answered: each, or every stride-th
	stride    int
	answered  int // operations that began in the window and were answered
	errors    int // and were not
	gaps      gaps
	shown     int // latencies that an earlier progress line was about
}

func newMeter(w window) *meter {
	return &meter{window: w, stride: 1, gaps: gaps{last: w.start, began: w.start}}
}

// end notes the end of an operation that was called at call.
func (m *meter) end(call, now time.Duration, answered bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answered && now >= m.window.start && now <= m.window.end {
		m.gaps.completion(now)
	}
	switch {
	case call < m.window.start || call >= m.window.end:
	case answered:
		m.keep(now - call)
	default:
		m.errors++
	}
}

// latenciesMax bounds what a long run remembers.
const latenciesMax = 1 << 18

// keep remembers a latency. Where there are too many every second one is forgotten, which changes no share of them.
func (m *meter) keep(latency time.Duration) {
	if m.answered++; m.answered%m.stride == 0 {
		m.latencies = append(m.latencies, latency)
	}
	if len(m.latencies) < latenciesMax {
		return
	}
	kept := m.latencies[:0]
	for i := 1; i < len(m.latencies); i += 2 {
		kept = append(kept, m.latencies[i])
	}
	m.latencies, m.stride, m.shown = kept, 2*m.stride, m.shown/2
}

// finish sets the end of the window, which was not known before.
func (m *meter) finish(end time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.window.end = end
}

// recent returns the latencies since the call before.
func (m *meter) recent() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	recent := slices.Clone(m.latencies[m.shown:])
	m.shown = len(m.latencies)
	return recent
}

// measures is what a meter has come to when all operations have ended.
type measures struct {
	operations, errors int
	p50, p99           time.Duration
	maxGap, maxGapAt   time.Duration // and when it began, from the start of the window
}

func (m *meter) close() measures {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.latencies)
	m.gaps.completion(m.window.end)
	return measures{
		operations: m.answered, errors: m.errors,
		p50: percentile(m.latencies, 50), p99: percentile(m.latencies, 99),
		maxGap: m.gaps.longest, maxGapAt: m.gaps.began - m.window.start,
	}
}

// gaps finds the longest time without a completion.
type gaps struct{ last, longest, began time.Duration }

// completion may come a little out of order, as clients read the clock before they wait for the meter.
func (g *gaps) completion(now time.Duration) {
	if now-g.last > g.longest {
		g.longest, g.began = now-g.last, g.last
	}
	g.last = max(g.last, now)
}

// percentile is the smallest of sorted durations that p percent do not exceed; 0 if there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}
