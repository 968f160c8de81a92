package experiment

import (
	"fmt"
	"math"
	"slices"
)

// group is the repetitions of one point.
type group []Result

// grouped puts repetitions together, in the order of the first of each.
func grouped(results []Result) []group {
	var groups []group
	for _, r := range results {
		if r.Repeat == 0 || len(groups) == 0 {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], r)
	}
	return groups
}

// metric is one number of a result.
type metric func(*Result) float64

// studentT is the factor of a confidence interval of 95 %, by degrees of freedom from 1.
var studentT = []float64{12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23}

// mean of a metric, and half the width of its confidence interval; that is 0 for a single run.
func (g group) mean(m metric) (mean, half float64) {
	for i := range g {
		mean += m(&g[i])
	}
	n := float64(len(g))
	mean /= n
	if len(g) < 2 {
		return mean, 0
	}
	squares := 0.0
	for i := range g {
		d := m(&g[i]) - mean
		squares += d * d
	}
	factor := 1.96
	if len(g)-2 < len(studentT) {
		factor = studentT[len(g)-2]
	}
	return mean, factor * math.Sqrt(squares/(n-1)/n)
}

// text is a metric with its confidence interval, if there are repetitions.
func (g group) text(m metric, format string) string {
	mean, half := g.mean(m)
	if math.IsNaN(mean) {
		return "–"
	}
	if len(g) < 2 {
		return fmt.Sprintf(format, mean)
	}
	return fmt.Sprintf(format+" ±"+format, mean, half)
}

func optional[T int | float64](p *T) float64 {
	if p == nil {
		return math.NaN()
	}
	return float64(*p)
}

// ofRegion is a metric of one site; NaN where no clients are.
func ofRegion(site string, of func(*Region) float64) metric {
	return func(r *Result) float64 {
		for i := range r.Regions {
			if r.Regions[i].Site == site {
				return of(&r.Regions[i])
			}
		}
		return math.NaN()
	}
}

func worstGap(r *Result) float64 {
	worst := 0.0
	for i := range r.Regions {
		if r.Fault == "" || r.Fault != "site "+r.Regions[i].Site+" stops" {
			worst = max(worst, r.Regions[i].GapMS)
		}
	}
	return worst
}

// Metrics of tables.
var (
	commitP50  = metric(func(r *Result) float64 { return r.Commit.P50 })
	commitP99  = metric(func(r *Result) float64 { return r.Commit.P99 })
	execP50    = metric(func(r *Result) float64 { return r.Execution.P50 })
	execP90    = metric(func(r *Result) float64 { return r.Execution.P90 })
	execP99    = metric(func(r *Result) float64 { return r.Execution.P99 })
	execP999   = metric(func(r *Result) float64 { return r.Execution.P999 })
	execMax    = metric(func(r *Result) float64 { return r.Execution.Max })
	throughput = metric(func(r *Result) float64 { return r.Throughput })
	fastShare  = metric(func(r *Result) float64 { return 100 * optional(r.FastShare) })
	depsMean   = metric(func(r *Result) float64 { return optional(r.Deps) })
	waiting    = metric(func(r *Result) float64 { return 100 * optional(r.Waiting) })
	component  = metric(func(r *Result) float64 { return optional(r.Component) })
	largest    = metric(func(r *Result) float64 { return optional(r.Largest) })
	messages   = metric(func(r *Result) float64 { return r.Messages })
	bytesSent  = metric(func(r *Result) float64 { return r.Bytes })
	syncs      = metric(func(r *Result) float64 { return r.Syncs })
	busiest    = metric(func(r *Result) float64 { return r.Busiest })
	unanswered = metric(func(r *Result) float64 { return float64(r.Unanswered) })
)

// where keeps the groups for which all conditions hold.
func where(groups []group, conditions ...func(*Result) bool) []group {
	return slices.DeleteFunc(slices.Clone(groups), func(g group) bool {
		for _, holds := range conditions {
			if !holds(&g[0]) {
				return true
			}
		}
		return false
	})
}

func withReplicas(n int) func(*Result) bool { return func(r *Result) bool { return r.Replicas == n } }

func withConflict(c float64) func(*Result) bool {
	return func(r *Result) bool { return r.Zipf == 0 && r.Conflict == c }
}

func withProtocol(name string) func(*Result) bool {
	return func(r *Result) bool { return r.Protocol == name }
}

// protocolsOf lists the protocols of groups in their order.
func protocolsOf(groups []group) []string {
	var names []string
	for _, g := range groups {
		if !slices.Contains(names, g[0].Protocol) {
			names = append(names, g[0].Protocol)
		}
	}
	return names
}

// columns of a table that shows one metric in each.
type columnOf struct {
	name   string
	metric metric
	format string
}

// tableOf has one row for each group, after cells that name it.
func tableOf(groups []group, names []string, name func(*Result) []string, columns []columnOf) Table {
	t := Table{Header: slices.Clone(names)}
	for _, c := range columns {
		t.Header = append(t.Header, c.name)
	}
	for _, g := range groups {
		row := name(&g[0])
		for _, c := range columns {
			row = append(row, g.text(c.metric, c.format))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
