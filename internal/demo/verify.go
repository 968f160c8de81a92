package demo

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/loopback"
	"github.com/264bc8cf/epaxos/server"
)

// verify fills in what was asked to be proved, as far as there is time.
func (r *run) verify(ctx context.Context, report *Report) {
	if r.recorder == nil {
		return
	}
	limit := min(verifyTimeout, r.options.Duration+overtime-cleanUp-r.clock())
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { report.StateEqual = equalStates(ctx, r.cluster.Alive()) })
	found, err := history.Check(r.recorder.Operations(), limit)
	wg.Wait()
	if err != nil {
		report.problem("the history cannot be checked: %v", err)
		return
	}
	report.HistoryOps, report.HistoryKeys = found.Operations, found.Keys
	switch found.Verdict {
	case history.Linearizable:
		report.Linearizable = new(true)
	case history.Illegal:
		report.Linearizable = new(false)
		report.problem("the history of key %q is not linearizable: %s", found.Key, found.Detail)
	case history.Undecided:
		report.problem("the history of key %q could not be checked in %v", found.Key, limit.Round(time.Millisecond))
	}
}

// equalStates compares what replicas have applied once all have executed the same instances; nil
// if that does not happen before the context ends.
func equalStates(ctx context.Context, replicas []*server.Server) *bool {
	var equal *bool
	//nolint:errcheck // that the time is up is what nil says
	loopback.Poll(ctx, "", func() (bool, error) {
		if !sameProgress(replicas) {
			return false, nil
		}
		digests := make([]server.Digest, len(replicas))
		for i, replica := range replicas {
			var err error
			if digests[i], err = replica.Digest(); err != nil {
				return false, err
			}
		}
		for _, d := range digests {
			if !d.Idle || !slices.Equal(d.Executed, digests[0].Executed) {
				return false, nil
			}
		}
		same := !slices.ContainsFunc(digests, func(d server.Digest) bool { return d.State != digests[0].State })
		equal = &same
		return true, nil
	})
	return equal
}

// sameProgress looks at the published status first, since a digest stops its replica for as long
// as it takes to read the whole state.
func sameProgress(replicas []*server.Server) bool {
	first := replicas[0].StatusNow()
	for _, replica := range replicas {
		status := replica.StatusNow()
		if status.Pending > 0 || !slices.Equal(status.Executed, first.Executed) {
			return false
		}
	}
	return true
}
