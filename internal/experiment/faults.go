package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/internal/workload"
)

// The experiments in which something goes wrong: a death, a slow replica, losses.

// firstConflict is the rate of experiments that do not sweep it.
func (o *Options) firstConflict() float64 {
	if len(o.Conflicts) == 0 {
		return 0
	}
	return o.Conflicts[0]
}

func failoverPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		p.Fault.Crash = -1
		for _, c := range o.Conflicts {
			p.Workload.Conflict = c
			points = append(points, p)
		}
	})
	return points, err
}

func showFailover(o *Options, results []Result) Report {
	groups := grouped(results)
	report := Report{
		Title: "The death of a site",
		Intro: []string{
			"One replica stops for good together with the clients beside it: the leader or coordinator, or, where there " +
				"is none, the " +
				"replica that would lead best. The others suspect it after " + suspectAfter.String() + " of silence. Time " +
				"lines show " +
				"what the clients of the other sites see.",
		},
	}
	for _, n := range o.Replicas {
		for _, c := range o.Conflicts {
			mine := where(groups, withReplicas(n), withConflict(c))
			if len(mine) == 0 {
				continue
			}
			head := fmt.Sprintf("%d replicas at %s, conflicts %g %%", n, mine[0][0].Sites, c)
			note := parametersText(o, head)
			report.Sections = append(report.Sections, Section{
				Title: "Longest time without an answer, " + head, Note: "Milliseconds, by region. " + note, Table: gaps(mine),
			}, timeLineSection("Answers a second in the regions that live, "+head, note, mine, false),
				timeLineSection("Slowest answer of each quarter of a second in the regions that live, "+head, note, mine, true))
		}
	}
	return report
}

func gaps(groups []group) Table {
	sites := strings.Fields(groups[0][0].Sites)
	t := Table{Header: append([]string{"protocol", "stops", "worst"}, sites...)}
	t.Header = append(t.Header, "unanswered", "answered p50", "p99", "max")
	for _, g := range groups {
		r := &g[0]
		row := []string{r.Protocol, r.Fault, g.text(worstGap, "%.0f")}
		for _, site := range sites {
			if r.Fault == "site "+site+" stops" {
				row = append(row, "–")
				continue
			}
			row = append(row, g.text(ofRegion(site, func(x *Region) float64 { return x.GapMS }), "%.0f"))
		}
		row = append(row, g.text(unanswered, "%.0f"), g.text(execP50, "%.1f"), g.text(execP99, "%.1f"),
			g.text(execMax, "%.0f"))
		t.Rows = append(t.Rows, row)
	}
	return t
}

// timeLineSection shows the regions that live together, of the first repetition.
func timeLineSection(title, note string, groups []group, slowest bool) Section {
	chart := &Chart{Title: title, X: "seconds", Y: "answers a second"}
	if slowest {
		chart.Y = "milliseconds"
		chart.LogY = true
	}
	for _, g := range groups {
		r := &g[0]
		s := Series{Name: r.Protocol}
		for i := 0; len(r.TimeLine) > 0 && i < len(r.TimeLine[0].Counts); i++ {
			count, most := 0, math.NaN()
			for _, line := range r.TimeLine {
				if r.Fault == "site "+line.Site+" stops" {
					continue
				}
				count += line.Counts[i]
				if line.Max[i] >= 0 && (math.IsNaN(most) || line.Max[i] > most) {
					most = line.Max[i]
				}
			}
			s.X = append(s.X, round(float64(i)*TimeLineStep))
			if slowest {
				s.Y = append(s.Y, most)
			} else {
				s.Y = append(s.Y, float64(count)/TimeLineStep)
			}
		}
		chart.Series = append(chart.Series, s)
		chart.Marks = []Mark{{X: r.CrashS, Text: "a site stops"}}
	}
	t := Table{Header: []string{"second"}}
	for i, s := range chart.Series {
		t.Header = append(t.Header, s.Name)
		for j := range s.X {
			if i == 0 {
				t.Rows = append(t.Rows, []string{short(s.X[j])})
			}
			text := "–"
			if !math.IsNaN(s.Y[j]) {
				text = short(s.Y[j])
			}
			t.Rows[j] = append(t.Rows[j], text)
		}
	}
	return Section{Title: title, Note: note, Chart: chart, Table: t, Quiet: true}
}

func slowPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		p.Workload.Conflict = o.firstConflict()
		points = append(points, p)
		p.Fault.Slow, p.Fault.SlowBy = p.Succession()[0]+1, o.SlowBy
		points = append(points, p)
		p.Fault.Slow = p.Succession()[p.Replicas-1] + 1
		points = append(points, p)
	})
	return points, err
}

func showSlow(o *Options, results []Result) Report {
	return plainReport(o, results, plain{
		title: "One slow replica", name: "slow",
		intro: "Each turn of one replica takes longer: of the one that leads, or would lead best, and of the one " +
			"that would lead worst. The others are as ever.",
		value: func(r *Result) string {
			if r.Fault == "" {
				return "none"
			}
			return r.Fault
		},
	})
}

func lossPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		p.Workload.Conflict = o.firstConflict()
		for _, loss := range []float64{0, 0.1, 1, 5} {
			p.Emulation.Loss = loss
			points = append(points, p)
		}
	})
	return points, err
}

func showLoss(o *Options, results []Result) Report {
	return plainReport(o, results, plain{
		title: "Lost packets", name: "loss %",
		intro: "A frame is lost with this probability and sent again after nine eighths of a round trip; frames " +
			"behind it on the same link wait, as on one stream.",
		value: func(r *Result) string { return short(r.Loss) },
	})
}

func skewPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		p.Workload.Conflict = o.firstConflict()
		points = append(points, p)
		for i := range p.Replicas {
			p.Active = []int{i}
			points = append(points, p)
		}
	})
	return points, err
}

func showSkew(o *Options, results []Result) Report {
	return plainReport(o, results, plain{
		title: "Clients in some regions", name: "clients at",
		intro: "All clients in one region, or the same number in each. A leader is placed where it is best for " +
			"those who ask.",
		value: func(r *Result) string { return r.Clients },
	})
}

// plain is a report on one parameter.
type plain struct {
	title, intro string
	name         string // of the parameter
	value        func(*Result) string
}

// plainReport has one table for each number of replicas.
func plainReport(o *Options, results []Result, p plain) Report {
	title, name, value := p.title, p.name, p.value
	groups := grouped(results)
	report := Report{Title: title, Intro: []string{p.intro}}
	for _, n := range o.Replicas {
		mine := where(groups, withReplicas(n))
		if len(mine) == 0 {
			continue
		}
		head := fmt.Sprintf("%d replicas at %s", n, mine[0][0].Sites)
		naming := func(r *Result) []string { return []string{r.Protocol, value(r), leaderText(r)} }
		report.Sections = append(report.Sections, Section{
			Title: title + ", " + head,
			Note:  "Milliseconds. " + parametersText(o, fmt.Sprintf("%s, conflicts %g %%", head, o.firstConflict())),
			Table: tableOf(mine, []string{"protocol", name, "leader"}, naming, []columnOf{
				{"chosen p50", commitP50, "%.1f"}, {"p99", commitP99, "%.1f"}, {"answered p50", execP50, "%.1f"}, {"p99",
					execP99, "%.1f"},
				{"p99.9", execP999, "%.1f"}, {"fast %", fastShare, "%.1f"}, {"answers/s", throughput, "%.0f"},
			}),
		})
		var values []string
		for _, g := range mine {
			if v := value(&g[0]); !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		for _, v := range values {
			same := where(mine, func(r *Result) bool { return value(r) == v })
			s := tailSection(fmt.Sprintf("%s: %s %s, %s", title, name, v, head), "", same)
			s.Quiet = true
			report.Sections = append(report.Sections, s)
		}
	}
	return report
}

func leaderText(r *Result) string {
	if r.Leader == "" {
		return "–"
	}
	return r.Leader
}

// manyClients is from where on a short time is enough.
const manyClients = 100

func scalePoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		p.Workload.Conflict = o.firstConflict()
		points = append(points, p)
	})
	if err != nil {
		return nil, err
	}
	growing := *o
	growing.Replicas = []int{5}
	for _, clients := range o.Clients {
		growing.Load = workload.Load{Clients: clients}.String()
		err := growing.each(func(p Point) {
			p.Workload.Conflict = o.firstConflict()
			if clients > manyClients { // they make enough requests in a second
				p.Warmup, p.Duration = min(p.Warmup, 2*time.Second), min(p.Duration, time.Second)
			}
			p.Experiment = "scale: clients"
			points = append(points, p)
		})
		if err != nil {
			return nil, err
		}
	}
	return points, err
}

func showScale(o *Options, results []Result) Report {
	groups := grouped(results)
	columns := []columnOf{
		{"answers/s", throughput, "%.0f"}, {"answered p50", execP50, "%.1f"}, {"p99", execP99, "%.1f"}, {"msgs/cmd",
			messages, "%.2f"},
		{"busiest", busiest, "%.2f"}, {"bytes/cmd", bytesSent, "%.0f"}, {"syncs/cmd", syncs, "%.3f"}, {"fast %",
			fastShare, "%.1f"},
	}
	size := where(groups, inPhase("scale"))
	growing := where(groups, inPhase("scale: clients"))
	byReplicas := func(r *Result) float64 { return float64(r.Replicas) }
	byClients := func(r *Result) float64 {
		load, _ := workload.ParseLoad(r.Load)
		return float64(load.Clients)
	}
	report := Report{Title: "What a command costs as work grows", Intro: []string{
		"Messages count at both ends; busiest is the share of the replica that handles most of them: where it reaches " +
			"all the " +
			"processor's time, throughput ends. All requests that come in one turn share an instance or a slot, so a " +
			"command grows cheaper " +
			"with load.",
	}}
	chart := chartOf(size, "Messages handled by the busiest replica for a command", "replicas", byReplicas, busiest)
	chart.Y, chart.LogY = "messages", false
	report.Sections = append(report.Sections, Section{
		Title: chart.Title, Chart: chart, Note: parametersText(o, "All pairs of sites equally far apart"),
		Table: tableOf(size, []string{"protocol", "replicas"}, func(r *Result) []string {
			return []string{r.Protocol, fmt.Sprint(r.Replicas)}
		}, columns),
	})
	if len(growing) > 0 {
		chart := chartOf(growing, "Answers a second against clients in each of 5 regions", "clients in each region",
			byClients, throughput)
		chart.Y = "answers a second"
		report.Sections = append(report.Sections, Section{
			Title: chart.Title, Chart: chart, Note: parametersText(o,
				"Five replicas, all pairs equally far apart, closed loops"),
			Table: tableOf(growing, []string{"protocol", "clients"}, func(r *Result) []string {
				return []string{r.Protocol, short(byClients(r))}
			}, columns),
		})
	}
	return report
}
