package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/loopback"
	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

func defaults() Options {
	return Options{
		Replicas: ReplicasDefault, Duration: DurationDefault, Clients: ClientsDefault,
		Writes: WritesDefault, RTT: RTTDefault, Seed: 1, Out: io.Discard,
	}
}

// table writes a profile of n sites, all of them rtt milliseconds apart.
func table(t *testing.T, n int, rtt float64) string {
	t.Helper()
	var file struct {
		Sites []string    `json:"sites"`
		RTT   [][]float64 `json:"rtt_ms"`
	}
	for i := range n {
		file.Sites = append(file.Sites, string(rune('A'+i)))
		row := slices.Repeat([]float64{rtt}, n)
		row[i] = 0
		file.RTT = append(file.RTT, row)
	}
	body, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "table.json")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOptionsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *Options)
		why    string
	}{
		{"four replicas", func(o *Options) { o.Replicas = 4 }, "take 3, 5 or 7"},
		{"no time", func(o *Options) { o.Duration = 0 }, "duration 0s"},
		{"no clients", func(o *Options) { o.Clients = 0 }, "0 clients"},
		{"crowd", func(o *Options) { o.Clients = clientsMax + 1 }, "between 1 and 1000"},
		{"conflict", func(o *Options) { o.Conflict = 101 }, "conflict 101: need a percentage"},
		{"writes", func(o *Options) { o.Writes = -1 }, "writes -1: need a percentage"},
		{"kill of nobody", func(o *Options) { o.Kill = &Kill{Replica: 6} }, "kill 6@0s: there are replicas 1 to 5"},
		{"kill after the end", func(o *Options) { o.Kill = &Kill{1, o.Duration} }, "over after 15s"},
		{"no such table", func(o *Options) { o.RTT = "wan4" }, "wan3, wan5, wan7, none, or a file"},
		{"small table", func(o *Options) { o.RTT = table(t, 3, 1) }, "take 5 sites"},
	} {
		o := defaults()
		c.change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v, want an error about %q", c.name, err, c.why)
		}
	}
	o := defaults()
	if err := o.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestParseKill(t *testing.T) {
	kill, err := ParseKill("2@5s")
	if err != nil || kill != (Kill{Replica: 2, At: 5 * time.Second}) || kill.String() != "2@5s" {
		t.Errorf("%v, %v", kill, err)
	}
	for _, text := range []string{"", "2", "2@", "@5s", "0@5s", "x@5s", "2@5", "2@-5s", "-1@5s"} {
		if kill, err := ParseKill(text); err == nil || !strings.Contains(err.Error(), "such as 2@5s") {
			t.Errorf("%q: %v, %v", text, kill, err)
		}
	}
}

func TestProfileTakesSitesFromOneTable(t *testing.T) {
	for _, c := range []struct {
		rtt      string
		replicas int
		sites    string
	}{
		{"wan5", 3, "VA CA OR"}, {"wan5", 5, "VA CA OR JP EU"}, {"wan5", 7, "VA CA OR JP EU SP SG"},
		{"wan3", 3, "VA CA OR"}, {"wan7", 7, "VA CA OR JP EU SP SG"}, {table(t, 7, 1), 5, "A B C D E"},
	} {
		o := Options{RTT: c.rtt, Replicas: c.replicas}
		p, err := o.profile()
		if err != nil || strings.Join(p.Sites, " ") != c.sites || p.Name != c.rtt {
			t.Errorf("%s, %d replicas: %+v, %v", c.rtt, c.replicas, p, err)
		}
	}
}

func TestClientsAreBesideTheirReplica(t *testing.T) {
	p, err := wan.Named("wan3")
	if err != nil {
		t.Fatal(err)
	}
	twice := loopback.Doubled(&p)
	if err := twice.Validate(); err != nil {
		t.Fatal(err)
	}
	const client, va, ca = 3, 0, 1 // the clients of VA, its replica, another
	if twice.OneWay(client, va) != 0 || twice.OneWay(client, ca) != p.OneWay(va, ca) {
		t.Errorf("%v to their own replica, %v to that of CA", twice.OneWay(client, va), twice.OneWay(client, ca))
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, c := range []struct {
		sorted []time.Duration
		p      float64
		want   time.Duration
	}{
		{nil, 50, 0}, {hundred[:1], 50, 1}, {hundred[:1], 99, 1}, {hundred[:2], 50, 1}, {hundred[:3], 50, 2},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0, 1}, {hundred[:99], 99, 99},
	} {
		if got := percentile(c.sorted, c.p); got != c.want {
			t.Errorf("%v %% of %d: %d, want %d", c.p, len(c.sorted), got, c.want)
		}
	}
}

