package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/process/failure"
	"github.com/264bc8cf/epaxos/internal/process/report"
	"github.com/264bc8cf/epaxos/internal/process/traffic"
	"github.com/264bc8cf/epaxos/internal/process/validate"
	"github.com/264bc8cf/epaxos/internal/wan"
)

// Behind -args: go test has flags of its own.
var (
	scenarioFlag   = flag.String("scenario", "", "run the scenario of this name, or those whose name contains this")
	robustnessFlag = flag.Bool("robustness", false, "run the whole table")
	seedFlag       = flag.Uint64("seed", 1, "of the random choices of every scenario")
	reportFlag     = flag.String("report", os.TempDir(), "where reports of failed scenarios are kept")
)

// scenario is one line of the table.
type scenario struct {
	replicas int
	failure  failure.Failure
	traffic  traffic.Profile
	wan      string   // a named profile of the network, instead of one that the failure needs
	settings settings // of the replicas; defaults if empty
	short    bool     // part of every `go test`
}

// settings are flags of serve, and what they make of a replica.
type settings struct {
	name  string
	flags []string
}

var (
	// A nervous replica suspects whoever is silent for a moment, on a busy machine that is somebody all
	// the time, and recovers what others are about to finish.
	nervous = settings{"nervous", []string{
		"--timing-heartbeat=50ms", "--timing-suspect=150ms", "--timing-resend=100ms", "--timing-recover-stagger=50ms",
	}}
	// A narrow one has room for little at a time, so requests wait, are gathered, and are refused.
	narrow = settings{"narrow", []string{
		"--limits-in-flight=3", "--limits-in-flight-per-key=1", "--limits-queue=4", "--limits-peer-queue-bytes=1MiB",
	}}
	// With e=0 the fast path needs everybody, and recovery uses the simpler rules.
	unanimous = settings{"e=0", []string{"--e=0"}}
)

func (s scenario) name() string {
	name := fmt.Sprintf("n=%d/%s/%s", s.replicas, s.failure.Name, s.traffic.Name)
	for _, variant := range []string{s.wan, s.settings.name} {
		if variant != "" {
			name += "/" + variant
		}
	}
	return name
}

// table is the short scenarios, then each failure on three and on five replicas, then variations: other
// loads, other settings, real distances.
func table() []scenario {
	short := []scenario{
		{replicas: 3, failure: failure.Named("kill-all"), traffic: traffic.Mixed},
		{replicas: 3, failure: failure.Named("rolling-restart"), traffic: traffic.Cold},
		{replicas: 3, failure: failure.Named("isolate-one"), traffic: traffic.Hot},
		{replicas: 3, failure: failure.Named("old-copy"), traffic: traffic.Mixed},
		{replicas: 3, failure: failure.Named("disk-full"), traffic: traffic.Mixed},
		{replicas: 5, failure: failure.Named("kill-minority"), traffic: traffic.Mixed},
	}
	for i := range short {
		short[i].short = true
	}
	all := short
	add := func(s scenario) {
		if !slices.ContainsFunc(all, func(have scenario) bool { return have.name() == s.name() }) {
			all = append(all, s)
		}
	}
	for _, f := range failure.All() {
		add(scenario{replicas: 3, failure: f, traffic: traffic.Mixed})
		add(scenario{replicas: 5, failure: f, traffic: traffic.Hot})
	}
	for _, p := range []traffic.Profile{traffic.Cold, traffic.Large} {
		for _, name := range []string{"kill-minority", "kill-all", "chaos", "disk-full"} {
			add(scenario{replicas: 3, failure: failure.Named(name), traffic: p})
		}
	}
	for _, name := range []string{"kill-while-starting", "stutter", "flapping", "chaos"} {
		add(scenario{replicas: 3, failure: failure.Named(name), traffic: traffic.Hot, settings: nervous})
		add(scenario{replicas: 5, failure: failure.Named(name), traffic: traffic.Mixed, settings: nervous})
	}
	for _, name := range []string{"kill-minority", "pause-minority", "chaos"} {
		add(scenario{replicas: 3, failure: failure.Named(name), traffic: traffic.Mixed, settings: narrow})
		add(scenario{replicas: 5, failure: failure.Named(name), traffic: traffic.Mixed, settings: unanimous})
	}
	add(scenario{replicas: 3, failure: failure.Named("long-absence"), traffic: traffic.Large})
	// Over real distances a command takes long enough for anything to happen in its middle.
	add(scenario{replicas: 3, failure: failure.Named("kill-minority"), traffic: traffic.Mixed, wan: "wan3"})
	add(scenario{replicas: 5, failure: failure.Named("kill-minority"), traffic: traffic.Mixed, wan: "wan5"})
	add(scenario{replicas: 5, failure: failure.Chaos, traffic: traffic.Mixed, wan: "wan5"})
	return all
}

