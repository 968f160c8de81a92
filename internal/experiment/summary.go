package experiment

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Summary makes the Result of a run that has ended.
func (m *Meter) Summary() Result {
	p := m.point
	r := parameters(p)
	var commits, executions []time.Duration
	for i := range m.regions {
		region := &m.regions[i]
		commits = append(commits, region.commit...)
		executions = append(executions, region.execution...)
		r.Begun += region.begun
		r.Answered += len(region.execution)
		r.Refused += region.refused
		r.Unanswered += region.lost
		if region.begun == 0 {
			continue
		}
		r.Regions = append(r.Regions, Region{
			Site: p.Profile.Sites[i], Begun: region.begun, Answered: len(region.execution), Refused: region.refused,
			Unanswered: region.lost, Commit: latency(region.commit), Execution: latency(region.execution),
			GapMS: millis(region.gap),
		})
	}
	slices.Sort(commits)
	slices.Sort(executions)
	r.Commit, r.Execution = latency(commits), latency(executions)
	for _, q := range Quantiles {
		r.CommitCDF = append(r.CommitCDF, quantile(commits, q))
		r.ExecCDF = append(r.ExecCDF, quantile(executions, q))
	}
	m.account(&r)
	if m.crashed >= 0 {
		r.Fault = fmt.Sprintf("site %s stops", p.Profile.Sites[m.crashed])
		r.CrashS = (m.crashAt - m.from).Seconds()
		r.TimeLine = m.timeLine()
	}
	return r
}

// account fills in what a command costs.
func (m *Meter) account(r *Result) {
	p := m.point
	done := float64(m.done)
	r.Throughput = ratio(done, p.Duration.Seconds())
	r.Messages, r.Bytes = ratio(float64(m.messages), done), ratio(float64(m.bytes), done)
	r.Syncs, r.SyncBytes = ratio(float64(m.syncs), done), pointer(ratio(float64(m.syncBytes), done))
	r.Busiest = ratio(float64(slices.Max(m.handled)), done)
	if p.Protocol.Family == "epaxos" || p.Protocol.Family == "fastpaxos" {
		r.FastShare = pointer(ratio(float64(m.fast), float64(m.counted)))
	}
	if p.Protocol.Family == "epaxos" {
		r.Deps = pointer(ratio(float64(m.deps), float64(m.withDeps)))
		r.DepsMax = pointer(m.depsMax)
		r.Waiting = pointer(ratio(float64(m.waiting), float64(m.withDeps)))
		r.Component = pointer(ratio(float64(m.members), float64(m.components)))
		r.Largest = pointer(m.largest)
	}
}

// parameters are the columns of a Result that a Point determines.
func parameters(p *Point) Result {
	q := p.Protocol.Quorums(p.Replicas)
	w, e := &p.Workload, &p.Emulation
	var clients []string
	for _, i := range p.Regions() {
		clients = append(clients, p.Profile.Sites[i])
	}
	r := Result{
		Experiment: p.Experiment, Mode: "sim", Reads: "command", Protocol: p.Protocol.Name,
		Family: p.Protocol.Family, Replicas: p.Replicas,
		F: p.Protocol.F, E: p.Protocol.E, Prepare: q.Prepare, Accept: q.Accept, Fast: q.Fast,
		Profile: p.Profile.Name, Sites: strings.Join(p.Profile.Sites, " "), Clients: strings.Join(clients, " "),
		Load: w.Load.String(), Conflict: w.Conflict, Zipf: w.Zipf, Writes: w.Writes, Adds: w.Adds, Txns: w.Txns,
		ValueBytes: w.Value,
		WarmupS:    p.Warmup.Seconds(), DurationS: p.Duration.Seconds(), Seed: p.Seed, Repeat: p.Repeat,
		SyncMS: pointer(millis(e.Sync)), CPUMicros: pointer(float64(e.CPU) / float64(time.Microsecond)),
		Jitter: e.Jitter, Loss: e.Loss,
		profileOf: *p,
	}
	r.Window, r.Gather = p.Tuning.Window, p.Tuning.Gather
	r.FastWaitMS, r.DisputeMS = millis(p.Tuning.FastPathWait), millis(p.Tuning.DisputedWait)
	if p.Protocol.Family != "epaxos" {
		r.F = p.Replicas - max(q.Prepare, q.Accept)
	}
	if w.Zipf > 0 {
		r.Keys = w.Keys
	}
	if p.Protocol.Leads() {
		r.Leader = p.Profile.Sites[p.Succession()[0]]
	}
	if p.Fault.Slow > 0 {
		r.Fault = fmt.Sprintf("each turn of %s takes %v longer", p.Profile.Sites[p.Fault.Slow-1], p.Fault.SlowBy)
	}
	return r
}

// Cost is what a run with real replicas took in the measured time.
type Cost struct {
	Bytes uint64        // between replicas
	Syncs uint64        // groups that were saved
	CPU   time.Duration // of this process
	Wall  time.Duration // of the whole run
}

// Real is Summary of a run with real replicas.
func (m *Meter) Real(c Cost) Result {
	r := m.Summary()
	done := float64(m.done)
	r.Mode, r.SyncMS, r.CPUMicros, r.SyncBytes = "real", nil, nil, nil
	r.Bytes, r.Syncs = ratio(float64(c.Bytes), done), ratio(float64(c.Syncs), done)
	r.CPU = pointer(ratio(float64(c.CPU)/float64(time.Microsecond), done))
	r.Wall = pointer(round(c.Wall.Seconds()))
	return r
}

func (m *Meter) timeLine() []Line {
	var lines []Line
	for i, buckets := range m.buckets {
		if m.regions[i].begun == 0 {
			continue
		}
		line := Line{Site: m.point.Profile.Sites[i]}
		for _, b := range buckets {
			slices.Sort(b.times)
			p50, most := -1.0, -1.0
			if len(b.times) > 0 {
				p50, most = quantile(b.times, 0.5), quantile(b.times, 1)
			}
			line.Counts = append(line.Counts, b.count)
			line.P50, line.Max = append(line.P50, p50), append(line.Max, most)
		}
		lines = append(lines, line)
	}
	return lines
}
