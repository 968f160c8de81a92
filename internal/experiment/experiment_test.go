package experiment

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// brief makes an experiment as short as it can be.
func brief(t *testing.T, name string) Options {
	t.Helper()
	o, err := Defaults(name)
	if err != nil {
		t.Fatal(err)
	}
	o.Warmup, o.Duration, o.Load = 500*time.Millisecond, time.Second, "open:10"
	o.Protocols = "epaxos,multipaxos,fastpaxos"
	switch name {
	case "family":
		o.Protocols = everyProtocol
	case "conflict-rate":
		o.Protocols, o.Conflicts, o.Zipf, o.Keys = everyProtocol, []float64{0, 100}, []float64{0.99}, 100
	case "plan":
		o.Protocols = "epaxos,multipaxos"
	case "scale":
		o.Replicas, o.Clients, o.Load = []int{3, 5}, []int{1, 3}, "closed:1"
	}
	return o
}

// outputs runs an experiment and returns what it wrote, run.json apart.
func outputs(t *testing.T, o Options) map[string]string {
	t.Helper()
	o.Out = t.TempDir()
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range []string{"results.csv", "results.json", "report.html"} {
		content, err := os.ReadFile(filepath.Join(o.Out, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(content)
	}
	return files
}

// TestSameSeedSameBytes: what an experiment writes depends on its options alone, not on how many
// runs happen at a time.
func TestSameSeedSameBytes(t *testing.T) {
	names := Names()
	if raceDetector {
		names = []string{"failover", "plan"}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := brief(t, name)
			o.Workers = 1
			first := outputs(t, o)
			o.Workers = 4
			second := outputs(t, o)
			for file, content := range first {
				if content != second[file] {
					t.Errorf("%s differs between two runs", file)
				}
			}
			o.Seed++
			if outputs(t, o)["results.json"] == first["results.json"] {
				t.Error("another seed gives the same results")
			}
			checkCSV(t, first["results.csv"])
			checkJSON(t, first["results.json"])
			checkPage(t, first["report.html"])
		})
	}
}

func checkCSV(t *testing.T, text string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll() // every row as long as the first
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		if _, twice := column[name]; twice {
			t.Errorf("two columns %q", name)
		}
		column[name] = i
	}
	for _, name := range []string{"region", "protocol", "execution_p99.9_ms", "fast_path_share", "seed", "cpu_us_per_command"} {
		if _, there := column[name]; !there {
			t.Errorf("no column %q in %v", name, rows[0])
		}
	}
	for _, row := range rows[1:] {
		if row[column["cpu_us_per_command"]]+row[column["wall_s"]] != "" {
			t.Error("virtual time has measured a processor")
		}
	}
}

func checkJSON(t *testing.T, text string) {
	t.Helper()
	var results []Result
	if err := json.Unmarshal([]byte(text), &results); err != nil {
		t.Fatal(err)
	}
	for i := range results {
		r := &results[i]
		if r.Answered == 0 {
			t.Errorf("%s with %d replicas: nothing was answered", r.Protocol, r.Replicas)
		}
		if r.Commit.P50 > r.Execution.P50+1e-9 || r.Execution.P50 > r.Execution.P99 || r.Execution.P99 > r.Execution.Max {
			t.Errorf("%s: distributions out of order: %+v, %+v", r.Protocol, r.Commit, r.Execution)
		}
	}
}

// checkPage: it is well formed and refers to nothing outside.
func checkPage(t *testing.T, page string) {
	t.Helper()
	for _, outside := range []string{"http:", "https:", "src=", "@import", "url(", "<script"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page contains %q", outside)
		}
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("the page shows what is no number")
	}
	_, body, _ := strings.Cut(page, "<body>")
	decoder := xml.NewDecoder(strings.NewReader("<body>" + strings.TrimSuffix(strings.TrimSpace(body), "</html>")))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("the page is not well formed: %v", err)
		}
	}
}

