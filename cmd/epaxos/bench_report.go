package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/internal/bench"
	"github.com/264bc8cf/epaxos/internal/experiment"
)

// describe is one line on the load.
func (b *benchmark) describe() string {
	text := fmt.Sprintf("%s in each of %s; %s; %v of warm-up, %v measured", b.spec.Load,
		numbered(len(b.regions), "region"), b.mix(), b.warmup, b.duration)
	if b.unnamed {
		text += "; writes have no names"
	}
	return text
}

func numbered(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// mix names the operations and the keys.
func (b *benchmark) mix() string {
	s := &b.spec
	var parts []string
	for _, p := range []struct {
		share float64
		name  string
	}{
		{s.Writes, fmt.Sprintf("puts of %d bytes", max(s.Value, 16))}, {s.Adds, "adds"}, {s.Txns, "transactions"},
		{100 - s.Writes - s.Adds - s.Txns, b.consistency + " gets"},
	} {
		if p.share > 0 {
			parts = append(parts, fmt.Sprintf("%g %% %s", p.share, p.name))
		}
	}
	text := strings.Join(parts, ", ")
	switch {
	case s.Zipf > 0:
		text += fmt.Sprintf("; %d shared keys, zipf %g", s.Keys, s.Zipf)
	case s.Shared:
		text += fmt.Sprintf("; %d shared keys, all alike", s.Keys)
	}
	return text + fmt.Sprintf("; %g %% on one key", s.Conflict)
}

// live is the line of a second.
func (b *benchmark) live(s bench.Second) {
	note := ""
	if s.Warmup {
		note = "  (warm-up)"
	}
	fmt.Fprintf(b.sh.err, "%7.1fs %8d/s  p50 %s  p99 %s  max %s  open %d  errors %d%s\n", s.At.Seconds(), s.Answers,
		milliseconds(s.P50), milliseconds(s.P99), milliseconds(s.Max), s.Open, s.Errors, note)
}

// report shows and writes what came out.
func (b *benchmark) report(o *bench.Outcome, resolved bench.Resolved, wall time.Duration) error {
	result := b.result(o, wall)
	if b.hdr != "" {
		if err := writeFile(b.hdr, o.Total.WriteHDR); err != nil {
			return err
		}
	}
	if b.out != "" {
		options := experiment.Options{Name: "bench", Out: b.out, Version: benchVersion()}
		if err := options.Write(b.page(o, &result), []experiment.Result{result}, wall); err != nil {
			return err
		}
	}
	var err error
	if b.output == formJSON {
		err = printJSON(b.sh.out, b.document(o, &result, resolved))
	} else {
		err = b.table(o, resolved)
	}
	switch {
	case err != nil:
		return err
	case o.Measured <= 0:
		return &failure{code: exitFailed, err: fmt.Errorf("interrupted during the warm-up: nothing was measured")}
	case o.Total.Begun > 0 && o.Total.Answered == 0:
		return &failure{code: exitUnavailable, err: fmt.Errorf("no operation was answered: see the causes above")}
	}
	return nil
}

func benchVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(info)
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name) //nolint:gosec // the caller's own choice
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	if err := write(f); err != nil {
		f.Close() //nolint:errcheck // the first error counts
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// result is the run as a record of the experiments.
func (b *benchmark) result(o *bench.Outcome, wall time.Duration) experiment.Result {
	s := &b.spec
	n := len(b.status.Members.Voters)
	var sites, at []string
	for i := range b.status.Members.Voters {
		sites = append(sites, regionOf(&b.status.Members.Voters[i]).name)
	}
	for _, r := range b.regions {
		at = append(at, r.name)
	}
	r := experiment.Result{
		Experiment: "bench", Mode: "bench", Protocol: "epaxos", Family: "epaxos", Replicas: n,
		F: b.status.Members.F, E: b.status.Members.E, Prepare: b.status.SlowQuorum, Accept: b.status.SlowQuorum,
		Fast: b.status.FastQuorum, Profile: "cluster", Sites: strings.Join(sites, " "), Clients: strings.Join(at, " "),
		Load: s.Load.String(), Conflict: s.Conflict, Zipf: s.Zipf, Writes: s.Writes, Adds: s.Adds, Txns: s.Txns,
		Reads: b.consistency, ValueBytes: max(s.Value, 16), WarmupS: b.warmup.Seconds(), Seed: b.seed,
		Wall: new(wall.Seconds()),
	}
	if s.Zipf > 0 || s.Shared {
		r.Keys = s.Keys
	}
	o.Fill(&r)
	return r
}

// table shows the outcome to people.
func (b *benchmark) table(o *bench.Outcome, resolved bench.Resolved) error {
	out := b.sh.out
	if o.Interrupted {
		fmt.Fprintf(out, "interrupted after %.1fs of the measured time\n", o.Measured.Seconds())
	}
	t := newTable(out, "", "ANSWERED", "PER SECOND", "MEAN", "P50", "P90", "P99", "P99.9", "MAX", "FAST", "GAP", "ERRORS")
	line := func(p *bench.Part, whole bool) {
		l := p.Summary()
		fast, gap, rate, errors := "-", "-", "-", "-"
		if p.Commands > 0 {
			fast = fmt.Sprintf("%.1f%%", 100*float64(p.Fast)/float64(p.Commands))
		}
		if whole {
			gap, rate, errors = milliseconds(p.Gap), fmt.Sprintf("%.1f", o.Rate(p)), strconv.Itoa(p.Errors())
		}
		ms := func(v float64) string { return fmt.Sprintf("%.1fms", v) }
		t.row(p.Name, p.Answered, rate, ms(l.Mean), ms(l.P50), ms(l.P90), ms(l.P99), ms(l.P999), ms(l.Max), fast, gap, errors)
	}
	line(&o.Total, true)
	if len(o.Regions) > 1 {
		for i := range o.Regions {
			line(&o.Regions[i], true)
		}
	}
	if len(o.Kinds) > 1 {
		for _, name := range bench.Kinds {
			if kind, there := o.Kinds[name]; there {
				line(&kind, false)
			}
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if b.spec.Load.Open() {
		fmt.Fprintf(out, "\nLatency counts from when an operation was due; it was sent %.2fms (p50) to %.2fms (p99) later.\n",
			o.Late.P50, o.Late.P99)
	}
	return b.failures(o, resolved)
}

// failures shows what became of operations without an answer.
func (b *benchmark) failures(o *bench.Outcome, resolved bench.Resolved) error {
	if len(o.Failures) == 0 {
		return nil
	}
	out := b.sh.out
	fmt.Fprintln(out)
	t := newTable(out, "WITHOUT AN ANSWER", "EFFECT", "OPERATIONS")
	for _, f := range o.FailureList() {
		t.row(f.Cause, f.Outcome, o.Failures[f])
	}
	if err := t.flush(); err != nil {
		return err
	}
	switch {
	case o.Total.Unknown == 0:
	case b.unnamed:
		fmt.Fprintln(out, "\nWhat is unknown may have taken effect, or may yet. Nobody can tell: writes had no names.")
	default:
		fmt.Fprintf(out, "\nOf the unknown the cluster said afterwards: %d applied, %d not applied; unknown for good: %d.\n",
			resolved.Applied, resolved.NotApplied, resolved.Unknown)
	}
	return nil
}

// benchFailure is one kind of failure, as JSON.
type benchFailure struct {
	Cause      string `json:"cause"`
	Outcome    string `json:"outcome"`
	Operations int    `json:"operations"`
}

// benchSecond is one second, as JSON.
type benchSecond struct {
	At      float64 `json:"at_s"` // since the begin of the measured time
	Answers int     `json:"answers"`
	Errors  int     `json:"errors"`
	Open    int     `json:"open"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Max     float64 `json:"max_ms"`
}

// benchDocument is all of it, as JSON.
type benchDocument struct {
	Version     string                        `json:"version"`
	Machine     string                        `json:"machine"`
	Processors  int                           `json:"processors"`
	Endpoints   []string                      `json:"endpoints"`
	At          string                        `json:"at"`
	Connections int                           `json:"connections"`
	Sessions    bool                          `json:"sessions"`
	TimeoutS    float64                       `json:"timeout_s"`
	Shared      bool                          `json:"shared_keys"`
	Interrupted bool                          `json:"interrupted"`
	Result      *experiment.Result            `json:"result"` // a record of the experiments
	Operations  map[string]experiment.Latency `json:"operations_ms"`
	Counts      map[string]int                `json:"operations_answered"`
	Late        experiment.Latency            `json:"sent_late_ms"`
	Failures    []benchFailure                `json:"failures"`
	Unknown     benchResolved                 `json:"unknown"`
	Seconds     []benchSecond                 `json:"seconds"`
}

// benchResolved is what became of operations with an unknown outcome.
type benchResolved struct {
	Operations int `json:"operations"`
	Applied    int `json:"applied"`
	NotApplied int `json:"not_applied"`
	Unknown    int `json:"unknown_for_good"`
}

func (b *benchmark) document(o *bench.Outcome, result *experiment.Result, resolved bench.Resolved) benchDocument {
	d := benchDocument{
		Version: benchVersion(), Machine: runtime.GOOS + "/" + runtime.GOARCH, Processors: runtime.NumCPU(),
		Endpoints: b.reached, At: b.at, Connections: b.connections, Sessions: !b.unnamed, TimeoutS: b.timeout.Seconds(),
		Shared: b.spec.Shared || b.spec.Zipf > 0, Interrupted: o.Interrupted, Result: result,
		Operations: map[string]experiment.Latency{}, Counts: map[string]int{}, Late: o.Late,
		Failures: []benchFailure{}, Seconds: []benchSecond{}, Unknown: benchResolved{
			Operations: o.Total.Unknown, Applied: resolved.Applied, NotApplied: resolved.NotApplied, Unknown: resolved.Unknown,
		},
	}
	for name, kind := range o.Kinds {
		d.Operations[name], d.Counts[name] = kind.Summary(), kind.Answered
	}
	for _, f := range o.FailureList() {
		d.Failures = append(d.Failures, benchFailure{f.Cause, f.Outcome.String(), o.Failures[f]})
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for _, s := range o.Seconds {
		d.Seconds = append(d.Seconds, benchSecond{
			At: ms(s.At) / 1000, Answers: s.Answers, Errors: s.Errors, Open: s.Open,
			P50: ms(s.P50), P99: ms(s.P99), Max: ms(s.Max),
		})
	}
	return d
}

// page is the report in a browser: the distribution, and the course of the run.
func (b *benchmark) page(o *bench.Outcome, r *experiment.Result) experiment.Report {
	note := b.describe() + "; replicas " + r.Sites + "."
	report := experiment.Report{Title: "Bench of a running cluster", Intro: []string{
		"What clients saw, on the wall clock. Latency of an open loop counts from when an operation was due.",
	}}
	regions := experiment.Section{Title: "By region", Note: "Milliseconds to the answer. " + note, Table: experiment.Table{
		Header: []string{"region", "answered", "per second", "mean", "p50", "p90", "p99", "p99.9", "max", "errors"},
	}}
	tail := &experiment.Chart{Title: "Time to the answer", X: "milliseconds", Y: "percent that take longer", LogX: true,
		LogY: true}
	for _, p := range append([]bench.Part{o.Total}, o.Regions...) {
		l := p.Summary()
		row := []string{p.Name, strconv.Itoa(p.Answered), fmt.Sprintf("%.1f", o.Rate(&p))}
		for _, v := range []float64{l.Mean, l.P50, l.P90, l.P99, l.P999, l.Max} {
			row = append(row, fmt.Sprintf("%.1f", v))
		}
		regions.Table.Rows = append(regions.Table.Rows, append(row, strconv.Itoa(p.Errors())))
		tail.Series = append(tail.Series, p.Tail())
	}
	regions.Chart = tail
	course := experiment.Section{Title: "Second by second", Note: note, Quiet: true, Table: experiment.Table{
		Header: []string{"second", "answers", "errors", "open", "p50", "p99", "max"},
	}}
	rate := &experiment.Chart{Title: "Answers a second", X: "seconds", Y: "answers a second"}
	answers := experiment.Series{Name: "answers"}
	for _, s := range o.Seconds {
		at := fmt.Sprintf("%.1f", s.At.Seconds())
		course.Table.Rows = append(course.Table.Rows, []string{at, strconv.Itoa(s.Answers), strconv.Itoa(s.Errors),
			strconv.Itoa(s.Open), milliseconds(s.P50), milliseconds(s.P99), milliseconds(s.Max)})
		answers.X, answers.Y = append(answers.X, s.At.Seconds()), append(answers.Y, float64(s.Answers))
	}
	rate.Series = []experiment.Series{answers}
	course.Chart = rate
	report.Sections = []experiment.Section{regions, course}
	return report
}
