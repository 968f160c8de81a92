package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExperimentUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		why  string
	}{
		{[]string{"conflict-rate", "--protocols", "raft"}, "take one of [epaxos basicpaxos"},
		{[]string{"conflict-rate", "--protocols", "epaxos-f2e2", "--replicas", "3"}, "too small for f=2 e=2"},
		{[]string{"conflict-rate", "--replicas", "9"}, "has 5 sites, for 9 replicas"},
		{[]string{"conflict-rate", "--replicas", "some"}, "is no number"},
		{[]string{"conflict-rate", "--replicas", "3.5"}, "is not whole"},
		{[]string{"conflict-rate", "--conflicts", "none"}, "name at least one conflict rate"},
		{[]string{"family", "--mode", "warp"}, "take sim, real or both"},
		{[]string{"family", "--mode", "real", "--sync", "1ms"}, "--sync is of --mode sim"},
		{[]string{"family", "--rtt", "nowhere"}, "take one of [sosp13"},
		{[]string{"family", "--load", "much"}, "want open:RATE"},
		{[]string{"family", "--repeat", "0"}, "want 1 to 1000"},
		{[]string{"plan", "--load", "closed:3"}, "a plan needs a rate"},
		{[]string{"plan", "--protocols", "fastpaxos"}, "a plan knows"},
		{[]string{"family", "3"}, "unknown command"},
	} {
		end := invoke(t.Context(), "", nil, append([]string{"experiment"}, c.args...)...)
		if end.code != exitUsage || !strings.Contains(end.err, c.why) || end.out != "" {
			t.Errorf("%v: exit code %d, output %q, error %q; want an error about %q", c.args, end.code, end.out, end.err, c.why)
		}
	}
}

func TestExperimentRuns(t *testing.T) {
	out := filepath.Join(t.TempDir(), "results")
	end := invoke(t.Context(), "", nil, "experiment", "conflict-rate", "--replicas", "3", "--protocols", "epaxos,multipaxos",
		"--conflicts", "0,50", "--duration", "500ms", "--warmup", "200ms", "--out", out)
	if end.code != 0 || !strings.Contains(end.out, "multipaxos") || !strings.Contains(end.err, "4 of 4 runs") {
		t.Fatalf("exit code %d, output %q, error %q", end.code, end.out, end.err)
	}
	for _, name := range []string{"results.csv", "results.json", "report.html", "run.json"} {
		if content, err := os.ReadFile(filepath.Join(out, name)); err != nil || len(content) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		}
	}
}
