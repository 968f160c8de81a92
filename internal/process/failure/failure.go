// Package failure hurts a cluster of real processes under load, and heals it again.
//
// A failure waits for what happens, never for a time to pass: before, while and after it hurts, a
// number of operations must be answered, wherever the protocol promises that (operationsBetween).
// It counts what it did, so that a run in which nothing was hurt cannot pass.
package failure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/process/traffic"
	"github.com/264bc8cf/epaxos/server"
)

// Failure is one way to hurt a cluster. Its zero values are none.
type Failure struct {
	Name string
	// Network: the paths between replicas must be emulated. OwnDisks: each replica must have a
	// file system of its own.
	Network, OwnDisks bool
	// Inject hurts, and heals. When it returns nil every replica runs on its own directory, and the
	// network is whole.
	Inject func(ctx context.Context, e *Env) error
}

// Env is what a failure works on.
type Env struct {
	Cluster *cluster.Cluster
	Load    *traffic.Load
	Random  *rand.Rand
	Faults  Faults
}

// Faults counts what was done, by name.
type Faults map[string]int

// String lists them by name.
func (f Faults) String() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		all = append(all, fmt.Sprintf("%d %s", f[name], name))
	}
	return strings.Join(all, ", ")
}

// Check reports that nothing was done, or that one of the things that were to be was not.
func (f Faults) Check() error {
	if len(f) == 0 || slices.Contains(slices.Collect(maps.Values(f)), 0) {
		return fmt.Errorf("nothing was hurt: %v", map[string]int(f))
	}
	return nil
}

// operationsBetween is how many operations must be answered between any two steps of a failure: by
// any replicas, as long as a quorum is well. An idle cluster never gets there.
const operationsBetween = 40

// operationsEach is how many each single replica must answer, when it is well again.
const operationsEach = 5

// work waits for operations while a quorum is well.
func (e *Env) work(ctx context.Context) error { return e.Load.Await(ctx, operationsBetween) }

// serves waits until one replica is well.
func (e *Env) serves(ctx context.Context, r *cluster.Replica) error {
	return e.Load.AwaitAt(ctx, r.ID, operationsEach)
}

// failOver waits until clients that were at home with replicas that are gone have answers of others.
func (e *Env) failOver(ctx context.Context, gone []*cluster.Replica) error {
	for _, r := range gone {
		if err := e.Load.AwaitRoaming(ctx, r.ID, operationsEach); err != nil {
			return err
		}
	}
	return nil
}

// AllServe waits until every replica is well.
func (e *Env) AllServe(ctx context.Context) error {
	for _, r := range e.Cluster.Replicas {
		if err := e.serves(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// notices waits until every replica of by, which must run, suspects every replica of whom, or has no
// connection to it: from then on it must finish what those had begun.
func (e *Env) notices(ctx context.Context, by, whom []*cluster.Replica) error {
	for _, r := range by {
		for {
			status, err := e.Load.Status(ctx, r.ID)
			if err == nil && suspects(&status, whom) {
				break
			}
			if !cluster.Sleep(ctx) {
				return fmt.Errorf("violation of progress: replica %d does not notice that another is silent: %w",
					r.ID, errors.Join(err, context.Cause(ctx)))
			}
		}
	}
	return nil
}

func suspects(status *server.Status, whom []*cluster.Replica) bool {
	for _, r := range whom {
		if !slices.ContainsFunc(status.Peers, func(p server.PeerStatus) bool {
			return p.Replica == r.ID && (p.Suspected || !p.Up)
		}) {
			return false
		}
	}
	return true
}

// others are the replicas that are none of these.
func (e *Env) others(than ...*cluster.Replica) []*cluster.Replica {
	return slices.DeleteFunc(slices.Clone(e.Cluster.Replicas), func(r *cluster.Replica) bool {
		return slices.Contains(than, r)
	})
}

// victim draws a replica.
func (e *Env) victim() *cluster.Replica {
	return e.Cluster.Replicas[e.Random.IntN(len(e.Cluster.Replicas))]
}

// minority draws as many replicas as may fail at a time.
func (e *Env) minority() []*cluster.Replica {
	n := len(e.Cluster.Replicas)
	var drawn []*cluster.Replica
	for _, i := range e.Random.Perm(n)[:(n-1)/2] {
		drawn = append(drawn, e.Cluster.Replicas[i])
	}
	return drawn
}

// site is the place of a replica in the emulated network.
func site(r *cluster.Replica) int { return int(r.ID) - 1 }

// All is every failure that a cluster must survive.
func All() []Failure {
	return slices.Concat(crashes, pauses, networks, disks, []Failure{Chaos})
}

// Named finds a failure.
func Named(name string) Failure {
	for _, f := range All() {
		if f.Name == name {
			return f
		}
	}
	panic("there is no failure " + name)
}

// Chaos is a number of other failures, drawn, one after the other.
var Chaos = Failure{Name: "chaos", Network: true, Inject: func(ctx context.Context, e *Env) error {
	candidates := slices.Concat(crashes, pauses, networks)
	for range 5 {
		drawn := candidates[e.Random.IntN(len(candidates))]
		e.Faults["drawn failures"]++
		if err := drawn.Inject(ctx, e); err != nil {
			return fmt.Errorf("in %s: %w", drawn.Name, err)
		}
		if err := e.work(ctx); err != nil {
			return fmt.Errorf("after %s: %w", drawn.Name, err)
		}
	}
	return nil
}}

// Rollback puts old copies of all directories back at once. No protocol can notice that: the cluster
// forgets what it had acknowledged, so whoever judges the run must notice.
var Rollback = Failure{Name: "rollback", Inject: func(ctx context.Context, e *Env) error {
	if err := e.Cluster.KillAll(); err != nil {
		return err
	}
	for _, r := range e.Cluster.Replicas {
		if err := r.CopyData("old"); err != nil {
			return err
		}
	}
	if err := errors.Join(e.Cluster.Start(ctx), e.work(ctx)); err != nil {
		return err
	}
	if err := e.Cluster.KillAll(); err != nil {
		return err
	}
	for _, r := range e.Cluster.Replicas {
		if err := r.Restore("old"); err != nil {
			return err
		}
		e.Faults["old copies"]++
	}
	return errors.Join(e.Cluster.Start(ctx), e.work(ctx))
}}

// Murder ends a replica behind the back of the harness, as a bug of its own would. Whoever judges the
// run must notice that, too.
var Murder = Failure{Name: "murder", Inject: func(ctx context.Context, e *Env) error {
	e.Faults["murders"]++
	return errors.Join(e.victim().Murder(), e.work(ctx), e.AllServe(ctx))
}}

// healed calls heal whatever hurt returned.
func healed(hurt error, heal func() error) error { return errors.Join(hurt, heal()) }
