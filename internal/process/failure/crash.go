package failure

import (
	"context"
	"errors"
	"fmt"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
)

// crashes end processes with SIGKILL, or with SIGTERM as an operator does.
var crashes = []Failure{
	{Name: "kill-one", Inject: func(ctx context.Context, e *Env) error {
		return e.killed(ctx, e.victim())
	}},
	{Name: "kill-minority", Inject: func(ctx context.Context, e *Env) error {
		return e.killed(ctx, e.minority()...)
	}},
	{Name: "kill-all", Inject: killAll},
	{Name: "kill-while-starting", Inject: killWhileStarting},
	{Name: "kill-in-turn", Inject: killInTurn},
	{Name: "long-absence", Inject: longAbsence},
	{Name: "rolling-restart", Inject: rollingRestart},
}

// killed kills replicas at once, lets the others work, and starts them again.
func (e *Env) killed(ctx context.Context, victims ...*cluster.Replica) error {
	for _, r := range victims {
		if err := r.Kill(); err != nil {
			return err
		}
		e.Faults["kills"]++
	}
	err := errors.Join(e.notices(ctx, e.others(victims...), victims), e.work(ctx), e.failOver(ctx, victims))
	if err != nil {
		return err
	}
	for _, r := range victims {
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	for _, r := range victims {
		if err := e.serves(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// killAll leaves nothing but the disks, twice.
func killAll(ctx context.Context, e *Env) error {
	for range 2 {
		if err := e.Cluster.KillAll(); err != nil {
			return err
		}
		e.Faults["kills"] += len(e.Cluster.Replicas)
		if err := e.Cluster.Start(ctx); err != nil {
			return err
		}
		if err := e.work(ctx); err != nil {
			return err
		}
	}
	return nil
}

// killWhileStarting kills a replica again and again as soon as it listens: while it greets its peers
// and catches up, with the records of the lives before not yet written back.
func killWhileStarting(ctx context.Context, e *Env) error {
	r := e.victim()
	for range 4 {
		if err := r.Kill(); err != nil {
			return err
		}
		e.Faults["kills"]++
		if err := e.work(ctx); err != nil {
			return err
		}
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	return e.serves(ctx, r)
}

// killInTurn kills one replica after another, the next as soon as the last listens again. Three
// replicas, one of which is catching up, have no quorum without the next, so nothing is asked of the
// cluster before all are up.
func killInTurn(ctx context.Context, e *Env) error {
	for _, i := range e.Random.Perm(len(e.Cluster.Replicas)) {
		r := e.Cluster.Replicas[i]
		if err := r.Kill(); err != nil {
			return err
		}
		e.Faults["kills"]++
		if err := r.Start(ctx); err != nil {
			return err
		}
	}
	return e.work(ctx)
}

// operationsMissed is what a replica has to catch up with after a long absence.
const operationsMissed = 2000

// longAbsence kills a replica and starts it when it has missed much: by then the others hold nothing for
// it in their queues, and what it asks for does not fit one answer.
func longAbsence(ctx context.Context, e *Env) error {
	r := e.victim()
	if err := r.Kill(); err != nil {
		return err
	}
	e.Faults["kills"]++
	before := e.Load.Completed()
	if err := e.Load.Await(ctx, operationsMissed); err != nil {
		return err
	}
	e.Faults["operations missed"] += e.Load.Completed() - before
	return errors.Join(r.Start(ctx), e.serves(ctx, r))
}

// rollingRestart restarts one replica after the other, as an upgrade does.
func rollingRestart(ctx context.Context, e *Env) error {
	for _, r := range e.Cluster.Replicas {
		if code, err := r.Terminate(ctx); err != nil || code != 0 {
			return fmt.Errorf("replica %d was told to end, and exited with %d: %w", r.ID, code, err)
		}
		e.Faults["restarts"]++
		if err := e.work(ctx); err != nil {
			return err
		}
		if err := r.Start(ctx); err != nil {
			return err
		}
		if err := e.serves(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
