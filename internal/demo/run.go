package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/loopback"
	"github.com/264bc8cf/epaxos/server"
)

const (
	warmUp         = time.Second
	connectTimeout = 6 * time.Second
	// verifyTimeout bounds how long the states may take to agree, and the history to be checked.
	verifyTimeout = 10 * time.Second
	// overtime is how much longer than its window a run may take in all; it keeps a second of the
	// twenty that are promised for the end of the process.
	overtime = 19 * time.Second
	// cleanUp is what verification leaves of the overtime for stopping the replicas.
	cleanUp = 1500 * time.Millisecond
)

// ErrFailed: the run came to its end, and the report holds what nobody wants to see.
var ErrFailed = errors.New("the demonstration failed")

// run is a run under way.
type run struct {
	options  Options
	origin   time.Time
	tracer   *tracer // nil if nothing is traced
	cluster  *loopback.Cluster
	clients  []*clients.Client // by region
	meters   []*meter          // by region
	recorder *history.Recorder // nil if nothing is verified
	window   window

	allowance *allowance      // of a run by commands, else nil
	before    []server.Status // by replica, when the window began
	after     []server.Status // when it ended, or when the replica was killed

	cpuBefore, cpu time.Duration
	killing        sync.WaitGroup
	killErr        error // read after killing has ended
}

// Run carries out the options, writes progress and tables to Options.Out and the report to
// Options.JSON, and returns the report too. An error that is ErrFailed comes with a whole report,
// any other with what there is. The options must be valid.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	r := &run{options: o, origin: time.Now()}
	if o.Verify {
		r.recorder = &history.Recorder{}
	}
	report, err := r.run(ctx)
	if err != nil {
		report.Error = err.Error()
	}
	if o.JSON != "" {
		err = errors.Join(err, report.write(o.JSON))
	}
	if o.Keep && r.cluster != nil && ctx.Err() == nil {
		r.keep(ctx)
	}
	return report, errors.Join(err, r.close())
}

func (r *run) clock() time.Duration { return time.Since(r.origin) }

func (r *run) printf(format string, args ...any) { fmt.Fprintf(r.options.Out, format, args...) }

// run goes through the phases. The report is never nil.
func (r *run) run(ctx context.Context) (*Report, error) {
	if err := r.start(ctx); err != nil {
		return r.report(), err
	}
	if err := r.measure(ctx); err != nil {
		return r.report(), err
	}
	report := r.report()
	r.verify(ctx, report)
	report.print(r.options.Out)
	return report, report.verdict()
}

