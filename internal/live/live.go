package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/experiment"
	"github.com/264bc8cf/epaxos/internal/loopback"
	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/server"
)

const (
	// meetTimeout bounds how long replicas and clients may take to find each other.
	meetTimeout = time.Minute
	// openMax bounds the open requests of the clients of a region.
	openMax = 1 << 16
)

// run is one point under way.
type run struct {
	point   *experiment.Point
	cluster *loopback.Cluster
	clients []*clients.Client // by region; nil without
	probes  []*probe          // by replica

	mu      sync.Mutex // guards all below, and the meter
	meter   *experiment.Meter
	origin  time.Time // of the meter's clock; never changes once the load has begun
	regions []*region // nil before that; of sites without clients nil
	open    int       // measured requests without an answer
	over    bool
}

// Run plays a point to its end, at most experiment.DrainMax after the measured time. It takes that time on the wall,
// and nothing else should run meanwhile. It is an experiment.Runner.
func Run(ctx context.Context, p experiment.Point) (experiment.Result, error) {
	began := time.Now()
	r := &run{point: &p, meter: experiment.NewMeter(&p)}
	cost, err := r.play(ctx)
	err = errors.Join(err, r.close())
	if err != nil {
		return experiment.Result{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.meter.Finish()
	cost.Wall = time.Since(began)
	return r.meter.Real(cost), nil
}

func (r *run) play(ctx context.Context) (experiment.Cost, error) {
	if err := r.start(ctx); err != nil {
		return experiment.Cost{}, err
	}
	r.begins()
	loads, stop := r.load(ctx)
	cost, err := r.accompany(ctx)
	if err == nil {
		err = r.drain(ctx)
	}
	stop()
	err = errors.Join(err, r.hangUp()) // which fails what is still open
	loads.Wait()
	return cost, errors.Join(err, r.cluster.Fault())
}

// start brings up replicas and clients.
func (r *run) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	p := r.point
	n := p.Replicas
	for column := range n {
		r.probes = append(r.probes, &probe{run: r, column: column})
	}
	options := loopback.Options{Replicas: n, Profile: &p.Profile, Seed: p.StreamSeed(), Prepare: r.prepare}
	if p.Protocol.Family == "epaxos" {
		options.F, options.E = &p.Protocol.F, &p.Protocol.E
	}
	var err error
	if r.cluster, err = loopback.New(options); err != nil {
		return err
	}
	if err := r.disturb(); err != nil {
		return err
	}
	if err := r.cluster.Meet(ctx); err != nil {
		return err
	}
	r.clients = make([]*clients.Client, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for _, i := range p.Regions() {
		wg.Go(func() {
			if r.clients[i], errs[i] = r.dial(ctx, i); errs[i] == nil {
				errs[i] = r.cluster.Settle(ctx, i, r.clients[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// begins starts the meter's clock.
func (r *run) begins() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.origin, r.regions = time.Now(), make([]*region, r.point.Replicas)
	for _, i := range r.point.Regions() {
		r.regions[i] = newRegion(r.point, i)
	}
}

// prepare sets up a replica.
func (r *run) prepare(c *server.Config) {
	t := r.point.Tuning
	if t.Window > 0 {
		c.Limits.InFlightPerKey = t.Window
	}
	if t.FastPathWait > 0 {
		c.Timing.Core.FastPathWait = t.FastPathWait
	}
	if t.Gather > 0 {
		c.Limits.Gather = t.Gather
	}
	c.Timing.Core.DisputedWait += t.DisputedWait
	c.ClientRequests = openMax
	c.Protocol = r.probes[c.Replica-1].protocol(c)
}

// dial starts the client program of a region, which stays with its replica whatever happens: the experiment is about
// replicas, and not about how well a client moves.
func (r *run) dial(ctx context.Context, i int) (*clients.Client, error) {
	return r.cluster.Dial(ctx, i,
		clients.WithInFlight(openMax), clients.WithoutSession(),
		clients.WithTimeout(r.point.Warmup+r.point.Duration+2*experiment.DrainMax),
		clients.WithPolicy(clients.Policy{
			Margin: time.Hour, SuspectAfter: time.Hour, StallAfter: time.Hour,
		}))
}

// disturb sets jitter and loss of the ways between replicas.
func (r *run) disturb() error {
	e := &r.point.Emulation
	for a := range r.point.Replicas {
		for b := range a {
			way := float64(r.point.Profile.OneWay(a, b))
			link := wan.Link{Loss: e.Loss / 100, Jitter: time.Duration(e.Jitter / 100 * way)}
			if err := r.cluster.Emulator.SetLink(a, b, link); err != nil {
				return err
			}
		}
	}
	return nil
}

// now is the time of the meter's clock.
func (r *run) now() time.Duration { return time.Since(r.origin) }

// accompany waits for the end of the measured time, and reads counters at its begin and end. In between it stops a
// site, if the point says so.
func (r *run) accompany(ctx context.Context) (experiment.Cost, error) {
	p := r.point
	end := p.Warmup + p.Duration
	if err := r.sleepUntil(ctx, p.Warmup); err != nil {
		return experiment.Cost{}, err
	}
	before := r.spent(nil)
	if p.Fault.Crash != 0 {
		if err := r.sleepUntil(ctx, r.meter.CrashAt()); err != nil {
			return experiment.Cost{}, err
		}
		last := r.statuses(nil)
		if err := r.crash(); err != nil {
			return experiment.Cost{}, err
		}
		before.last = last
	}
	if err := r.sleepUntil(ctx, end); err != nil {
		return experiment.Cost{}, err
	}
	after := r.spent(before.last)
	return experiment.Cost{
		Bytes: after.bytes - before.bytes, Syncs: after.groups - before.groups, CPU: after.cpu - before.cpu,
	}, nil
}

// spent is what a run has cost so far.
type spent struct {
	bytes, groups uint64
	cpu           time.Duration
	last          []server.Status // of the replicas before one was stopped
}

func (r *run) spent(last []server.Status) spent {
	s := spent{cpu: loopback.CPUTime()}
	for _, status := range r.statuses(last) {
		s.groups += status.Groups
		for _, peer := range status.Peers {
			s.bytes += peer.SentBytes
		}
	}
	return s
}

// statuses asks all replicas that live; of one that was stopped the last is known.
func (r *run) statuses(last []server.Status) []server.Status {
	all := make([]server.Status, len(r.cluster.Replicas))
	for i, replica := range r.cluster.Replicas {
		select {
		case <-replica.Done():
			if last != nil {
				all[i] = last[i]
			}
		default:
			all[i] = replica.StatusNow()
		}
	}
	return all
}

// crash stops a site: its replica and its clients.
func (r *run) crash() error {
	column := r.point.Fault.Crash - 1
	if column < 0 {
		column = r.point.Succession()[0]
		for i, p := range r.probes {
			if p.leads.Load() {
				column = i
			}
		}
	}
	r.mu.Lock()
	r.meter.Crash(column)
	r.stop(column)
	r.mu.Unlock()
	return r.cluster.Kill(epaxos.ReplicaID(column + 1)) //nolint:gosec // small
}

func (r *run) sleepUntil(ctx context.Context, at time.Duration) error {
	timer := time.NewTimer(at - r.now())
	defer timer.Stop()
	select {
	case <-timer.C:
		return r.cluster.Fault()
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
}

// drain waits for the answers of measured requests.
func (r *run) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, experiment.DrainMax)
	defer cancel()
	//nolint:errcheck // what has no answer by now counts as unanswered
	loopback.Poll(ctx, "", func() (bool, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.open == 0, nil
	})
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	return nil
}

// hangUp ends the client programs.
func (r *run) hangUp() error {
	var errs []error
	for i, client := range r.clients {
		if client != nil {
			errs = append(errs, client.Close())
			r.clients[i] = nil
		}
	}
	return errors.Join(errs...)
}

func (r *run) close() error {
	err := r.hangUp()
	if r.cluster != nil {
		err = errors.Join(err, r.cluster.Close())
	}
	return err
}
