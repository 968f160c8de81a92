package experiment

import (
	"fmt"
	"math"
	"strings"
)

// Phases of the experiment family, as values of Point.Experiment.
const (
	familyQuiet     = "family: quiet"
	familyContended = "family: contended"
	familyDeath     = "family: death"
)

func familyPoints(o *Options) ([]Point, error) {
	var points []Point
	err := o.each(func(p Point) {
		quiet := p
		quiet.Experiment = familyQuiet
		contended := p
		contended.Experiment, contended.Workload.Conflict = familyContended, 100
		death := p
		death.Experiment, death.Fault.Crash = familyDeath, -1
		points = append(points, quiet, contended, death)
	})
	return points, err
}

func inPhase(phase string) func(*Result) bool {
	return func(r *Result) bool { return r.Experiment == phase }
}

func showFamily(o *Options, results []Result) Report {
	groups := grouped(results)
	report := Report{
		Title: "The Paxos family, measured",
		Intro: []string{
			"Each protocol under the same load, " + o.modeText() + ": with no two requests on one key (quiet), with all of " +
				"them on one key (contended), and around the death of a site, that of the leader where there is one.",
			"Latency is what clients beside a replica see. A command is chosen when its outcome is known to the replica " +
				"of its " +
				"client, and answered when it has been executed there.",
		},
	}
	report.Sections = append(report.Sections, Section{Title: "How they differ", Wordy: true, Table: familyWords(groups)})
	for _, n := range o.Replicas {
		report.Sections = append(report.Sections, familySections(o, where(groups, withReplicas(n)), n)...)
	}
	return report
}

// familyWords is what is known without measuring.
func familyWords(groups []group) Table {
	t := Table{Header: []string{
		"protocol", "leader", "way of a command, quiet", "under conflict", "when two want to write at once",
		"when the leader dies",
	}}
	words := map[string][]string{
		"epaxos": {
			"none: each replica leads what its clients ask", "1 round trip to a fast quorum",
			"2 round trips, and waiting for what interferes", "those that commute: nothing; others depend on each other",
			"nothing to elect; its own commands are recovered",
		},
		"basicpaxos": {
			"none: all propose for one log", "2 round trips to a majority", "2 for each attempt",
			"they duel: the loser backs off at random", "nothing to elect; the next proposer completes its slot",
		},
		"multipaxos": {
			"one, elected", "to the leader, 1 round trip to a majority, back", "the same",
			"the leader orders them", "all wait for suspicion and election",
		},
		"flexiblepaxos": {
			"one, elected by a large quorum", "as Multi-Paxos, with a smaller quorum", "the same", "the leader orders them",
			"as Multi-Paxos, and more must live to elect",
		},
		"fastpaxos": {
			"a coordinator, elected", "1 round trip to ⌈3n/4⌉", "and 1 more by way of the coordinator",
			"they collide, whatever their keys", "the fast path goes on; collisions wait for election",
		},
	}
	for _, family := range Families() {
		for _, g := range groups {
			if g[0].Family == family {
				t.Rows = append(t.Rows, append([]string{family}, words[family]...))
				break
			}
		}
	}
	return t
}

func familySections(o *Options, groups []group, n int) []Section {
	if len(groups) == 0 {
		return nil
	}
	quiet := where(groups, inPhase(familyQuiet))
	head := fmt.Sprintf("%d replicas at %s", n, quiet[0][0].Sites)
	sections := []Section{
		{Title: "Trade-offs, " + head, Table: familyTradeoffs(groups, quiet), Note: parametersText(o, head) +
			" Messages count heartbeats out; the busiest replica's share counts what it sends and receives. " +
			"The gap is the longest time without an answer in a region that lives. Hot has all requests on one key."},
		{Title: "Median until chosen, by region and without conflicts, " + head, Table: familyRegions(quiet),
			Note: "Milliseconds. The limit is the round trip to the nearest fast quorum of EPaxos*, without a disk. A " +
				"dash is a region of which no request began and was answered in the measured time."},
	}
	for _, phase := range []string{familyQuiet, familyContended} {
		title := "Time to the answer, no conflicts, "
		if phase == familyContended {
			title = "Time to the answer, all requests on one key, "
		}
		sections = append(sections, tailSection(title+head, parametersText(o, head), where(groups, inPhase(phase))))
	}
	return sections
}