// start brings up the replicas, then the clients.
func (r *run) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var err error
	if r.options.Trace != "" {
		if r.tracer, err = newTracer(r.options.Trace, r.clock); err != nil {
			return err
		}
	}
	if r.cluster, err = newCluster(&r.options, r.tracer); err != nil {
		return err
	}
	r.introduce()
	if err := r.cluster.Meet(ctx); err != nil {
		return err
	}
	n := r.options.Replicas
	r.clients = make([]*clients.Client, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if r.clients[i], errs[i] = dial(ctx, r.cluster, i, r.options.Clients); errs[i] == nil {
				errs[i] = r.cluster.Settle(ctx, i, r.clients[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) introduce() {
	network := "bare sockets on loopback, no distance"
	if r.cluster.Profile != nil {
		network = fmt.Sprintf("round trips of %s", r.cluster.Profile.Name)
	}
	r.printf("%d replicas and %d clients beside each; %s\n", r.options.Replicas, r.options.Clients, network)
	r.printf("%v %% puts, %v %% of the operations on one shared key; seed %d\n",
		r.options.Writes, r.options.Conflict, r.options.Seed)
}

// measure runs the clients through warm-up, window and drain.
func (r *run) measure(ctx context.Context) error {
	start := r.clock() + warmUp
	r.window = window{start: start, end: start + r.options.Duration}
	if commands := r.options.Commands; commands > 0 {
		r.window.end, r.allowance = start+durationMax, &allowance{}
		r.allowance.left.Store(int64(commands))
	}
	var loops sync.WaitGroup
	for i, client := range r.clients {
		m := newMeter(r.window)
		r.meters = append(r.meters, m)
		for j := range r.options.Clients {
			l := r.loop(i*r.options.Clients+j, client, m)
			loops.Go(func() { l.run(ctx) })
		}
	}
	var err error
	if r.allowance != nil {
		err = r.watchCommands(ctx, &loops)
	} else {
		err = r.watch(ctx)
	}
	if err != nil {
		// Interrupted: nothing that is under way will be reported, so nothing is waited for.
		for _, client := range r.clients {
			client.Close() //nolint:errcheck // the run has failed already
		}
	}
	loops.Wait()
	r.killing.Wait()
	r.cpu = loopback.CPUTime() - r.cpuBefore
	return errors.Join(err, r.killErr, r.cluster.Fault())
}

func (r *run) loop(id int, client *clients.Client, m *meter) *loop {
	return &loop{
		id: id, client: client, meter: m, recorder: r.recorder, clock: r.clock,
		start: r.window.start, end: r.window.end, allowance: r.allowance,
		conflict: r.options.Conflict / 100, writes: r.options.Writes / 100,
		rand: rand.New(rand.NewPCG(r.options.Seed, uint64(id))), //nolint:gosec // a workload
	}
}

// watchCommands accompanies a run by commands. The window is as long as they took.
func (r *run) watchCommands(ctx context.Context, loops *sync.WaitGroup) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { loops.Wait(); close(ended) }()
	r.window.end = r.accompany(ctx, ended)
	r.options.Duration = r.window.end - r.window.start
	for _, m := range r.meters {
		m.finish(r.window.end)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
	for i, replica := range r.cluster.Replicas {
		r.after[i] = replica.StatusNow()
	}
	return r.cluster.Fault()
}

// begin waits for the window and reads the counters.
func (r *run) begin(ctx context.Context) error {
	if err := r.sleepUntil(ctx, r.window.start); err != nil {
		return err
	}
	for _, replica := range r.cluster.Replicas {
		r.before = append(r.before, replica.StatusNow())
	}
	r.after = make([]server.Status, len(r.before))
	r.cpuBefore = loopback.CPUTime()
	return nil
}

// watch accompanies the window: it reads counters at both ends, kills, and prints a line a second.
func (r *run) watch(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if kill := r.options.Kill; kill != nil {
		r.killing.Go(func() { r.killErr = r.kill(ctx, *kill) })
	}
	for at := r.window.start + time.Second; at <= r.window.end; at += time.Second {
		if err := r.sleepUntil(ctx, at); err != nil {
			return err
		}
		r.progress(at - r.window.start)
	}
	if err := r.sleepUntil(ctx, r.window.end); err != nil {
		return err
	}
	r.killing.Wait()
	for i, replica := range r.cluster.Replicas {
		if kill := r.options.Kill; kill == nil || int(kill.Replica) != i+1 {
			r.after[i] = replica.StatusNow()
		}
	}
	return nil
}

func (r *run) kill(ctx context.Context, kill Kill) error {
	if err := r.sleepUntil(ctx, r.window.start+kill.At); err != nil {
		return nil // the run was interrupted, which is reported already
	}
	i := int(kill.Replica) - 1
	r.after[i] = r.cluster.Replicas[i].StatusNow()
	r.printf("      replica %d (%s) is killed\n", kill.Replica, r.cluster.Region(i))
	return r.cluster.Kill(kill.Replica)
}

func (r *run) sleepUntil(ctx context.Context, at time.Duration) error {
	timer := time.NewTimer(at - r.clock())
	defer timer.Stop()
	select {
	case <-timer.C:
		return r.cluster.Fault()
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", ctx.Err())
	}
}

// keep leaves the replicas to others until the context ends.
func (r *run) keep(ctx context.Context) {
	r.printf("\nthe cluster goes on until it is interrupted; its endpoints are\n")
	for i, addr := range r.cluster.Layout.Addrs {
		r.printf("  %-4s %s\n", r.cluster.Region(i), addr)
	}
	r.printf("use it:\n  epaxos put colour blue --profile %s\n", r.cluster.Layout.Profile)
	<-ctx.Done()
}

func (r *run) close() error {
	var errs []error
	for _, client := range r.clients {
		if client != nil {
			errs = append(errs, client.Close())
		}
	}
	if r.cluster != nil {
		errs = append(errs, r.cluster.Close())
	}
	if r.tracer != nil {
		errs = append(errs, r.tracer.close())
	}
	return errors.Join(errs...)
}
