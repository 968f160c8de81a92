package experiment

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestBoth: each point is played twice, the second time without what stands for disks and processors, and the report
// has both.
func TestBoth(t *testing.T) {
	o, err := Defaults("family")
	if err != nil {
		t.Fatal(err)
	}
	o.Replicas, o.Protocols, o.Duration, o.Warmup = []int{3}, "epaxos,multipaxos", 300*time.Millisecond, 100*time.Millisecond
	o.Both, o.Repeat = true, 2
	played := 0
	o.Real = func(ctx context.Context, p Point) (Result, error) {
		played++
		if p.Emulation.Sync != 0 || p.Emulation.CPU != 0 || p.Emulation.Jitter != o.Emulation.Jitter {
			t.Errorf("played with %+v", p.Emulation)
		}
		r, err := virtual(ctx, p)
		r.Mode, r.Execution.P50 = "real", 2*r.Execution.P50
		return r, err
	}
	points, err := o.plan()
	if err != nil {
		t.Fatal(err)
	}
	report, results, err := o.play(t.Context(), points)
	if err != nil {
		t.Fatal(err)
	}
	if played != 12 || len(results) != 24 || results[0].Mode != "sim" || results[12].Mode != "real" {
		t.Fatalf("%d played, %d results", played, len(results))
	}
	table := report.Sections[0].Table
	if len(table.Rows) != 6 || table.Rows[0][0] != "epaxos, quiet" || table.Rows[5][0] != "multipaxos, death" {
		t.Fatalf("rows %q", table.Rows)
	}
	for _, row := range table.Rows {
		if len(row) != len(table.Header) || !strings.Contains(row[8], "+") || row[6] == row[7] {
			t.Errorf("row %q", row)
		}
	}
	for _, s := range report.Sections[1:] {
		if !strings.HasPrefix(s.Title, "In virtual time: ") && !strings.HasPrefix(s.Title, "On real replicas: ") {
			t.Errorf("section %q", s.Title)
		}
	}
	if page := report.HTML(); !strings.Contains(page, "On real replicas: ") {
		t.Error("the page lacks the real runs")
	}
}