func TestMeter(t *testing.T) {
	type operation struct {
		call, now time.Duration
		answered  bool
	}
	for _, c := range []struct {
		name string
		told []operation
		want measures
	}{
		{"nothing", nil, measures{maxGap: 100}},
		{"before the window", []operation{{0, 5, true}, {1, 9, false}}, measures{maxGap: 100}},
		{"begun before, ended within", []operation{{0, 40, true}}, measures{maxGap: 70, maxGapAt: 30}},
		{"begun within, ended after", []operation{{20, 140, true}},
			measures{operations: 1, p50: 120, p99: 120, maxGap: 100}},
		{"begun after", []operation{{110, 120, true}, {110, 120, false}}, measures{maxGap: 100}},
		{"gap at the start", []operation{{20, 80, true}, {80, 90, true}, {90, 105, true}},
			measures{operations: 3, p50: 15, p99: 60, maxGap: 70}},
		{"gap within", []operation{{10, 20, true}, {20, 70, true}, {70, 90, true}},
			measures{operations: 3, p50: 20, p99: 50, maxGap: 50, maxGapAt: 10}},
		{"out of order", []operation{{10, 60, true}, {10, 50, true}, {60, 100, true}},
			measures{operations: 3, p50: 40, p99: 50, maxGap: 50}},
		{"an error is no completion", []operation{{10, 20, true}, {20, 60, false}, {60, 100, true}},
			measures{operations: 2, errors: 1, p50: 10, p99: 40, maxGap: 80, maxGapAt: 10}},
	} {
		m := newMeter(window{start: 10, end: 110})
		for _, o := range c.told {
			m.end(o.call, o.now, o.answered)
		}
		if got := m.close(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestMeterShowsEachLatencyOnce(t *testing.T) {
	m := newMeter(window{end: 100})
	m.end(0, 7, true)
	first := m.recent()
	m.end(7, 9, true)
	if second := m.recent(); !slices.Equal(first, []time.Duration{7}) || !slices.Equal(second, []time.Duration{2}) {
		t.Errorf("%v, %v", first, second)
	}
}

func TestWorkload(t *testing.T) {
	draw := func(conflict, writes float64) (shared, puts int, values map[string]bool) {
		l := loop{id: 3, conflict: conflict, writes: writes, rand: rand.New(rand.NewPCG(1, 3))}
		values = map[string]bool{}
		for range 1000 {
			op := l.next()
			if string(op.Key) == hotKey {
				shared++
			} else if !strings.HasPrefix(string(op.Key), "client 3 ") {
				t.Fatalf("key %q is not the client's own", op.Key)
			}
			if op.Kind == wire.OpPut {
				puts++
				values[string(op.Value)] = true
				if len(op.Value) != 64 {
					t.Fatalf("%d bytes", len(op.Value))
				}
			}
		}
		return shared, puts, values
	}
	if shared, puts, values := draw(0, 1); shared != 0 || puts != 1000 || len(values) != 1000 {
		t.Errorf("puts on own keys: %d shared, %d puts, %d values", shared, puts, len(values))
	}
	if shared, puts, _ := draw(1, 0); shared != 1000 || puts != 0 {
		t.Errorf("gets of the shared key: %d shared, %d puts", shared, puts)
	}
	if shared, puts, _ := draw(0.3, 0.5); shared < 200 || shared > 400 || puts < 400 || puts > 600 {
		t.Errorf("a mixture: %d shared, %d puts", shared, puts)
	}
}

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		err  error
		want wire.Outcome
	}{
		{nil, wire.OutcomeApplied},
		{&clients.Error{Outcome: clients.NotApplied}, wire.OutcomeNotApplied},
		{&clients.Error{Outcome: clients.Unknown}, wire.OutcomeUnknown},
		{&clients.Error{Outcome: clients.Applied}, wire.OutcomeUnknown}, // its result is lost
		{errors.New("foreign"), wire.OutcomeUnknown},
	} {
		if got := outcome(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestFastShare(t *testing.T) {
	before := server.Status{Fast: 10, Slow: 10}
	if share := fastShare(&before, &server.Status{Fast: 13, Slow: 11}); share == nil || *share != 0.75 {
		t.Errorf("three of four: %v", share)
	}
	if share := fastShare(&before, &before); share != nil {
		t.Errorf("none led: %v", *share)
	}
	if share := fastShare(&before, &server.Status{}); share != nil {
		t.Errorf("no second count: %v", *share)
	}
}

// sample is a report with a killed region and an open question.
func sample() *Report {
	r := &Report{
		Replicas: 3, Throughput: 35, CPUMicrosPerOp: 12.25, Linearizable: new(true), SuspicionMS: 1000,
		Settings: Settings{RTT: "wan3", DurationMS: 2000, Clients: 10, Writes: 50, Kill: "2@1s", Verify: true, Seed: 1},
		Version:  "v1",
	}
	r.add(Region{
		Name: "VA", Replica: 1, Ops: 50, P50MS: 60.125, P99MS: 80, FastPath: new(0.875), NearestQuorumRTTMS: new(59.9),
		MaxGapMS: 61, MaxGapAtMS: 100,
	})
	r.add(Region{Name: "CA", Replica: 2, Killed: true, Ops: 5, Errors: 4, MaxGapMS: 1500, MaxGapAtMS: 1000})
	r.add(Region{Name: "OR", Replica: 3, Ops: 15, P50MS: 21.1, FastPath: new(1.0), NearestQuorumRTTMS: new(21.1), MaxGapMS: 30})
	return r
}

func TestTotals(t *testing.T) {
	r := sample()
	if r.TotalOps != 70 || r.Errors != 0 || r.MaxGapMS != 61 {
		t.Errorf("%d operations of all regions, %d errors and %v ms of those not killed", r.TotalOps, r.Errors, r.MaxGapMS)
	}
}

func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	if err := sample().write(path); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal(body, &report); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"replicas", "regions", "total_ops", "throughput", "errors", "max_gap_ms", "cpu_us_per_op",
		"linearizable", "state_equal", "settings", "suspicion_ms", "version",
	} {
		if _, found := report[name]; !found {
			t.Errorf("no %q", name)
		}
	}
	if report["linearizable"] != true || report["state_equal"] != nil {
		t.Errorf("proved %v, open %v", report["linearizable"], report["state_equal"])
	}
	killed := report["regions"].([]any)[1].(map[string]any)
	want := map[string]any{
		"name": "CA", "replica": 2.0, "killed": true, "ops": 5.0, "p50_ms": 0.0, "p99_ms": 0.0, "fast_path": nil,
		"nearest_quorum_rtt_ms": nil, "errors": 4.0, "max_gap_ms": 1500.0, "max_gap_at_ms": 1000.0,
	}
	if !maps.Equal(killed, want) {
		t.Errorf("%v, want %v", killed, want)
	}
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	sample().print(&out)
	want := `
  region   replica  ops  p50 ms  p99 ms  fast path  nearest quorum ms  errors  longest gap ms  at s
      VA         1   50    60.1    80.0     87.5 %               59.9       0            61.0   0.1
      CA  2 killed    5     0.0     0.0          -                  -       4          1500.0   1.0
      OR         3   15    21.1     0.0    100.0 %               21.1       0            30.0   0.0

70 operations, 35 a second, 12.2 us of processor each for replicas and clients together
errors: 0; linearizable: yes; states equal: UNDECIDED
kill 2@1s: a silent replica is suspected after 1000 ms; the longest gap elsewhere was 61.0 ms
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *Report)
		why    string // empty is none
	}{
		{"all proved", func(*Report) {}, ""},
		{"errors beside the killed", func(r *Report) { r.Errors = 2 }, "2 operations had no definite result"},
		{"nothing done", func(r *Report) { r.TotalOps = 0 }, "no operation"},
		{"open", func(r *Report) { r.StateEqual = nil }, "equality of the states is undecided"},
		{"refuted", func(r *Report) { r.Linearizable = new(false); r.problem("because") }, "linearizability is violated\nbecause"},
		{"not asked for", func(r *Report) { r.Settings.Verify, r.StateEqual, r.Linearizable = false, nil, nil }, ""},
	} {
		r := sample()
		r.StateEqual = new(true)
		c.change(r)
		err := r.verdict()
		if c.why == "" && err != nil || c.why != "" && (!errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// start runs the options with their directory below one of the test, and returns the report.
func start(t *testing.T, o Options) *Report {
	t.Helper()
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	o.Out = &out
	o.JSON = filepath.Join(t.TempDir(), "report.json")
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := os.Stat(o.JSON); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "region") {
		t.Errorf("no table in\n%s", &out)
	}
	return report
}

func TestRunOnBareSockets(t *testing.T) {
	o := defaults()
	o.Replicas, o.Duration, o.Clients, o.RTT, o.Verify, o.Conflict = 3, 500*time.Millisecond, 4, RTTNone, true, 20
	report := start(t, o)
	if *report.Linearizable != true || *report.StateEqual != true || report.HistoryOps < report.TotalOps {
		t.Errorf("%+v", report)
	}
	for _, row := range report.Regions {
		if row.Ops == 0 || row.Errors > 0 || row.Killed || row.NearestQuorumRTTMS != nil {
			t.Errorf("%+v", row)
		}
	}
}

// TestRunWithKill kills a replica whose clients have to live on at another.
func TestRunWithKill(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a suspicion")
	}
	o := defaults()
	o.Replicas, o.Duration, o.Clients, o.RTT, o.Verify, o.Conflict = 3, 3*time.Second, 4, table(t, 3, 20), true, 30
	o.Kill = &Kill{Replica: 2, At: 200 * time.Millisecond}
	report := start(t, o)
	for i, row := range report.Regions {
		if row.Ops == 0 || row.Killed != (i == 1) || row.NearestQuorumRTTMS == nil || *row.NearestQuorumRTTMS != 20 {
			t.Errorf("%+v", row)
		}
	}
}

// TestRunFails reports what came before the failure.
func TestRunFails(t *testing.T) {
	o := defaults()
	o.JSON = filepath.Join(t.TempDir(), "report.json")
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	report, err := Run(t.Context(), o)
	if err == nil || report == nil || report.Error == "" {
		t.Fatalf("%+v, %v", report, err)
	}
	if _, err := os.Stat(o.JSON); err != nil {
		t.Error(err)
	}
}

// TestRunByCommands: as many as were asked for, with ten lines on what that takes.
func TestRunByCommands(t *testing.T) {
	var out bytes.Buffer
	o := Options{
		Replicas: 3, Duration: DurationDefault, Commands: 2000, Clients: 20, Writes: 100, RTT: RTTNone, Seed: 1,
		ProgressJSON: true, Out: &out,
	}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err, out.String())
	}
	if report.TotalOps > o.Commands || report.Settings.DurationMS == millis(DurationDefault) {
		t.Errorf("%d operations in the window of %v ms", report.TotalOps, report.Settings.DurationMS)
	}
	var last footprint
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "{") {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Error(err)
			}
		}
	}
	if last.Commands != int64(o.Commands) || last.HeapBytes == 0 || last.DiskBytes == 0 {
		t.Errorf("the last line: %+v in\n%s", last, out.String())
	}
}

// TestMeterForgets: a long run keeps a share of the latencies, and counts all.
func TestMeterForgets(t *testing.T) {
	m := newMeter(window{end: 1 << 40})
	const n = 3 * latenciesMax
	for i := range n {
		m.end(0, time.Duration(i%1000), true)
	}
	if got := m.close(); got.operations != n || got.p50 < 480 || got.p50 > 520 || len(m.latencies) >= latenciesMax {
		t.Errorf("%+v of %d latencies", got, len(m.latencies))
	}
}