func TestScenarios(t *testing.T) {
	chosen := chosen(table())
	if len(chosen) == 0 {
		t.Fatalf("no scenario has %q in its name", *scenarioFlag)
	}
	for _, s := range chosen {
		t.Run(s.name(), func(t *testing.T) { s.run(t) })
	}
}

// chosen is what the flags ask for. A whole name is that of one scenario, even if it begins others.
func chosen(all []scenario) []scenario {
	keep := func(wanted func(s scenario) bool) []scenario {
		return slices.DeleteFunc(slices.Clone(all), func(s scenario) bool { return !wanted(s) })
	}
	switch {
	case *scenarioFlag != "":
		if one := keep(func(s scenario) bool { return s.name() == *scenarioFlag }); len(one) > 0 {
			return one
		}
		return keep(func(s scenario) bool { return strings.Contains(s.name(), *scenarioFlag) })
	case *robustnessFlag:
		return all
	case testing.Short(): // one, for the race detector
		return keep(func(s scenario) bool { return s.short })[:1]
	default:
		return keep(func(s scenario) bool { return s.short })
	}
}

// run is one scenario. Whatever goes wrong in it is written down before anything is cleaned up.
func (s scenario) run(t *testing.T) {
	dir, err := os.MkdirTemp(*reportFlag, "epaxos-robustness-*")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := &running{scenario: s, dir: dir, faults: failure.Faults{}}
	err = r.all(ctx)
	t.Log(r.summary())
	if skipped := errors.Is(err, cluster.ErrCannotMount); skipped || err == nil {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		if skipped {
			t.Skip("SKIPPED, NOT PASSED: ", err)
		}
		return
	}
	again := fmt.Sprintf("go test -count=1 -v -run TestScenarios ./internal/process -args -scenario=%s -seed=%d",
		s.name(), *seedFlag)
	t.Errorf("%v\nreport: %s\nagain: %s", err, dir, again)
	written := report.Report{
		Dir: dir, Command: again, Summary: r.summary(), Problem: err, History: r.history, Verdict: r.verdict,
	}
	if err := written.Write(); err != nil {
		t.Error(err)
	}
}

// TestTheJudgeNotices runs scenarios that must fail, each for its reason.
func TestTheJudgeNotices(t *testing.T) {
	for _, c := range []struct {
		failure failure.Failure
		says    string
	}{
		{failure.Rollback, "violation of linearizability: "},
		{failure.Murder, "violation of progress: "},
	} {
		t.Run(c.failure.Name, func(t *testing.T) {
			t.Parallel()
			s := scenario{replicas: 3, failure: c.failure, traffic: traffic.Mixed}
			r := &running{scenario: s, dir: t.TempDir(), faults: failure.Faults{}}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := r.all(ctx)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %q", err, c.says)
			}
			written := report.Report{Dir: r.dir, Problem: err, History: r.history, Verdict: r.verdict}
			if err := written.Write(); err != nil {
				t.Error(err)
			}
			for _, name := range []string{"README.txt", "history.jsonl", "replica-1.log", "cluster/n1/config.yaml"} {
				if info, err := os.Stat(filepath.Join(r.dir, name)); err != nil || info.Size() == 0 {
					t.Errorf("the report lacks %s: %v", name, err)
				}
			}
		})
	}
}

// running is a scenario under way.
type running struct {
	scenario
	dir     string
	cluster *cluster.Cluster
	load    *traffic.Load
	faults  failure.Faults
	before  int // operations answered before the failure, and
	during  int
	history []history.Operation
	verdict history.Report
	state   cluster.State
	status  []cluster.ReplicaStatus
}

