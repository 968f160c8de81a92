package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"

	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/bench"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/workload"
	"github.com/264bc8cf/epaxos/server"
)

// benchmark is one run of `epaxos bench`.
type benchmark struct {
	connection
	more        []string // endpoints
	load        string
	at          string
	spec        workload.Spec
	consistency string
	unnamed     bool
	connections int
	warmup      time.Duration
	duration    time.Duration
	seed        uint64
	quiet       bool
	hdr, out    string

	reached []string       // endpoints that the clients begin with
	status  *server.Status // of one replica, before the load
	regions []benchRegion
	clients []*clients.Client // to be closed
}

// benchRegion is the clients that use one replica, or the nearest.
type benchRegion struct {
	name    string
	replica clients.ReplicaID // 0 is the nearest
	addr    string            // of that replica
}

func benchCommand(sh *shell) *cobra.Command {
	b := &benchmark{connection: connection{sh: sh}}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a running cluster and measure what clients see",
		Long: `Puts a workload on a running cluster and measures what its clients see: latency, throughput, the share of
commands that took the fast path, and what became of every operation that got no answer.

Workloads are those of "epaxos experiment": --conflict percent of the operations are on one key that all regions
share, the others on a million keys of their own region; with --zipf or --uniform those others draw from --keys
keys that all regions share. An open loop (--load open:RATE) is a Poisson process, and latency counts from the
time at which an operation was due, so that a cluster that stands still is charged for all that it kept waiting.
A closed loop (--load closed:N) is N clients, each of which sends its next operation when the last was answered.

A region is clients that use one replica: --at each has one for each voter, --at 1,oregon for those replicas,
and --at nearest has all clients use the replica nearest to this process. --load is that of each region.

An interrupt ends the load, waits for the answers and reports; a second one does not wait. Operations whose
outcome is unknown at the end are asked for, if they have names (not with --no-session).` + clientHelp,
		Example: "  epaxos bench --profile cluster/client.yaml --load closed:64\n" +
			"  epaxos bench --at each --load open:200 --conflict 10 --duration 30s --out results\n" +
			"  epaxos bench --writes 50 --zipf 0.99 --keys 100000 --value 256 -o json --hdr latency.hgrm",
		Args: cobra.NoArgs, GroupID: groupCluster,
	}
	b.addBenchFlags(cmd)
	cmd.RunE = does(func(ctx context.Context, _ []string) error { return b.run(ctx) })
	return cmd
}

const (
	benchWarmup   = 2 * time.Second
	benchDuration = 10 * time.Second
	benchKeys     = 100_000
	benchValue    = 16
)

func (b *benchmark) addBenchFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	b.addFlags(cmd, timeoutDefault)
	flags.Lookup("timeout").Usage = "time for each operation, and for connecting"
	flags.StringSliceVar(&b.more, "endpoints", nil, "the same as --endpoint, separated by commas")
	flags.StringVar(&b.load, "load", "closed:16",
		"in each region: open:RATE (operations a second, Poisson) or closed:CLIENTS")
	flags.StringVar(&b.at, "at", "nearest", "where clients are: nearest, each, or replicas by number or name")
	flags.Float64Var(&b.spec.Conflict, "conflict", 0, "percent of operations on one key that all regions share")
	flags.Float64Var(&b.spec.Zipf, "zipf", 0, "exponent of the popularity of keys that all regions share")
	flags.BoolVar(&b.spec.Shared, "uniform", false, "keys that all regions share, each as popular as any other")
	flags.IntVar(&b.spec.Keys, "keys", benchKeys, "how many keys --zipf and --uniform draw from")
	flags.Float64Var(&b.spec.Writes, "writes", 100, "percent of operations that are puts; what is left are gets")
	flags.Float64Var(&b.spec.Adds, "adds", 0, "percent of operations that add to counters")
	flags.Float64Var(&b.spec.Txns, "txns", 0, "percent of operations that are transactions of two puts")
	flags.IntVar(&b.spec.Value, "value", benchValue, "bytes of a value")
	flags.StringVar(&b.consistency, "consistency", "linearizable", "of gets: linearizable, session or stale")
	flags.BoolVar(&b.unnamed, "no-session", false, "do not name writes: cheaper, and what is unknown stays so")
	flags.IntVar(&b.connections, "connections", 1, "connections to each replica from each region")
	flags.DurationVar(&b.warmup, "warmup", benchWarmup, "time before anything counts")
	flags.DurationVar(&b.duration, "duration", benchDuration, "time that counts")
	flags.Uint64Var(&b.seed, "seed", 1, "seed of what clients ask for")
	flags.BoolVar(&b.quiet, "quiet", false, "no line each second")
	flags.StringVar(&b.hdr, "hdr", "", "`file` for the distribution, in the text form of HdrHistogram")
	flags.StringVar(&b.out, "out", "",
		"`directory` for results.csv, results.json, report.html and run.json, as of experiments")
}

