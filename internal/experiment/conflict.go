package experiment

import (
	"fmt"
	"math"
)

func conflictPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		for _, c := range o.Conflicts {
			p.Workload.Conflict, p.Workload.Zipf = c, 0
			points = append(points, p)
		}
		for _, theta := range o.Zipf {
			p.Workload.Conflict, p.Workload.Zipf = 0, theta
			points = append(points, p)
		}
	})
	return points, err
}

func showConflict(o *Options, results []Result) Report {
	groups := grouped(results)
	report := Report{
		Title: "Latency against conflicts",
		Intro: []string{
			"The conflict rate is the share of requests that write one key shared by all regions; all other requests are on " +
				"keys of their own region. Chosen is when the outcome is known to the replica of the client, answered is " +
				"when the request has been executed there: in EPaxos that waits for everything it depends on.",
		},
	}
	for _, n := range o.Replicas {
		mine := where(groups, withReplicas(n))
		if len(mine) == 0 {
			continue
		}
		head := fmt.Sprintf("%d replicas at %s", n, mine[0][0].Sites)
		if len(o.Conflicts) > 0 {
			fixed := where(mine, func(r *Result) bool { return r.Zipf == 0 })
			report.Sections = append(report.Sections, sweep(o, fixed, head, "conflict %",
				func(r *Result) float64 { return r.Conflict })...)
		}
		if len(o.Zipf) > 0 {
			skewed := where(mine, func(r *Result) bool { return r.Zipf > 0 })
			report.Sections = append(report.Sections, sweep(o, skewed, head, "zipf exponent",
				func(r *Result) float64 { return r.Zipf })...)
		}
	}
	return report
}

// sweep shows how latency depends on one parameter.
func sweep(o *Options, groups []group, head, parameter string, value metric) []Section {
	note := parametersText(o, head)
	lines := func(title string, m metric) Section {
		title += ", " + head
		return Section{
			Title: title, Note: note, Quiet: true, Chart: chartOf(groups, title, parameter, value, m),
			Table: pivot(groups, parameter, value, m),
		}
	}
	name := func(r *Result) []string { return []string{r.Protocol, short(value(r))} }
	sections := []Section{
		{Title: "All of it, " + head, Note: "Milliseconds. " + note, Table: tableOf(groups, []string{"protocol",
			parameter}, name, []columnOf{
			{"chosen p50", commitP50, "%.1f"}, {"p99", commitP99, "%.1f"}, {"answered p50", execP50, "%.1f"},
			{"p90", execP90, "%.1f"}, {"p99", execP99, "%.1f"}, {"p99.9", execP999, "%.1f"}, {"fast %", fastShare, "%.1f"},
			{"answers/s", throughput, "%.0f"}, {"msgs/cmd", messages, "%.1f"}, {"bytes/cmd", bytesSent, "%.0f"},
		})},
		lines("Median until chosen", commitP50), lines("99th percentile until chosen", commitP99),
		lines("Median to the answer", execP50), lines("99th percentile to the answer", execP99),
	}
	egalitarian := where(groups, func(r *Result) bool { return r.Family == "epaxos" })
	if len(egalitarian) > 0 {
		sections = append(sections, Section{
			Title: "What EPaxos* does under conflict, " + head,
			Note: "Dependencies count interfering commands that were not executed at the leader when the command was " +
				"chosen; " +
				"waits is the share of commands with any; components are those that execute as one. " + note,
			Chart: chartOf(egalitarian, "Fast path, "+head, parameter, value, fastShare),
			Table: tableOf(egalitarian, []string{"protocol", parameter}, name, []columnOf{
				{"fast %", fastShare, "%.1f"}, {"waits %", waiting, "%.1f"}, {"dependencies", depsMean, "%.2f"},
				{"component mean", component, "%.2f"}, {"component max", largest, "%.0f"}, {"answered p99.9", execP999, "%.1f"},
				{"max", execMax, "%.1f"},
			}),
		})
		sections[len(sections)-1].Chart.Y = "percent on the fast path"
	}
	top := math.Inf(-1)
	for _, g := range groups {
		top = max(top, value(&g[0]))
	}
	most := where(groups, func(r *Result) bool { return value(r) == top })
	return append(sections, tailSection(fmt.Sprintf("Time to the answer at %s %s, %s", parameter, short(top),
		head), note, most))
}

// chartOf draws one metric against a parameter, one line for each protocol.
func chartOf(groups []group, title, parameter string, value, m metric) *Chart {
	c := &Chart{Title: title, X: parameter, Y: "milliseconds", LogY: true}
	for _, protocol := range protocolsOf(groups) {
		s := Series{Name: protocol}
		for _, g := range where(groups, withProtocol(protocol)) {
			y, _ := g.mean(m)
			s.X, s.Y = append(s.X, value(&g[0])), append(s.Y, y)
		}
		c.Series = append(c.Series, s)
	}
	c.LogY = spread(c) > 4
	return c
}

// spread is how many times the largest value is the smallest.
func spread(c *Chart) float64 {
	low, high := math.Inf(1), 0.0
	for _, s := range c.Series {
		for _, y := range s.Y {
			if y > 0 {
				low, high = min(low, y), max(high, y)
			}
		}
	}
	return high / low
}

// pivot is the table of such a chart: a row for each protocol, a column for each value.
func pivot(groups []group, parameter string, value, m metric) Table {
	t := Table{Header: []string{"protocol, by " + parameter}}
	for _, protocol := range protocolsOf(groups) {
		row := []string{protocol}
		for _, g := range where(groups, withProtocol(protocol)) {
			if len(t.Rows) == 0 {
				t.Header = append(t.Header, short(value(&g[0])))
			}
			row = append(row, g.text(m, "%.1f"))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
