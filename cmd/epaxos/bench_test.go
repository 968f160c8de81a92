package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBenchUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		why  string
	}{
		{[]string{"--load", "much"}, "want open:RATE"},
		{[]string{"--writes", "90", "--adds", "20"}, "together at most 100"},
		{[]string{"--uniform", "--keys", "0"}, "0 shared keys"},
		{[]string{"--consistency", "some"}, "need linearizable, session or stale"},
		{[]string{"--connections", "0"}, "need 1 to"},
		{[]string{"--duration", "0s"}, "the duration positive"},
		{nil, "no profile"},
	} {
		end := invoke(t.Context(), "", nil, append([]string{"bench"}, c.args...)...)
		if end.code != exitUsage || !strings.Contains(end.err, c.why) || end.out != "" {
			t.Errorf("%v: exit code %d, output %q, error %q; want an error about %q", c.args, end.code, end.out, end.err, c.why)
		}
	}
}

// TestBench: each form of output tells of the same operations, and the files are those of the experiments.
func TestBench(t *testing.T) {
	env := map[string]string{profileEnv: startReplicas(t, 3)}
	dir := t.TempDir()
	hdr, out := filepath.Join(dir, "latency.hgrm"), filepath.Join(dir, "results")
	short := []string{"bench", "--warmup", "100ms", "--duration", "500ms"}

	end := invoke(t.Context(), "", env, append(short, "--at", "each", "--load", "open:100", "--writes", "40", "--adds", "20",
		"--txns", "10", "--conflict", "30", "--hdr", hdr, "--out", out, "-o", "json")...)
	if end.code != exitOK {
		t.Fatalf("exit code %d: %s", end.code, end.err)
	}
	var document benchDocument
	if err := json.Unmarshal([]byte(end.out), &document); err != nil {
		t.Fatalf("%v: %s", err, end.out)
	}
	r := document.Result
	answered := 0
	for _, kind := range []string{"get", "put", "add", "txn"} {
		if document.Counts[kind] == 0 {
			t.Errorf("no answer to any %s: %+v", kind, document.Counts)
		}
		answered += document.Counts[kind]
	}
	if r.Answered != answered || r.Begun != answered || len(r.Regions) != 3 || r.Replicas != 3 || r.Fast != 2 {
		t.Errorf("%d of %d answered, by operation %d; %+v", r.Answered, r.Begun, answered, r)
	}
	for _, name := range []string{hdr, filepath.Join(out, "results.csv"), filepath.Join(out, "results.json"),
		filepath.Join(out, "report.html"), filepath.Join(out, "run.json")} {
		if content, err := os.ReadFile(name); err != nil || len(content) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(content), err)
		}
	}

	end = invoke(t.Context(), "", env, append(short, "--load", "closed:4", "--at", "2", "--no-session", "--consistency", "stale",
		"--writes", "50", "--zipf", "0.9", "--keys", "100")...)
	if end.code != exitOK || !strings.Contains(end.out, "PER SECOND") || !strings.Contains(end.err, "writes have no names") {
		t.Errorf("exit code %d, output %q, error %q", end.code, end.out, end.err)
	}
	end = invoke(t.Context(), "", env, append(short, "--at", "1,nowhere")...)
	if end.code != exitUsage || !strings.Contains(end.err, `no voter has the number or name "nowhere"`) {
		t.Errorf("exit code %d, error %q", end.code, end.err)
	}
}
