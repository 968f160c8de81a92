package live

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/264bc8cf/epaxos/internal/experiment"
	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/internal/workload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is a run of a second, three replicas 4 ms apart.
func tiny(t *testing.T, protocol string) experiment.Point {
	t.Helper()
	protocols, err := experiment.ParseProtocols(protocol, 3)
	if err != nil {
		t.Fatal(err)
	}
	return experiment.Point{
		Experiment: "tiny", Protocol: protocols[0], Replicas: 3, Profile: wan.Uniform(3, 4), Seed: 1,
		Workload: workload.Spec{Load: workload.Load{Clients: 2}, Conflict: 20, Keys: 100, Writes: 80, Value: 16},
		Warmup:   300 * time.Millisecond, Duration: 700 * time.Millisecond,
	}
}

// TestEveryProtocol plays a point with real replicas. How long anything takes is not looked at.
func TestEveryProtocol(t *testing.T) {
	protocols := []string{"epaxos", "multipaxos", "basicpaxos", "flexiblepaxos-q2", "fastpaxos"}
	if testing.Short() { // of cores and orderers there are two kinds
		protocols = protocols[:2]
	}
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := tiny(t, protocol)
			r, err := Run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if r.Mode != "real" || r.Begun == 0 || r.Answered != r.Begun || r.Unanswered != 0 || len(r.Regions) == 0 {
				t.Fatalf("%s: %d begun, %d answered, %d unanswered in %d regions", r.Mode, r.Begun, r.Answered, r.Unanswered,
					len(r.Regions))
			}
			// What is answered was chosen before.
			if r.Commit.P50 <= 0 || r.Commit.P50 > r.Execution.P50 || r.Commit.Max > r.Execution.Max {
				t.Errorf("chosen %+v, answered %+v", r.Commit, r.Execution)
			}
			if r.Messages <= 0 || r.Bytes <= 0 || r.Syncs <= 0 || r.CPU == nil || r.Wall == nil || *r.Wall <= 0 {
				t.Errorf("costs are missing: %+v", r)
			}
			if r.SyncMS != nil || r.CPUMicros != nil || r.SyncBytes != nil {
				t.Error("a real run shows what virtual time emulates")
			}
		})
	}
}

// TestInterrupted: a run that is cancelled says so, and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := tiny(t, "multipaxos")
	p.Duration = time.Hour
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, p)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("an interrupted run ends with %v", err)
	}
}

// TestCrash stops the leader's site: its clients go with it, and all others are answered.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector has seen it all in TestEveryProtocol")
	}
	t.Parallel()
	p := tiny(t, "multipaxos")
	p.Fault.Crash, p.Duration = -1, 2400*time.Millisecond
	r, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(r.Fault, "stops") || len(r.TimeLine) != 3 || r.Unanswered != 0 || r.Answered == 0 {
		t.Errorf("fault %q, %d lines, %d answered, %d unanswered", r.Fault, len(r.TimeLine), r.Answered, r.Unanswered)
	}
}
