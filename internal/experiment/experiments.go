package experiment

import (
	"fmt"
	"strings"
	"time"
)

// experiment is one question: which runs answer it, and how the answer is shown.
type experiment struct {
	name     string
	short    string
	defaults Options
	points   func(o *Options) ([]Point, error)
	show     func(o *Options, results []Result) Report
}

// Report is the answer to a question, for the terminal and for the page.
type Report struct {
	Title    string
	Intro    []string // paragraphs
	Sections []Section
}

// Section is a table, with a chart above it perhaps.
type Section struct {
	Title string
	Note  string // parameters, and how to read it
	Chart *Chart
	Table Table
	Quiet bool // too long for a terminal, and folded on the page
	Wordy bool // too wide for a terminal
}

// Table has text in its first column and mostly numbers in the others.
type Table struct {
	Header []string
	Rows   [][]string
}

// Names lists the experiments.
func Names() []string {
	var names []string
	for i := range experiments {
		names = append(names, experiments[i].name)
	}
	return names
}

// Describe is one line about an experiment.
func Describe(name string) string {
	if e := find(name); e != nil {
		return e.short
	}
	return ""
}

// Defaults are the options of an experiment where nothing else is asked for.
func Defaults(name string) (Options, error) {
	e := find(name)
	if e == nil {
		return Options{}, fmt.Errorf("experiment %q is unknown: take one of %s", name, strings.Join(Names(), ", "))
	}
	o := e.defaults
	o.Name = name
	fill(&o)
	return o, nil
}

func find(name string) *experiment {
	for i := range experiments {
		if experiments[i].name == name {
			return &experiments[i]
		}
	}
	return nil
}

const everyProtocol = "epaxos-all,basicpaxos,multipaxos,flexiblepaxos,fastpaxos"

// fill sets what experiments share.
func fill(o *Options) {
	if o.Protocols == "" {
		o.Protocols = everyProtocol
	}
	if o.Replicas == nil {
		o.Replicas = []int{3, 5}
	}
	if o.RTT == "" {
		o.RTT = "sosp13"
	}
	if o.Load == "" {
		o.Load = "open:50"
	}
	if o.Duration == 0 {
		o.Duration = 20 * time.Second
	}
	if o.Warmup == 0 {
		o.Warmup = 3 * time.Second
	}
	o.Keys, o.Writes, o.Value, o.Seed, o.Repeat = 100_000, 100, 16, 1, 1
	if o.Emulation == (Emulation{}) {
		o.Emulation = DefaultEmulation()
	}
}

// experiments in the order of the help.
var experiments = []experiment{
	{
		name: "family", short: "What each protocol of the family costs: quiet, contended, and when a replica dies",
		defaults: Options{Load: "closed:10"},
		points:   familyPoints, show: showFamily,
	},
	{
		name: "conflict-rate", short: "Latency against the share of requests that interfere, and against skew (--zipf)",
		defaults: Options{Conflicts: []float64{0, 2, 10, 25, 50, 75, 100}},
		points:   conflictPoints, show: showConflict,
	},
	{
		name: "hot-key", short: "All clients on one key: adds, which commute, and puts, gathered or one by one",
		defaults: Options{Protocols: "epaxos,multipaxos", Replicas: []int{5}, Load: "closed:20"},
		points:   hotPoints, show: showHot,
	},
	{
		name: "failover", short: "A time line around the death of a site, the leader's where there is one",
		defaults: Options{
			Protocols: "epaxos,multipaxos,flexiblepaxos,fastpaxos", Replicas: []int{5}, Conflicts: []float64{2, 50},
			Duration: 15 * time.Second, RTT: "sosp13",
		},
		points: failoverPoints, show: showFailover,
	},
	{
		name: "slow-replica", short: "One replica is slow, the leader where there is one",
		defaults: Options{
			Protocols: "epaxos,multipaxos,flexiblepaxos,fastpaxos", Replicas: []int{5}, Conflicts: []float64{2},
			SlowBy: 100 * time.Millisecond,
		},
		points: slowPoints, show: showSlow,
	},
	{
		name: "loss", short: "Packets are lost and sent again, and those behind them wait",
		defaults: Options{
			Protocols: "epaxos,multipaxos,flexiblepaxos,fastpaxos", Replicas: []int{5}, Conflicts: []float64{2},
		},
		points: lossPoints, show: showLoss,
	},
	{
		name: "skew", short: "Clients in some regions only",
		defaults: Options{
			Protocols: "epaxos,multipaxos,flexiblepaxos,fastpaxos", Replicas: []int{5}, Conflicts: []float64{2},
		},
		points: skewPoints, show: showSkew,
	},
	{
		name: "scale", short: "Cost of a command from 3 to 13 replicas, and as clients grow",
		defaults: Options{
			Protocols: "epaxos,multipaxos,flexiblepaxos,fastpaxos", Replicas: []int{3, 5, 7, 9, 11, 13},
			Conflicts: []float64{2}, RTT: "uniform:80", Load: "closed:10", Duration: 4 * time.Second, Warmup: 2 * time.Second,
			Clients: []int{1, 10, 100, 1000, 2000}, Emulation: Emulation{Jitter: 2, Sync: time.Millisecond,
				CPU: 5 * time.Microsecond},
		},
		points: scalePoints, show: showScale,
	},
	{
		name: "plan", short: "Predicted latency of each placement of replicas, the best of them checked by a run",
		defaults: Options{
			Protocols: "epaxos,multipaxos", Replicas: []int{3, 5}, Conflicts: []float64{2}, RTT: "aws7",
			Duration: 30 * time.Second,
		},
		points: planPoints, show: showPlan,
	},
}

// parametersText names what the runs of a section share.
func parametersText(o *Options, more string) string {
	e := &o.Emulation
	machine := fmt.Sprintf("sync %v, processor %v for a message", e.Sync, e.CPU)
	if o.Real != nil {
		machine = "real replicas, disks and processors"
	}
	text := fmt.Sprintf("%s; load %s in each region, %s; profile %s, jitter %g %%, loss %g %%; "+
		"%s; warm-up %v, measured %v; seed %d, %d repetition(s).",
		more, o.Load, o.mixText(), o.RTT, e.Jitter, e.Loss, machine, o.Warmup, o.Duration, o.Seed, max(o.Repeat, 1))
	if o.Tuning != (Tuning{}) {
		text += fmt.Sprintf(" EPaxos* differs from what ships: %+v.", o.Tuning)
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// mixText names the operations.
func (o *Options) mixText() string {
	text := fmt.Sprintf("%g %% puts of %d bytes", o.Writes, o.Value)
	if o.Adds > 0 {
		text += fmt.Sprintf(", %g %% adds", o.Adds)
	}
	if o.Txns > 0 {
		text += fmt.Sprintf(", %g %% transactions", o.Txns)
	}
	return text
}
