package experiment

import (
	"fmt"

	"github.com/264bc8cf/epaxos/internal/workload"
)

// Phases of the experiment hot-key, as values of Point.Experiment.
const (
	hotAddsApart = "hot-key: adds, keys apart"
	hotAdds      = "hot-key: adds, one key"
	hotPutsApart = "hot-key: puts, keys apart"
	hotPuts      = "hot-key: puts, one key"
	hotStream    = "hot-key: puts, one key, open loop"
)

// unlimited is more commands in flight on a key than any run has.
const unlimited = 1 << 20

// hotTunings are how many commands on a key a replica has in flight, and whether those that wait go together.
var hotTunings = []struct {
	name   string
	tuning Tuning
}{
	{"as it ships", Tuning{}},
	{"1 in flight, gathered", Tuning{Window: 1}},
	{"1 in flight, one by one", Tuning{Window: 1, Gather: 1}},
	{"16 in flight, one by one", Tuning{Window: 16, Gather: 1}},
	{"no bound", Tuning{Window: unlimited}},
}

// hotRate is what each region asks for in the open loop: more than clients that wait for answers would.
const hotRate = 50

func hotPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		add := func(phase string, adds, conflict float64, tuning Tuning) {
			p := p
			p.Experiment, p.Tuning = phase, tuning
			p.Workload.Adds, p.Workload.Writes, p.Workload.Conflict = adds, 100-adds, conflict
			if phase == hotStream {
				p.Workload.Load = workload.Load{Rate: hotRate}
			}
			points = append(points, p)
		}
		add(hotAddsApart, 100, 0, o.Tuning)
		add(hotAdds, 100, 100, o.Tuning)
		add(hotPutsApart, 0, 0, o.Tuning)
		if p.Protocol.Family != "epaxos" {
			add(hotPuts, 0, 100, o.Tuning)
			add(hotStream, 0, 100, o.Tuning)
			return
		}
		for _, t := range hotTunings {
			add(hotPuts, 0, 100, t.tuning)
			add(hotStream, 0, 100, t.tuning)
		}
	})
	return points, err
}

// hotTuning names the tuning of a run.
func hotTuning(r *Result) string {
	if r.Family != "epaxos" {
		return "–"
	}
	for _, t := range hotTunings {
		if t.tuning.Window == r.Window && t.tuning.Gather == r.Gather {
			return t.name
		}
	}
	return fmt.Sprintf("%d in flight, %d together", r.Window, r.Gather)
}

func showHot(o *Options, results []Result) Report {
	groups := grouped(results)
	report := Report{
		Title: "One hot key",
		Intro: []string{
			"All clients of all regions on one key. Adds commute, and should not notice. Puts do not: one after the other " +
				"they all wait for each other, and what can be chosen is how many commands a replica has in flight, and whether " +
				"requests that wait go together in one.",
			"A component is what executes as one, because its commands depend on each other in a circle. With a bound of M " +
				"commands of each of n replicas it has at most n × M; without one it may grow for as long as there is load.",
		},
	}
	columns := []columnOf{
		{"answers/s", throughput, "%.0f"}, {"chosen p50", commitP50, "%.1f"}, {"p99", commitP99, "%.1f"},
		{"answered p50", execP50, "%.1f"}, {"p99", execP99, "%.1f"}, {"p99.9", execP999, "%.1f"}, {"max", execMax, "%.1f"},
		{"fast %", fastShare, "%.1f"}, {"component", component, "%.1f"}, {"largest", largest, "%.0f"},
		{"unanswered", unanswered, "%.0f"}, {"msgs/cmd", messages, "%.1f"},
	}
	for _, n := range o.Replicas {
		mine := where(groups, withReplicas(n))
		if len(mine) == 0 {
			continue
		}
		head := fmt.Sprintf("%d replicas at %s", n, mine[0][0].Sites)
		adds := where(mine, func(r *Result) bool { return r.Experiment == hotAdds || r.Experiment == hotAddsApart })
		puts := where(mine, func(r *Result) bool { return r.Experiment == hotPuts || r.Experiment == hotPutsApart })
		open := where(mine, inPhase(hotStream))
		keys := func(r *Result) string {
			if r.Conflict == 0 {
				return "keys apart"
			}
			return "one key"
		}
		byKeys := func(r *Result) []string { return []string{r.Protocol, keys(r)} }
		load := *o
		load.Adds, load.Writes = 100, 0
		addNote := parametersText(&load, head)
		report.Sections = append(report.Sections, Section{
			Title: "Adds, " + head, Note: "Milliseconds. " + addNote,
			Table: tableOf(adds, []string{"protocol", "keys"}, byKeys, columns),
		})
		naming := func(r *Result) []string { return append(byKeys(r), hotTuning(r)) }
		names := []string{"protocol", "keys", "on a key"}
		report.Sections = append(report.Sections, Section{
			Title: "Puts by clients that wait for their answers, " + head, Note: "Milliseconds. " + parametersText(o, head),
			Table: tableOf(puts, names, naming, columns),
		})
		stream := *o
		stream.Load = workload.Load{Rate: hotRate}.String()
		note := "Milliseconds. " + parametersText(&stream, head)
		report.Sections = append(report.Sections, Section{
			Title: "Puts that come whether or not others are answered, " + head, Note: note,
			Table: tableOf(open, names, naming, columns), Chart: hotChart(open, head),
		})
	}
	return report
}

// hotChart shows the distributions under each tuning.
func hotChart(groups []group, head string) *Chart {
	chart := tailSection("Time to the answer on one hot key, "+head, "", groups).Chart
	for i := range groups {
		r := &groups[i][0]
		chart.Series[i].Name = r.Protocol
		if r.Family == "epaxos" {
			chart.Series[i].Name += ", " + hotTuning(r)
		}
	}
	return chart
}