// check completes and validates what does not need the cluster.
func (b *benchmark) check() (bootstrap.Access, error) {
	load, err := workload.ParseLoad(b.load)
	if err != nil {
		return bootstrap.Access{}, usage("--load: %v", err)
	}
	b.spec.Load = load
	b.endpoints = append(b.endpoints, b.more...)
	if err := b.spec.Validate(); err != nil {
		return bootstrap.Access{}, usage("%v", err)
	}
	switch {
	case consistencies[b.consistency] == 0 && b.consistency != "linearizable":
		return bootstrap.Access{}, usage("--consistency %q: need linearizable, session or stale", b.consistency)
	case b.connections < 1 || b.connections > benchConnectionsMax:
		return bootstrap.Access{}, usage("--connections %d: need 1 to %d", b.connections, benchConnectionsMax)
	case b.warmup < 0 || b.duration <= 0:
		return bootstrap.Access{}, usage("--warmup %v, --duration %v: times must not be negative, and the duration positive",
			b.warmup, b.duration)
	}
	return b.connection.check()
}

const (
	benchConnectionsMax = 64
	// benchOpenMax is how many operations of an open loop a connection has under way: far above what a cluster that
	// keeps up has, and so that one that does not keep up is not waited for, but measured.
	benchOpenMax = 1 << 16
)

func (b *benchmark) run(ctx context.Context) error {
	access, err := b.check()
	if err != nil {
		return err
	}
	b.reached = access.Endpoints
	defer b.close()
	if err := b.locate(ctx, access); err != nil {
		return err
	}
	config := bench.Config{Load: b.spec.Load, Warmup: b.warmup, Duration: b.duration, Drain: b.timeout}
	for i := range b.regions {
		region, err := b.connect(ctx, access, i)
		if err != nil {
			return err
		}
		config.Regions = append(config.Regions, region)
	}
	if !b.quiet {
		config.Live = b.live
		fmt.Fprintf(b.sh.err, "%s\n", b.describe())
	}
	ctx, operations, stop := interrupts(ctx)
	defer stop()
	config.Operations = operations
	began := time.Now()
	outcome := bench.Run(ctx, config)
	resolved := bench.Resolved{Unknown: outcome.Total.Unknown}
	if resolved.Unknown > 0 {
		asking, cancel := context.WithTimeout(operations, b.timeout)
		resolved = outcome.Resolve(asking)
		cancel()
	}
	return b.report(outcome, resolved, time.Since(began))
}

// interrupts ends the first context at the first interrupt and the second at the second.
func interrupts(parent context.Context) (load, operations context.Context, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	load, endLoad := context.WithCancel(parent)
	operations, endOperations := context.WithCancel(context.WithoutCancel(parent))
	go func() {
		for _, end := range []context.CancelFunc{endLoad, endOperations} {
			select {
			case <-signals:
				end()
			case <-operations.Done():
			}
		}
	}()
	return load, operations, func() {
		signal.Stop(signals)
		endLoad()
		endOperations()
	}
}