// TestLatencyMeetsTheLimit: with no conflicts EPaxos commits in the round trip to the nearest fast quorum and
// its three syncs, Multi-Paxos in the way to the leader and its quorum and two. Neither is ever below.
func TestLatencyMeetsTheLimit(t *testing.T) {
	o, err := Defaults("family")
	if err != nil {
		t.Fatal(err)
	}
	o.Duration, o.Load, o.Emulation.Jitter = 40*time.Second, "open:0.5", 0
	for _, name := range []string{"epaxos", "multipaxos@VA", "basicpaxos", "fastpaxos"} {
		base, err := o.base(5)
		if err != nil {
			t.Fatal(err)
		}
		protocols, err := ParseProtocols(name, 5)
		if err != nil {
			t.Fatal(err)
		}
		base.Protocol, base.Active = protocols[0], []int{2} // EU alone: nobody to duel or collide with
		m, err := run(context.Background(), base)
		if err != nil {
			t.Fatal(err)
		}
		q := protocols[0].Quorums(5)
		toVA := base.Profile.RTT[2][1]
		want := map[string]float64{
			"epaxos":        base.Profile.NearestQuorumRTT(2, q.Fast) + 3,
			"multipaxos@VA": toVA + base.Profile.NearestQuorumRTT(1, q.Accept) + 2,
			"basicpaxos":    2*base.Profile.NearestQuorumRTT(2, q.Accept) + 4,
			"fastpaxos":     base.Profile.NearestQuorumRTT(2, q.Fast) + 2,
		}[name]
		// Of a leader's two syncs only the slower counts: its own vote and those of the others go side by side.
		got := m.Summary().Execution.P50
		if got < want-2.01 || got > want+2.01 {
			t.Errorf("%s: median %.1f ms, want about %.1f", name, got, want)
		}
	}
}

// TestProcessorsCost: a cost for each message shows in latency, and a leader handles more messages than any replica
// of a protocol without one, as long as few requests come in one turn.
func TestProcessorsCost(t *testing.T) {
	o, err := Defaults("scale")
	if err != nil {
		t.Fatal(err)
	}
	o.Load, o.Emulation.CPU, o.Emulation.Sync, o.RTT = "closed:3", 200*time.Microsecond, 0, "uniform:40"
	o.Duration, o.Warmup = 2*time.Second, 1500*time.Millisecond
	rate := map[string]float64{}
	for _, name := range []string{"epaxos", "multipaxos"} {
		p, err := o.base(5)
		if err != nil {
			t.Fatal(err)
		}
		protocols, err := ParseProtocols(name, 5)
		if err != nil {
			t.Fatal(err)
		}
		p.Protocol = protocols[0]
		m, err := run(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		free := p
		free.Emulation.CPU = 0
		unbound, err := run(context.Background(), free)
		if err != nil {
			t.Fatal(err)
		}
		r, f := m.Summary(), unbound.Summary()
		if r.Execution.P50 <= f.Execution.P50 {
			t.Errorf("%s: a cost of messages changes nothing: %.2f and %.2f ms", name, r.Execution.P50, f.Execution.P50)
		}
		rate[name] = r.Busiest
	}
	if rate["multipaxos"] <= rate["epaxos"] {
		t.Errorf("messages at the busiest replica: leader %.2f, without leader %.2f", rate["multipaxos"], rate["epaxos"])
	}
}

func TestParseProtocols(t *testing.T) {
	all, err := ParseProtocols("epaxos-all,flexiblepaxos-q2,multipaxos@EU", 5)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	if got, want := strings.Join(names, " "), "epaxos-f1e1 epaxos-f2e1 epaxos-f2e2 flexiblepaxos-q2 multipaxos@EU"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, wrong := range []string{"", "raft", "epaxos-f2e2x", "epaxos-f3e1", "basicpaxos@EU", "multipaxos-q2", "multipaxos-all"} {
		if _, err := ParseProtocols(wrong, 5); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

func TestRefusals(t *testing.T) {
	cases := map[string]func(*Options){
		"profile":     func(o *Options) { o.RTT = "nowhere" },
		"too few":     func(o *Options) { o.Replicas = []int{9} },
		"load":        func(o *Options) { o.Load = "open:-1" },
		"leader":      func(o *Options) { o.Protocols = "multipaxos@XX" },
		"conflicts":   func(o *Options) { o.Conflicts = []float64{101} },
		"replicas":    func(o *Options) { o.Replicas = []int{2}; o.RTT = "uniform:10" },
		"uniform":     func(o *Options) { o.RTT = "uniform:fast" },
		"loss":        func(o *Options) { o.Emulation.Loss = 99 },
		"no duration": func(o *Options) { o.Duration = -1 },
	}
	for name, spoil := range cases {
		o := brief(t, "conflict-rate")
		spoil(&o)
		if _, err := Run(context.Background(), o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, brief(t, "family")); err == nil {
		t.Error("a cancelled experiment ends without an error")
	}
}

func TestTerminal(t *testing.T) {
	o := brief(t, "conflict-rate")
	o.Repeat, o.Protocols, o.Replicas, o.Conflicts, o.Zipf = 3, "epaxos", []int{3}, []float64{50}, []float64{0.99}
	var out, bar bytes.Buffer
	o.Terminal, o.Progress = &out, &bar
	if _, err := Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "±") || !strings.Contains(out.String(), "zipf exponent") {
		t.Errorf("no confidence interval, or no exponent:\n%s", out.String())
	}
	if !strings.Contains(bar.String(), "6 of 6 runs") {
		t.Errorf("progress ends with %q", bar.String())
	}
}
