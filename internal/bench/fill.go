package bench

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/264bc8cf/epaxos/internal/experiment"
)

// Fill puts what was measured into a result of the experiments, whose parameters are the caller's. When an operation
// was chosen is not known to clients, so those columns stay empty, and so does what only replicas know.
func (o *Outcome) Fill(r *experiment.Result) {
	t := &o.Total
	r.Begun, r.Answered, r.Refused, r.Unanswered = t.Begun, t.Answered, t.Refused, t.Applied+t.Unknown
	r.DurationS = round(o.Measured.Seconds())
	r.Execution, r.Throughput = t.Summary(), round(o.Rate(t))
	if t.Commands > 0 {
		r.FastShare = new(round(float64(t.Fast) / float64(t.Commands)))
	}
	for i := range o.Regions {
		p := &o.Regions[i]
		if p.Begun == 0 {
			continue
		}
		r.Regions = append(r.Regions, experiment.Region{
			Site: p.Name, Begun: p.Begun, Answered: p.Answered, Refused: p.Refused, Unanswered: p.Applied + p.Unknown,
			Execution: p.Summary(), GapMS: millis(p.Gap),
		})
	}
	for _, q := range experiment.Quantiles {
		r.ExecCDF = append(r.ExecCDF, float64(quantile(t.Latency, q))/1000)
	}
}

// quantile is 0 where nothing was measured.
func quantile(h *hdrhistogram.Histogram, q float64) int64 {
	if h.TotalCount() == 0 {
		return 0
	}
	return h.ValueAtQuantile(100 * q)
}

func round(v float64) float64 { return float64(int64(v*1000+0.5)) / 1000 }

func millis(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// Tail is the distribution as a line of a chart: the percentage of operations that take longer than so many
// milliseconds.
func (p *Part) Tail() experiment.Series {
	s := experiment.Series{Name: p.Name}
	if p.Latency.TotalCount() == 0 {
		return s
	}
	for _, q := range experiment.Quantiles {
		if q < 1 {
			s.X, s.Y = append(s.X, float64(quantile(p.Latency, q))/1000), append(s.Y, round(100*(1-q)))
		}
	}
	return s
}
