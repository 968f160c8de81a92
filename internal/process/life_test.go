package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/process/traffic"
	"github.com/264bc8cf/epaxos/internal/process/validate"
)

var lifeFlag = flag.Int("life", 0, "operations between two changes of TestLife; 0 is few, and fewer changes")

// life is a cluster whose members change under load.
type life struct {
	t       *testing.T
	cluster *cluster.Cluster
	load    *traffic.Load
	between int
	began   time.Duration // the step that runs, on the clock of the load
}

// TestLife takes a cluster of real processes from 3 to 5 to 7 replicas and back to 3, none of which was there in
// the beginning, and replaces one that was killed, all under load: nothing may fail, nothing that was
// answered may be lost, and clients follow by themselves.
func TestLife(t *testing.T) {
	voters, between := 5, 200
	if *lifeFlag > 0 {
		voters, between = 7, *lifeFlag
	} else if testing.Short() {
		t.Skip("takes half a minute: make life")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience+10*time.Minute)
	defer cancel()
	l := &life{t: t, cluster: startCluster(t, 3), between: between}
	var err error
	if l.load, err = traffic.Start(ctx, l.cluster, traffic.Followers, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.load.Close(), validate.Logs(l.cluster)); err != nil {
			t.Error(err)
		}
	})
	l.step(ctx, "3 replicas", func() error { return nil })
	for n := 4; n <= voters; n++ {
		l.step(ctx, fmt.Sprintf("add replica %d", n), func() error {
			_, err := l.cluster.Join(ctx, "member", "add")
			return err
		})
	}
	for id := 1; id <= voters-3; id++ {
		l.step(ctx, fmt.Sprintf("remove replica %d", id), func() error { return l.remove(ctx, id) })
	}
	victim := l.cluster.Replicas[voters-1]
	l.step(ctx, fmt.Sprintf("kill replica %d", victim.ID), victim.Kill)
	l.step(ctx, fmt.Sprintf("replace replica %d", victim.ID), func() error {
		_, err := l.cluster.Join(ctx, "member", "replace", fmt.Sprint(victim.ID))
		return err
	})
	if unknown, refused := l.load.Unknown(), l.load.Refused(); unknown+refused > 0 {
		t.Errorf("violation of progress: %d requests failed, and the outcome of %d is unknown", refused, unknown)
	}
	l.judge(ctx, voters)
}

// step changes something, lets the load go on, and tells of the longest pause that a client saw.
func (l *life) step(ctx context.Context, what string, do func() error) {
	l.t.Helper()
	began, completed := l.load.Elapsed(), l.load.Completed()
	if err := do(); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	took := l.load.Elapsed() - began
	if err := l.load.Await(ctx, l.between); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	pause, at := l.load.LongestPause(began)
	l.t.Logf("%-20s took %6.2fs, %6d operations, longest pause %4d ms, %5.2fs after its beginning; so far %d unknown, "+
		"%d refused", what, took.Seconds(), l.load.Completed()-completed, pause.Milliseconds(), (at - began).Seconds(),
		l.load.Unknown(), l.load.Refused())
}

// remove removes a replica, whose process must then end by itself and say why.
func (l *life) remove(ctx context.Context, id int) error {
	r := l.cluster.Replicas[id-1]
	r.MayEnd()
	if ran, err := l.cluster.Command(ctx, "member", "remove", fmt.Sprint(id)); err != nil || ran.Code != 0 {
		return errors.Join(err, ran.Err())
	}
	code, err := r.Wait(ctx)
	if err != nil {
		return err
	}
	log, err := os.ReadFile(r.LogFile)
	if err == nil && (code != cluster.Retired || !strings.Contains(string(log), "the replica was removed from its cluster")) {
		err = fmt.Errorf("replica %d was removed, and ended with %d:\n%s", id, code, log)
	}
	return err
}

// judge looks at the cluster when all is quiet: three replicas are left, and agree.
func (l *life) judge(ctx context.Context, voters int) {
	l.t.Helper()
	if err := l.load.Stop(); err != nil {
		l.t.Error(err)
	}
	left := append(append([]*cluster.Replica(nil), l.cluster.Replicas[voters-3:voters-1]...), l.cluster.Replicas[voters])
	l.cluster.Keep(left)
	if err := l.load.ReadSome(ctx); err != nil {
		l.t.Error(err)
	}
	if _, err := l.cluster.AwaitEqual(ctx); err != nil {
		l.t.Error(err)
	}
	state, err := validate.States(ctx, l.cluster)
	if err != nil {
		l.t.Error(err)
	}
	report, err := validate.History(l.load.Operations())
	if err != nil {
		l.t.Error(err)
	}
	l.t.Logf("%s; %d operations on %d keys: %v; %d keys equal on all replicas", l.load.Describe(), report.Operations,
		report.Keys, report.Verdict, state.Keys)
}
