// Package validate decides whether what a run of real processes left behind could have come from a
// correct cluster. Each violation is told by its name, as everywhere in this module.
package validate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
)

// searchTime bounds each search for an order.
const searchTime = 40 * time.Second

// pictureTime bounds the search for a picture of what is decided already.
const pictureTime = 5 * time.Second

// History checks that what the clients saw is linearizable. The report is of use also with an error.
//
// The order that results tell is looked at first, which is quick. The search that follows may need too
// long where hundreds of transactions ended unknown; then keys are searched one by one, and what the
// two cannot decide together is no pass.
func History(operations []history.Operation) (history.Report, error) {
	report, err := history.CheckOrder(operations)
	if err := judged(report, err); err != nil {
		// A search that comes to the same verdict in time has a picture of it.
		if searched, err := history.Check(operations, pictureTime); err == nil && searched.Verdict == history.Illegal {
			report = searched
		}
		return report, err
	}
	report, err = history.Check(operations, searchTime)
	if err != nil || report.Verdict != history.Undecided {
		return report, judged(report, err)
	}
	for _, part := range history.ByKey(operations) {
		one, err := history.Check(part, searchTime)
		if err := judged(one, err); err != nil {
			return one, err
		}
	}
	return report, nil
}

func judged(report history.Report, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("the history cannot be checked: %w", err)
	case report.Verdict == history.Undecided:
		return fmt.Errorf("the history of %q could not be decided in %v: %s", report.Key, searchTime, report.Detail)
	case report.Verdict == history.Illegal:
		return fmt.Errorf("violation of linearizability: %q: %s", report.Key, report.Detail)
	}
	return nil
}

// Statuses checks what replicas say of themselves when all is quiet.
func Statuses(all []cluster.ReplicaStatus) error {
	for _, r := range all {
		switch s := r.Status; {
		case s.Malformed > 0:
			return fmt.Errorf("violation of integrity: replica %d received %d messages that no correct replica sends",
				r.Replica, s.Malformed)
		case s.NoRoom != "":
			return fmt.Errorf("violation of progress: replica %d takes no work though its disk has room: %s",
				r.Replica, s.NoRoom)
		case !s.Admitted:
			return fmt.Errorf("violation of progress: replica %d waits for a quorum that is there", r.Replica)
		}
	}
	return nil
}

// States ends all replicas, well, and compares what their directories hold.
func States(ctx context.Context, c *cluster.Cluster) (cluster.State, error) {
	for _, r := range c.Replicas {
		if code, err := r.Terminate(ctx); err != nil || code != 0 {
			return cluster.State{}, errors.Join(err,
				fmt.Errorf("violation of progress: replica %d was told to end, and exited with %d", r.ID, code))
		}
	}
	var first cluster.State
	for i, r := range c.Replicas {
		state, err := r.State()
		if err != nil {
			return first, fmt.Errorf("violation of durability: %w", err)
		}
		if i == 0 {
			first = state
		}
		if state != first {
			return first, fmt.Errorf("violation of order: after the same commands replica %d holds %d keys (%x), "+
				"and replica %d holds %d keys (%x)", c.Replicas[0].ID, first.Keys, first.Digest[:4],
				r.ID, state.Keys, state.Digest[:4])
		}
	}
	if first.Keys == 0 {
		return first, errors.New("violation of durability: the replicas hold nothing")
	}
	return first, nil
}

// disgraces are words of a process that died in a way that no fault excuses.
var disgraces = []string{"panic:", "fatal error:", "SIGSEGV", "SIGBUS", "goroutine 1 ", "DATA RACE", "malformed"}

// Logs checks that no process died in disgrace.
func Logs(c *cluster.Cluster) error {
	for _, r := range c.Replicas {
		text, err := r.Log()
		if err != nil {
			return err
		}
		for _, word := range disgraces {
			if at := strings.Index(text, word); at >= 0 {
				return fmt.Errorf("violation of integrity: replica %d logged %q: %.2000s", r.ID, word, text[at:])
			}
		}
	}
	return nil
}
