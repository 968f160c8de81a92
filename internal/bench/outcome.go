package bench

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/experiment"
)

// Outcome is what a run measured: the operations that fell due in the measured time.
type Outcome struct {
	Measured    time.Duration
	Interrupted bool
	Total       Part
	Regions     []Part             // in the order of Config.Regions
	Kinds       map[string]Part    // by operation; those that occurred, with answers only
	Failures    map[Failure]int    // operations without an answer
	Late        experiment.Latency // from being due to being sent, in milliseconds
	Seconds     []Second

	unsure []Answer
}

// Part is the operations of a region, of a kind, or all.
type Part struct {
	Name     string
	Begun    int
	Answered int // executed, whenever that was
	Done     int // answers in the measured time, of what began before it too
	Applied  int // no answer, but it took effect
	Refused  int // no answer, and no effect
	Unknown  int // no answer, and nobody knows
	Commands int // answered, and took an instance
	Fast     int // of those, on the fast path
	Gap      time.Duration
	Latency  *hdrhistogram.Histogram // microseconds to the answer
}

// add counts another part in.
func (p *Part) add(other *Part) {
	p.Begun += other.Begun
	p.Answered += other.Answered
	p.Done += other.Done
	p.Applied += other.Applied
	p.Refused += other.Refused
	p.Unknown += other.Unknown
	p.Commands += other.Commands
	p.Fast += other.Fast
	p.Gap = max(p.Gap, other.Gap)
	p.Latency.Merge(other.Latency)
}

// Errors are the operations without an answer.
func (p *Part) Errors() int { return p.Applied + p.Refused + p.Unknown }

// Summary is the distribution, in milliseconds.
func (p *Part) Summary() experiment.Latency { return summary(p.Latency) }

func summary(h *hdrhistogram.Histogram) experiment.Latency {
	if h.TotalCount() == 0 {
		return experiment.Latency{}
	}
	ms := func(micros int64) float64 { return float64(micros) / 1000 }
	return experiment.Latency{
		P50: ms(h.ValueAtPercentile(50)), P90: ms(h.ValueAtPercentile(90)), P99: ms(h.ValueAtPercentile(99)),
		P999: ms(h.ValueAtPercentile(99.9)), Max: ms(h.Max()), Mean: float64(int64(h.Mean())) / 1000,
	}
}

// outcome adds the regions up.
func (r *runner) outcome(interrupted bool, seconds []Second) *Outcome {
	o := &Outcome{
		Interrupted: interrupted, Seconds: seconds, Total: Part{Name: "all", Latency: newHistogram()},
		Kinds: map[string]Part{}, Failures: map[Failure]int{},
	}
	late := newHistogram()
	for _, g := range r.regions {
		rec := g.record
		rec.mu.Lock()
		o.Measured = rec.to - rec.from
		part := Part{
			Name: g.Name, Begun: rec.begun, Answered: rec.answered, Done: rec.done, Commands: rec.commands, Fast: rec.fast,
			Gap: max(rec.gap, rec.to-rec.last), Latency: newHistogram(),
		}
		late.Merge(rec.late)
		for name, h := range rec.kinds {
			part.Latency.Merge(h)
			kind, known := o.Kinds[name]
			if !known {
				kind = Part{Name: name, Latency: newHistogram()}
			}
			kind.Latency.Merge(h)
			kind.Answered += int(h.TotalCount())
			o.Kinds[name] = kind
		}
		for failure, n := range rec.failures {
			o.Failures[failure] += n
			switch failure.Outcome {
			case clients.Applied:
				part.Applied += n
			case clients.NotApplied:
				part.Refused += n
			default:
				part.Unknown += n
			}
		}
		o.unsure = append(o.unsure, rec.unsure...)
		rec.mu.Unlock()
		o.Regions = append(o.Regions, part)
		o.Total.add(&part)
	}
	o.Late = summary(late)
	return o
}

// Rate is the answers a second in the measured time.
func (o *Outcome) Rate(p *Part) float64 {
	if o.Measured <= 0 {
		return 0
	}
	return float64(p.Done) / o.Measured.Seconds()
}

// FailureList is Failures in a fixed order, the most frequent first.
func (o *Outcome) FailureList() []Failure {
	var all []Failure
	for f := range o.Failures {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(o.Failures[b], o.Failures[a]), cmp.Compare(a.Cause, b.Cause),
			cmp.Compare(a.Outcome, b.Outcome))
	})
	return all
}

// Resolved is what became of the operations whose outcome was unknown when the load ended.
type Resolved struct{ Applied, NotApplied, Unknown int }

// Resolve asks the cluster what became of operations whose outcome is unknown, until ctx ends.
func (o *Outcome) Resolve(ctx context.Context) Resolved {
	r := Resolved{Unknown: o.Total.Unknown}
	for _, a := range o.unsure {
		outcome, err := a.Resolve(ctx)
		switch {
		case ctx.Err() != nil:
			return r
		case err != nil:
		case outcome == clients.Applied:
			r.Applied++
			r.Unknown--
		case outcome == clients.NotApplied:
			r.NotApplied++
			r.Unknown--
		}
	}
	return r
}
