package failure

import (
	"context"
	"errors"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
)

// pauses stop processes with SIGSTOP: they are silent as if dead, and then go on with what they
// believed before.
var pauses = []Failure{
	{Name: "pause-one", Inject: func(ctx context.Context, e *Env) error {
		return e.paused(ctx, e.victim())
	}},
	{Name: "pause-minority", Inject: func(ctx context.Context, e *Env) error {
		return e.paused(ctx, e.minority()...)
	}},
	{Name: "pause-all", Inject: func(ctx context.Context, e *Env) error {
		return e.paused(ctx, e.Cluster.Replicas...)
	}},
	{Name: "pause-then-kill", Inject: pauseThenKill},
	{Name: "stutter", Inject: stutter},
}

// paused stops replicas, lets the others notice and work, and lets them go on.
func (e *Env) paused(ctx context.Context, victims ...*cluster.Replica) error {
	var errs []error
	for _, r := range victims {
		errs = append(errs, r.Pause(ctx))
		e.Faults["pauses"]++
	}
	if others := e.others(victims...); len(others) > 0 && errors.Join(errs...) == nil {
		errs = append(errs, e.notices(ctx, others, victims), e.work(ctx), e.failOver(ctx, victims))
	}
	for _, r := range victims {
		errs = append(errs, r.Resume())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range victims {
		if err := e.serves(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// pauseThenKill kills a replica that stands still, so that not even what it had read is sent.
func pauseThenKill(ctx context.Context, e *Env) error {
	r := e.victim()
	if err := r.Pause(ctx); err != nil {
		return err
	}
	e.Faults["pauses"]++
	if err := e.work(ctx); err != nil {
		return errors.Join(err, r.Resume())
	}
	return e.killed(ctx, r)
}

// stutter makes a replica slow: it stands still most of the time, with its disk and its timers, but
// never for so long that it could count as dead. Others must not wait for it for ever.
func stutter(ctx context.Context, e *Env) error {
	r := e.victim()
	for range 30 {
		if err := r.Pause(ctx); err != nil {
			return err
		}
		e.Faults["pauses"]++
		for range 1 + e.Random.IntN(8) { // up to 160 ms, where a second raises suspicion
			cluster.Sleep(ctx)
		}
		if err := r.Resume(); err != nil {
			return err
		}
		cluster.Sleep(ctx)
	}
	return errors.Join(e.work(ctx), e.serves(ctx, r))
}
