package main

import (
	"context"
	"fmt"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/internal/demo"
)

func demoCommand(sh *shell) *cobra.Command {
	o := demo.Options{Out: sh.out}
	var kill string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a cluster with clients in this process and measure what they see",
		Long: `Runs replicas and clients of several regions in this process, over QUIC on loopback, with real directories
and an emulated wide-area network, and measures what each region's clients see: latency, throughput, how many
commands took the fast path, and the longest time without an answer.

The clients of a region use its replica and move on to the next one if it dies. Each sends its next operation
when the last one has ended. What counts is every operation that begins within --duration; before that the
cluster warms up for a second.

Round trips (--rtt) are those of wan3, wan5 or wan7 (VA CA OR JP EU SP SG, measured between regions of
Amazon's cloud; as many sites as replicas), those of a file {"sites": ["A", …], "rtt_ms": [[0, 80, …], …]},
or "none" for bare sockets, which is the setting for throughput.

With --commands the run lasts as long as those take. Ten times on the way it prints what the cluster needs to
remember them: memory in use after a collection, the largest data directory, the longest log.

The exit code is 1 if an operation failed away from a killed replica, or if what --verify asks for was not
proved.`,
		Example: "  epaxos demo\n" +
			"  epaxos demo --replicas 3 --duration 5s --verify\n" +
			"  epaxos demo --conflict 30 --kill 2@5s --json report.json\n" +
			"  epaxos demo --rtt none --writes 100 --clients 100\n" +
			"  epaxos demo --replicas 3 --rtt none --writes 100 --clients 200 --commands 5000000 --progress-json",
		Args: cobra.NoArgs, GroupID: groupCluster,
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Replicas, "replicas", demo.ReplicasDefault, "number of replicas: 3, 5 or 7")
	flags.DurationVar(&o.Duration, "duration", demo.DurationDefault, "length of the measured window")
	flags.IntVar(&o.Commands, "commands", 0, "run until so many operations were begun, instead of for a time")
	flags.BoolVar(&o.ProgressJSON, "progress-json", false, "with --commands, lines of progress as JSON")
	flags.IntVar(&o.Clients, "clients", demo.ClientsDefault, "clients in each region")
	flags.Float64Var(&o.Conflict, "conflict", 0, "percent of operations on one key shared by all regions")
	flags.Float64Var(&o.Writes, "writes", demo.WritesDefault, "percent of operations that are puts; the others are gets")
	flags.StringVar(&o.RTT, "rtt", demo.RTTDefault, "round trips: wan3, wan5, wan7, a file, or none")
	flags.StringVar(&kill, "kill", "", "crash a replica, as REPLICA@TIME from the start of the window, such as 2@5s")
	flags.BoolVar(&o.Verify, "verify", false, "check that the history is linearizable and that the replicas agree")
	flags.StringVar(&o.JSON, "json", "", "file to write the report to, as JSON")
	flags.StringVar(&o.Trace, "trace", "", "file to write every message and record of the replicas to, with times")
	flags.BoolVar(&o.Keep, "keep", false, "leave the cluster running at the end, until interrupted")
	flags.Uint64Var(&o.Seed, "seed", 1, "seed of what the clients draw")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		if kill != "" {
			k, err := demo.ParseKill(kill)
			if err != nil {
				return usage("--%v", err)
			}
			o.Kill = &k
		}
		if err := o.Validate(); err != nil {
			return usage("%v", err)
		}
		info, _ := debug.ReadBuildInfo()
		o.Version = versionOf(info)
		tuneMemory(sh.env)
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		if _, err := demo.Run(ctx, o); err != nil {
			return &failure{code: exitFailed, err: fmt.Errorf("demo: %w", err)}
		}
		return nil
	})
	return cmd
}