func familyTradeoffs(groups, quiet []group) Table {
	t := Table{Header: []string{
		"protocol", "leader", "quorums 1/2/fast", "f", "chosen p50", "p99", "hot: chosen p50", "p99",
		"answered p50", "p99",
		"fast %", "msgs/cmd", "busiest", "bytes/cmd", "syncs/cmd", "gap ms",
	}}
	for _, g := range quiet {
		r := &g[0]
		contended := where(groups, inPhase(familyContended), withProtocol(r.Protocol))[0]
		death := where(groups, inPhase(familyDeath), withProtocol(r.Protocol))[0]
		leader := r.Leader
		if leader == "" {
			leader = "–"
		}
		fast := "–"
		if r.Fast > 0 {
			fast = fmt.Sprint(r.Fast)
		}
		t.Rows = append(t.Rows, []string{
			r.Protocol, leader, fmt.Sprintf("%d/%d/%s", r.Prepare, r.Accept, fast), fmt.Sprint(r.F),
			g.text(commitP50, "%.1f"), g.text(commitP99, "%.1f"),
			contended.text(commitP50, "%.1f"), contended.text(commitP99, "%.1f"),
			contended.text(execP50, "%.1f"), contended.text(execP99, "%.1f"), contended.text(fastShare, "%.1f"),
			g.text(messages, "%.1f"), g.text(busiest, "%.1f"), g.text(bytesSent, "%.0f"), g.text(syncs, "%.1f"),
			death.text(worstGap, "%.0f"),
		})
	}
	return t
}

func familyRegions(quiet []group) Table {
	sites := strings.Fields(quiet[0][0].Sites)
	t := Table{Header: append([]string{"protocol"}, sites...)}
	for _, g := range quiet {
		row := []string{g[0].Protocol}
		for _, site := range sites {
			row = append(row, g.text(ofRegion(site, func(r *Region) float64 { return r.Commit.P50 }), "%.1f"))
		}
		t.Rows = append(t.Rows, row)
	}
	for _, g := range quiet {
		if g[0].Family == "epaxos" {
			row := []string{"limit of " + g[0].Protocol}
			for i := range sites {
				row = append(row, fmt.Sprintf("%.1f", g[0].profileOf.Profile.NearestQuorumRTT(i, g[0].Fast)))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

// tailSection shows distributions of the time to the answer as the share that takes longer, which shows the tail.
func tailSection(title, note string, groups []group) Section {
	chart := &Chart{Title: title, X: "milliseconds to the answer", Y: "percent of requests that take longer", LogY: true}
	table := tableOf(groups, []string{"protocol"}, func(r *Result) []string { return []string{r.Protocol} }, []columnOf{
		{"p50", execP50, "%.1f"}, {"p90", execP90, "%.1f"}, {"p99", execP99, "%.1f"}, {"p99.9", execP999, "%.1f"},
		{"max", execMax, "%.1f"}, {"answers/s", throughput, "%.0f"}, {"unanswered", unanswered, "%.0f"},
	})
	for _, g := range groups {
		s := Series{Name: g[0].Protocol}
		for i, q := range Quantiles {
			if q < 1 {
				s.X, s.Y = append(s.X, g[0].ExecCDF[i]), append(s.Y, round(100*(1-q)))
			}
		}
		chart.Series = append(chart.Series, s)
	}
	low, high := math.Inf(1), 0.0
	for _, s := range chart.Series {
		low, high = min(low, s.X[0]), max(high, s.X[len(s.X)-1])
	}
	chart.LogX = high > 8*low
	return Section{Title: title, Note: note, Chart: chart, Table: table}
}
