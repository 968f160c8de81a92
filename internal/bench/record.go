package bench

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Histograms count microseconds with three digits.
const (
	latencyMax = 10 * time.Minute
	digits     = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, latencyMax.Microseconds(), digits)
}

func percentile(h *hdrhistogram.Histogram, percent float64) time.Duration {
	return time.Duration(h.ValueAtPercentile(percent)) * time.Microsecond
}

func count(h *hdrhistogram.Histogram, d time.Duration) {
	// What cannot fail: the value is within the bounds that the histogram was made with.
	_ = h.RecordValue(min(max(d, time.Microsecond), latencyMax).Microseconds())
}

// Failure is what an operation ended as that has no answer.
type Failure struct {
	Cause   string
	Outcome clients.Outcome
}

// String is a line for people.
func (f Failure) String() string { return fmt.Sprintf("%s (%s)", f.Cause, f.Outcome) }

// kind is the name of an operation in tables.
func kind(op *wire.Op) string {
	switch op.Kind {
	case wire.OpPut:
		return "put"
	case wire.OpAdd:
		return "add"
	case wire.OpTxn:
		return "txn"
	default:
		return "get"
	}
}

// Kinds are the names of operations, in the order of tables.
var Kinds = []string{"get", "put", "add", "txn"}

// recorder measures one region. Its methods are safe for concurrent use. Times are since the start of the run.
type recorder struct {
	from, to time.Duration // what begins in between is measured

	mu       sync.Mutex
	kinds    map[string]*hdrhistogram.Histogram
	late     *hdrhistogram.Histogram // between being due and being sent
	begun    int
	answered int
	done     int // answers in the measured time
	commands int
	fast     int
	failures map[Failure]int
	unsure   []Answer
	last     time.Duration // of an answer in the measured time
	gap      time.Duration
	open     int

	recent       *hdrhistogram.Histogram // since the last second
	recentErrors int
}

func newRecorder(from, to time.Duration) *recorder {
	return &recorder{
		from: from, to: to, kinds: map[string]*hdrhistogram.Histogram{}, late: newHistogram(),
		failures: map[Failure]int{}, last: from, recent: newHistogram(),
	}
}

func (r *recorder) measures(due time.Duration) bool { return due >= r.from && due < r.to }

func (r *recorder) begin(due, now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	if r.measures(due) {
		r.begun++
		count(r.late, now-due)
	}
}

// unsureMax bounds the operations whose outcome is asked for at the end.
const unsureMax = 10_000

func (r *recorder) end(kind string, due, now time.Duration, a Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	measured := r.measures(due)
	if a.Cause != "" {
		r.recentErrors++
		if !measured {
			return
		}
		r.failures[Failure{a.Cause, a.Outcome}]++
		if a.Resolve != nil && len(r.unsure) < unsureMax {
			r.unsure = append(r.unsure, a)
		}
		return
	}
	count(r.recent, now-due)
	if r.measures(now) {
		r.done++
		r.gap = max(r.gap, now-r.last)
		r.last = max(r.last, now)
	}
	if !measured {
		return
	}
	r.answered++
	h := r.kinds[kind]
	if h == nil {
		h = newHistogram()
		r.kinds[kind] = h
	}
	count(h, now-due)
	if a.Command {
		r.commands++
		if a.Fast {
			r.fast++
		}
	}
}

// second adds what happened since the call before.
func (r *recorder) second(latencies *hdrhistogram.Histogram, s *Second) {
	r.mu.Lock()
	defer r.mu.Unlock()
	latencies.Merge(r.recent)
	r.recent.Reset()
	s.Errors += r.recentErrors
	r.recentErrors = 0
	s.Open += r.open
}

// stop ends the measured time before its time.
func (r *recorder) stop(now time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = min(r.to, max(now, r.from))
}

// missed counts requests that fell due and were never sent.
func (r *recorder) missed(due time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.measures(due) {
		r.begun++
		r.failures[Failure{"not sent in time", clients.NotApplied}]++
	}
}

// WriteHDR writes the distribution of a part in the text form that HdrHistogram tools plot, in milliseconds.
func (p *Part) WriteHDR(out io.Writer) error {
	const ticks, microsPerMilli = 5, 1000
	if _, err := p.Latency.PercentilesPrint(out, ticks, microsPerMilli); err != nil {
		return fmt.Errorf("write the histogram: %w", err)
	}
	return nil
}