// all makes the cluster, hurts it and judges it.
func (r *running) all(ctx context.Context) (err error) {
	if r.cluster, err = cluster.New(ctx, r.options()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.cluster.SaveDisks())
		}
		err = errors.Join(err, r.cluster.Close())
	}()
	if err := r.cluster.Start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // the death of a replica ends whatever is waited for
		select {
		case death := <-r.cluster.Deaths():
			cancel(death)
		case <-ctx.Done():
		}
	}()
	if r.load, err = traffic.Start(ctx, r.cluster, r.traffic, r.seed()); err != nil {
		return err
	}
	err = errors.Join(r.hurt(ctx), r.load.Stop())
	if err == nil {
		err = r.judge(ctx)
	}
	r.history = r.load.Operations()
	err = errors.Join(err, r.load.Close(), validate.Logs(r.cluster))
	// Even if something else went wrong: what the clients saw must be explicable.
	report, illegal := validate.History(r.history)
	r.verdict = report
	return errors.Join(err, illegal)
}

// Bounds on the work of a load without a failure, each far below what the slowest machine does
// in the time that anybody waits. They are what makes an idle cluster fail.
const (
	operationsBefore = 100
	operationsAfter  = 100
)

// hurt injects the failure between two spells of undisturbed work.
func (r *running) hurt(ctx context.Context) error {
	env := &failure.Env{
		Cluster: r.cluster, Load: r.load, Random: rand.New(rand.NewPCG(r.seed(), 0)), Faults: r.faults,
	}
	if err := errors.Join(r.load.Await(ctx, operationsBefore), env.AllServe(ctx)); err != nil {
		return fmt.Errorf("before the failure: %w", err)
	}
	r.before = r.load.Completed()
	if err := r.failure.Inject(ctx, env); err != nil {
		return fmt.Errorf("%s: %w", r.failure.Name, err)
	}
	r.during = r.load.Completed() - r.before
	if err := r.faults.Check(); err != nil {
		return err
	}
	if err := errors.Join(r.load.Await(ctx, operationsAfter), env.AllServe(ctx)); err != nil {
		return fmt.Errorf("after the failure: %w", err)
	}
	return nil
}

// judge looks at the cluster when all is quiet.
func (r *running) judge(ctx context.Context) error {
	if err := r.load.ReadAll(ctx); err != nil {
		return err
	}
	var err error
	if r.status, err = r.cluster.AwaitEqual(ctx); err != nil {
		return err
	}
	if err := errors.Join(validate.Statuses(r.status), r.load.CheckCoverage()); err != nil {
		return err
	}
	r.state, err = validate.States(ctx, r.cluster)
	return err
}

func (r *running) options() cluster.Options {
	o := cluster.Options{
		Binary: binary, Dir: r.dir, Replicas: r.replicas, Flags: r.settings.flags,
		OwnDisks: r.failure.OwnDisks, Seed: r.seed(),
	}
	if r.wan != "" {
		profile, err := wan.Named(r.wan)
		if err != nil {
			panic(err)
		}
		o.Profile = &profile
	} else if r.failure.Network {
		o.Profile = cluster.Sites(r.replicas, siteDistance)
	}
	return o
}

// siteDistance is enough for commands of different replicas to meet on their way.
const siteDistance = 4 * time.Millisecond

// seed is another for each scenario.
func (s scenario) seed() uint64 {
	hash := fnv.New64a()
	hash.Write([]byte(s.name()))
	return hash.Sum64() ^ *seedFlag
}

// summary is what a run did, on a few lines.
func (r *running) summary() string {
	var fast, slow, recoveries, noOps uint64
	for _, one := range r.status {
		fast, slow = fast+one.Status.Fast, slow+one.Status.Slow
		recoveries, noOps = recoveries+one.Status.Recoveries, noOps+one.Status.NoOps
	}
	text := fmt.Sprintf("%s, seed %d: %v", r.name(), *seedFlag, r.faults)
	if r.load == nil {
		return text
	}
	return fmt.Sprintf("%s\n%d operations before, %d during, %d after; %s\nthe last lives of the replicas: %d fast, %d slow, "+
		"%d recoveries, %d no-ops; %d operations on %d keys: %v; %d keys equal on all replicas",
		text, r.before, r.during, r.load.Completed()-r.before-r.during, r.load.Describe(), fast, slow, recoveries, noOps,
		r.verdict.Operations, r.verdict.Keys, r.verdict.Verdict, r.state.Keys)
}
