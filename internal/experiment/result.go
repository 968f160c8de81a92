package experiment

import (
	"math"
	"time"
)

// Result is what one run measured, with every parameter. Two runs of one Point in virtual time are equal byte for
// byte.
type Result struct {
	Experiment string   `json:"experiment"`
	Mode       string   `json:"mode"` // sim: virtual time; real: real replicas
	Protocol   string   `json:"protocol"`
	Family     string   `json:"family"`
	Replicas   int      `json:"replicas"`
	F          int      `json:"f"`
	E          int      `json:"e"`
	Prepare    int      `json:"prepare_quorum"`
	Accept     int      `json:"accept_quorum"`
	Fast       int      `json:"fast_quorum"`
	Leader     string   `json:"leader"`
	Profile    string   `json:"profile"`
	Sites      string   `json:"sites"`
	Clients    string   `json:"client_regions"`
	Load       string   `json:"load"`
	Conflict   float64  `json:"conflict_percent"`
	Zipf       float64  `json:"zipf"`
	Keys       int      `json:"zipf_keys"`
	Writes     float64  `json:"writes_percent"`
	Adds       float64  `json:"adds_percent"`
	Txns       float64  `json:"txns_percent"`
	Reads      string   `json:"reads"` // how gets are served: command, or a consistency of the client
	ValueBytes int      `json:"value_bytes"`
	WarmupS    float64  `json:"warmup_s"`
	DurationS  float64  `json:"duration_s"`
	Seed       uint64   `json:"seed"`
	Repeat     int      `json:"repeat"`
	SyncMS     *float64 `json:"sync_ms"`            // only of virtual time
	CPUMicros  *float64 `json:"cpu_per_message_us"` // likewise
	Jitter     float64  `json:"jitter_percent"`
	Loss       float64  `json:"loss_percent"`
	Window     int      `json:"epaxos_key_window"`
	Gather     int      `json:"epaxos_gather"`
	FastWaitMS float64  `json:"epaxos_fast_path_wait_ms"`
	DisputeMS  float64  `json:"epaxos_disputed_wait_ms"`
	Fault      string   `json:"fault"`

	Begun      int       `json:"begun"`
	Answered   int       `json:"answered"`
	Refused    int       `json:"refused"`
	Unanswered int       `json:"unanswered"`
	Commit     Latency   `json:"commit_ms"`
	Execution  Latency   `json:"execution_ms"`
	Throughput float64   `json:"answers_per_s"`
	FastShare  *float64  `json:"fast_path_share"` // nil where there is none
	Deps       *float64  `json:"unexecuted_dependencies_mean"`
	DepsMax    *int      `json:"unexecuted_dependencies_max"`
	Waiting    *float64  `json:"share_that_waits"`
	Component  *float64  `json:"component_mean"`
	Largest    *int      `json:"component_max"`
	Messages   float64   `json:"messages_per_command"`
	Bytes      float64   `json:"bytes_per_command"`
	Syncs      float64   `json:"syncs_per_command"`
	SyncBytes  *float64  `json:"saved_bytes_per_command"` // only of virtual time
	Busiest    float64   `json:"busiest_replica_messages_per_command"`
	Regions    []Region  `json:"regions"`
	CommitCDF  []float64 `json:"commit_cdf_ms"`    // at the Quantiles
	ExecCDF    []float64 `json:"execution_cdf_ms"` // likewise
	CrashS     float64   `json:"crash_s"`
	TimeLine   []Line    `json:"time_line,omitempty"`
	CPU        *float64  `json:"cpu_us_per_command"` // only of real replicas, with their clients and network
	Wall       *float64  `json:"wall_s"`             // likewise

	profileOf Point
}

// Latency is a distribution in milliseconds. All are zero if nothing was measured.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// Region is what the clients of one site saw.
type Region struct {
	Site       string  `json:"site"`
	Begun      int     `json:"begun"`
	Answered   int     `json:"answered"`
	Refused    int     `json:"refused"`
	Unanswered int     `json:"unanswered"`
	Commit     Latency `json:"commit_ms"`
	Execution  Latency `json:"execution_ms"`
	GapMS      float64 `json:"longest_gap_ms"` // between two answers
}

// Line is the time line of a region, in intervals of TimeLineStep.
type Line struct {
	Site   string    `json:"site"`
	Counts []int     `json:"answers"`
	P50    []float64 `json:"p50_ms"` // -1 where there was no answer
	Max    []float64 `json:"max_ms"` // likewise
}

// TimeLineStep is the interval of time lines, in seconds.
const TimeLineStep = float64(bucketWidth) / float64(time.Second)

// Quantiles are where the distributions of a Result are taken: denser towards the tail.
var Quantiles = quantiles()

func quantiles() []float64 {
	var all []float64
	for q := 0; q <= 98; q += 2 {
		all = append(all, float64(q)/100)
	}
	return append(all, 0.985, 0.99, 0.9925, 0.995, 0.9975, 0.999, 0.9995, 0.9999, 1)
}

// round keeps a number short, and equal on every machine.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

func millis(d time.Duration) float64 { return round(float64(d) / float64(time.Millisecond)) }

// quantile of sorted durations, by the nearest rank.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return millis(sorted[min(max(rank, 0), len(sorted)-1)])
}

func latency(sorted []time.Duration) Latency {
	var sum time.Duration
	for _, d := range sorted {
		sum += d
	}
	l := Latency{
		P50: quantile(sorted, 0.5), P90: quantile(sorted, 0.9), P99: quantile(sorted, 0.99),
		P999: quantile(sorted, 0.999), Max: quantile(sorted, 1),
	}
	if len(sorted) > 0 {
		l.Mean = millis(sum / time.Duration(len(sorted)))
	}
	return l
}

func pointer[T any](v T) *T { return &v }

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return round(a / b)
}
