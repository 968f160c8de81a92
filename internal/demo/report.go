package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/264bc8cf/epaxos/server"
)

// Report is what a run has found. Its JSON form is that of Options.JSON.
type Report struct {
	Replicas int      `json:"replicas"`
	Regions  []Region `json:"regions"` // in the order of the profile

	TotalOps   int     `json:"total_ops"`
	Throughput float64 `json:"throughput"` // operations begun in the window, per second of it
	Errors     int     `json:"errors"`     // in regions whose replica was not killed
	MaxGapMS   float64 `json:"max_gap_ms"` // likewise
	// CPUMicrosPerOp is the time on processors of the whole process, replicas and clients, from the
	// start of the window to the last answer.
	CPUMicrosPerOp float64 `json:"cpu_us_per_op"`

	// True only if proved, false if refuted, null if not asked for or undecided.
	Linearizable *bool `json:"linearizable"`
	StateEqual   *bool `json:"state_equal"`

	Settings    Settings `json:"settings"`
	SuspicionMS float64  `json:"suspicion_ms"` // silence after which a replica counts as dead
	HistoryOps  int      `json:"history_ops"`  // operations that were checked, and keys
	HistoryKeys int      `json:"history_keys"`
	Version     string   `json:"version"`
	Problems    []string `json:"problems,omitempty"` // in sentences
	Error       string   `json:"error,omitempty"`    // why the run failed
}

// Region is what the clients of one region saw, and what their replica led. Operations that began
// in the window count.
type Region struct {
	Name    string  `json:"name"`
	Replica int     `json:"replica"`
	Killed  bool    `json:"killed"`
	Ops     int     `json:"ops"` // answered
	P50MS   float64 `json:"p50_ms"`
	P99MS   float64 `json:"p99_ms"`
	// FastPath is the share of the instances led there in the window that committed on the fast
	// path; null if there were none.
	FastPath           *float64 `json:"fast_path"`
	NearestQuorumRTTMS *float64 `json:"nearest_quorum_rtt_ms"` // null without a profile
	Errors             int      `json:"errors"`                // operations without a definite result
	MaxGapMS           float64  `json:"max_gap_ms"`            // longest time in the window without a completion
	MaxGapAtMS         float64  `json:"max_gap_at_ms"`         // when that began, from the start of the window
}

// Settings are the options that the run had.
type Settings struct {
	RTT        string  `json:"rtt"`
	DurationMS float64 `json:"duration_ms"`
	Clients    int     `json:"clients"` // per region
	Conflict   float64 `json:"conflict"`
	Writes     float64 `json:"writes"`
	Kill       string  `json:"kill,omitempty"`
	Verify     bool    `json:"verify"`
	Seed       uint64  `json:"seed"`
}

// report gathers what the run has come to so far.
func (r *run) report() *Report {
	o := &r.options
	report := &Report{
		Replicas: o.Replicas, Version: o.Version, Regions: []Region{},
		Settings: Settings{
			RTT: o.RTT, DurationMS: millis(o.Duration), Clients: o.Clients,
			Conflict: o.Conflict, Writes: o.Writes, Verify: o.Verify, Seed: o.Seed,
		},
	}
	if o.Kill != nil {
		report.Settings.Kill = o.Kill.String()
	}
	if r.cluster == nil {
		return report
	}
	report.SuspicionMS = millis(r.cluster.Suspect)
	for i := range o.Replicas {
		report.add(r.region(i))
	}
	report.Throughput = float64(report.TotalOps) / o.Duration.Seconds()
	if report.TotalOps > 0 {
		report.CPUMicrosPerOp = float64(r.cpu) / float64(time.Microsecond) / float64(report.TotalOps)
	}
	return report
}

// region is one row. Without a meter or counters, because the run did not come so far, they are zero.
func (r *run) region(i int) Region {
	kill := r.options.Kill
	row := Region{
		Name: r.cluster.Region(i), Replica: i + 1, Killed: kill != nil && int(kill.Replica) == i+1,
	}
	if i < len(r.meters) {
		m := r.meters[i].close()
		row.Ops, row.Errors = m.operations, m.errors
		row.P50MS, row.P99MS = millis(m.p50), millis(m.p99)
		row.MaxGapMS, row.MaxGapAtMS = millis(m.maxGap), millis(m.maxGapAt)
	}
	if i < len(r.after) {
		row.FastPath = fastShare(&r.before[i], &r.after[i])
		if r.cluster.Profile != nil {
			if rtt := r.cluster.Profile.NearestQuorumRTT(i, r.before[i].FastQuorum); !math.IsNaN(rtt) {
				row.NearestQuorumRTTMS = &rtt
			}
		}
	}
	return row
}

// fastShare is the share of the fast path between two statuses of a replica; nil if it led nothing.
func fastShare(before, after *server.Status) *float64 {
	fast, slow := after.Fast-before.Fast, after.Slow-before.Slow
	if after.Fast < before.Fast || after.Slow < before.Slow || fast+slow == 0 {
		return nil
	}
	return new(float64(fast) / float64(fast+slow))
}

// add counts a row into the totals.
func (r *Report) add(row Region) {
	r.Regions = append(r.Regions, row)
	r.TotalOps += row.Ops
	if !row.Killed {
		r.Errors += row.Errors
		r.MaxGapMS = max(r.MaxGapMS, row.MaxGapMS)
	}
}

func (r *Report) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// verdict is why the run failed, or nil.
func (r *Report) verdict() error {
	var reasons []error
	if r.TotalOps == 0 {
		reasons = append(reasons, errors.New("no operation was answered"))
	}
	if r.Errors > 0 {
		reasons = append(reasons,
			fmt.Errorf("%d operations had no definite result within %v", r.Errors, operationTimeout))
	}
	if r.Settings.Verify {
		reasons = append(reasons,
			unproved("linearizability", r.Linearizable), unproved("equality of the states", r.StateEqual))
	}
	if err := errors.Join(reasons...); err != nil {
		for _, problem := range r.Problems {
			err = errors.Join(err, errors.New(problem))
		}
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil
}

func unproved(what string, answer *bool) error {
	switch {
	case answer == nil:
		return fmt.Errorf("%s is undecided", what)
	case !*answer:
		return fmt.Errorf("%s is violated", what)
	default:
		return nil
	}
}

func (r *Report) write(path string) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(body, '\n'), 0o644); err != nil { //nolint:gosec // for everybody to read
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// millis is a duration in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }

func yesNo(answer *bool, asked bool) string {
	switch {
	case !asked:
		return "not checked"
	case answer == nil:
		return "UNDECIDED"
	case *answer:
		return "yes"
	default:
		return "NO"
	}
}