// dial connects one client.
func (b *benchmark) dial(
	ctx context.Context, access bootstrap.Access, more ...clients.Option,
) (*clients.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	options := append([]clients.Option{
		clients.WithTLS(access.TLS), clients.WithCluster(access.Cluster), clients.WithName("epaxos bench"),
		clients.WithTimeout(b.timeout),
	}, more...)
	if b.unnamed {
		options = append(options, clients.WithoutSession())
	}
	c, err := clients.Dial(ctx, access.Endpoints, options...)
	if err != nil {
		return nil, &failure{code: exitUnavailable, err: fmt.Errorf("reach the cluster at %s: %w",
			strings.Join(access.Endpoints, ", "), err)}
	}
	b.clients = append(b.clients, c)
	return c, nil
}

func (b *benchmark) close() {
	var closing sync.WaitGroup
	for _, c := range b.clients {
		closing.Go(func() { c.Close() }) //nolint:errcheck // every answer is here already
	}
	closing.Wait()
}

// locate finds out who the replicas are, and where clients are to be.
func (b *benchmark) locate(ctx context.Context, access bootstrap.Access) error {
	c, err := b.dial(ctx, access)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if b.status, err = ask(asking, c, 0); err != nil {
		return err
	}
	voters := b.status.Members.Voters
	switch b.at {
	case "nearest":
		b.regions = []benchRegion{{name: "nearest"}}
		return nil
	case "each":
		for i := range voters {
			b.regions = append(b.regions, regionOf(&voters[i]))
		}
		return nil
	}
	for _, wanted := range strings.Split(b.at, ",") {
		i := slices.IndexFunc(voters, func(m server.MemberStatus) bool {
			return m.Name == wanted || strconv.FormatUint(uint64(m.Replica), 10) == wanted
		})
		if i < 0 {
			return usage("--at %s: no voter has the number or name %q", b.at, wanted)
		}
		b.regions = append(b.regions, regionOf(&voters[i]))
	}
	return nil
}

// regionOf names a region by its replica, in one word.
func regionOf(m *server.MemberStatus) benchRegion {
	name := cmp.Or(m.Name, fmt.Sprintf("replica%d", m.Replica))
	return benchRegion{name: strings.Join(strings.Fields(name), "_"), replica: m.Replica, addr: m.Addr}
}

// connect makes the clients of a region, and waits until they have reached its replica.
func (b *benchmark) connect(ctx context.Context, access bootstrap.Access, index int) (bench.Region, error) {
	r := b.regions[index]
	stream := func(purpose uint64) *rand.Rand {
		return rand.New(rand.NewPCG(b.seed, uint64(index)<<8|purpose)) //nolint:gosec // it must replay
	}
	region := bench.Region{Name: r.name, Source: workload.NewSource(&b.spec, index,
		workload.Streams{Arrivals: stream(1), Keys: stream(2)})}
	inFlight := benchOpenMax
	if !b.spec.Load.Open() {
		inFlight = b.spec.Load.Clients
	}
	var stay []clients.Option
	if r.addr != "" {
		// The client begins there and stays, so that its session is looked after by the same replica, too: led by another
		// it would interfere with the writes that it names.
		access.Endpoints, stay = []string{r.addr}, []clients.Option{clients.WithPolicy(clients.Policy{Margin: time.Hour})}
	}
	place := bench.Place{Replica: r.replica, Consistency: consistencies[b.consistency]}
	for range min(b.connections, inFlight) {
		c, err := b.dial(ctx, access, append(stay, clients.WithInFlight(inFlight))...)
		if err != nil {
			return region, err
		}
		reaching, cancel := context.WithTimeout(ctx, b.timeout)
		_, err = ask(reaching, c, r.replica)
		cancel()
		if err != nil {
			return region, fmt.Errorf("reach %s: %w", r.name, err)
		}
		region.Targets = append(region.Targets, bench.Client(c, place))
	}
	return region, nil
}
