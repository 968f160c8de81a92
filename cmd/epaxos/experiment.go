package main

import (
	"context"
	"fmt"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/264bc8cf/epaxos/internal/experiment"
	"github.com/264bc8cf/epaxos/internal/live"
)

func experimentCommand(sh *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "experiment",
		Short: "Measure EPaxos beside the other protocols of the Paxos family, in virtual time or for real",
		Long: `Measures EPaxos* beside Basic Paxos, Multi-Paxos, Flexible Paxos and Fast Paxos.

In virtual time (--mode sim) the replica that serves runs on an emulated network, minutes of simulated time for each
second of yours, and the same options give the same results.csv, results.json and report.html, byte for byte. For real
(--mode real) whole replicas run, with QUIC, certificates and disks; only the round trips between them are emulated, and
a minute takes a minute. docs/experiments.md tells the method.`,
		Args: cobra.NoArgs, GroupID: groupCluster,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, name := range experiment.Names() {
		cmd.AddCommand(oneExperiment(sh, name))
	}
	return cmd
}

// experimentFlags are what has to be parsed after the flags were read.
type experimentFlags struct {
	mode, replicas, conflicts, zipf, clients string
}

func oneExperiment(sh *shell, name string) *cobra.Command {
	o, err := experiment.Defaults(name)
	if err != nil {
		panic(err) // Names has just listed it
	}
	var f experimentFlags
	cmd := &cobra.Command{
		Use: name, Short: experiment.Describe(name), Args: cobra.NoArgs,
		Example: fmt.Sprintf("  epaxos experiment %s --out %s\n  epaxos experiment %s --replicas 5 --duration 60s "+
			"--repeat 5", name, name, name),
	}
	defineExperimentFlags(cmd.Flags(), &o, &f)
	var quiet bool
	cmd.Flags().BoolVar(&quiet, "quiet", false, "show no progress")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		if err := f.into(&o); err != nil {
			return usage("%v", err)
		}
		if err := f.choose(cmd.Flags(), &o); err != nil {
			return usage("%v", err)
		}
		if err := o.Validate(); err != nil {
			return usage("%v", err)
		}
		info, _ := debug.ReadBuildInfo()
		o.Version = versionOf(info)
		o.Terminal = sh.out
		if !quiet {
			o.Progress = sh.err
		}
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		if _, err := experiment.Run(ctx, o); err != nil {
			return &failure{code: exitFailed, err: fmt.Errorf("experiment %s: %w", name, err)}
		}
		if o.Out != "" {
			fmt.Fprintf(sh.out, "\nresults.csv, results.json, report.html and run.json are in %s\n", o.Out)
		}
		return nil
	})
	return cmd
}

func defineExperimentFlags(flags *pflag.FlagSet, o *experiment.Options, f *experimentFlags) {
	flags.StringVar(&o.Protocols, "protocols", o.Protocols,
		"epaxos, epaxos-f1e1, epaxos-all, basicpaxos, multipaxos, flexiblepaxos-q2, fastpaxos, and multipaxos@SITE")
	flags.StringVar(&f.mode, "mode", "sim",
		"sim: virtual time; real: real replicas, sockets and disks, with emulated round trips, on the clock on the wall; "+
			"both: one beside the other")
	flags.StringVar(&f.replicas, "replicas", list(o.Replicas), "numbers of replicas, such as 3,5,7")
	if len(o.Conflicts) > 0 {
		flags.StringVar(&f.conflicts, "conflicts", list(o.Conflicts),
			"percent of requests on one shared key, such as 0,2,100")
	}
	if o.Name == "conflict-rate" {
		flags.StringVar(&f.zipf, "zipf", "", "exponents of popularity, such as 0.5,0.99,1.2: all requests on shared keys")
		flags.IntVar(&o.Keys, "keys", o.Keys, "how many shared keys --zipf draws from")
	}
	if o.Name == "scale" {
		flags.StringVar(&f.clients, "clients", list(o.Clients),
			"clients in each of five regions, such as 1,100,2000; none for none")
	}
	if o.Name == "slow-replica" {
		flags.DurationVar(&o.SlowBy, "slow", o.SlowBy, "how much longer each turn of the slow replica takes")
	}
	flags.StringVar(&o.RTT, "rtt", o.RTT,
		"round trips: sosp13, nsdi21, cloud5, aws7, gcp7, wan3, wan5, wan7, uniform:MS, or a file")
	flags.StringVar(&o.Load, "load", o.Load, "in each region: open:RATE (requests a second, Poisson) or closed:CLIENTS")
	flags.Float64Var(&o.Writes, "writes", o.Writes, "percent of requests that are puts; the others are gets")
	flags.Float64Var(&o.Adds, "adds", o.Adds, "percent of requests that add to counters")
	flags.Float64Var(&o.Txns, "txns", o.Txns, "percent of requests that are transactions of two puts")
	flags.IntVar(&o.Value, "value", o.Value, "bytes of a value")
	flags.DurationVar(&o.Warmup, "warmup", o.Warmup, "simulated time before anything counts")
	flags.DurationVar(&o.Duration, "duration", o.Duration, "simulated time that counts")
	flags.IntVar(&o.Repeat, "repeat", o.Repeat,
		"runs of each point, with seeds of their own; tables then show 95 % confidence intervals")
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "seed of everything that is drawn")
	flags.DurationVar(&o.Emulation.Sync, "sync", o.Emulation.Sync, "time that a disk takes to sync")
	flags.DurationVar(&o.Emulation.CPU, "cpu", o.Emulation.CPU, "time that a message costs its sender and its receiver")
	flags.Float64Var(&o.Emulation.Jitter, "jitter", o.Emulation.Jitter, "percent by which a frame may take longer")
	if o.Name != "loss" {
		flags.Float64Var(&o.Emulation.Loss, "loss", o.Emulation.Loss, "percent of frames that are lost and sent again")
	}
	flags.IntVar(&o.Tuning.Window, "epaxos-window", 0,
		"commands on one key that a replica of EPaxos has in flight; 0 is what ships")
	flags.DurationVar(&o.Tuning.FastPathWait, "epaxos-fast-path-wait", 0,
		"how long a slow quorum of EPaxos waits for a fast one; 0 is what ships")
	flags.DurationVar(&o.Tuning.DisputedWait, "epaxos-disputed-wait", 0,
		"the same where one answer has differed already, which by default ends the wait")
	flags.IntVar(&o.Tuning.Gather, "epaxos-gather", 0,
		"requests that wait for one key and go in one command of EPaxos; 0 is what ships, 1 none")
	flags.IntVar(&o.Workers, "workers", 0, "runs at a time; 0 is one for each processor")
	flags.StringVar(&o.Out, "out", "", "directory for results.csv, results.json, report.html and run.json")
}

// choose takes the mode. What only virtual time emulates must not be asked of the real thing.
func (f *experimentFlags) choose(flags *pflag.FlagSet, o *experiment.Options) error {
	switch f.mode {
	case "sim":
		return nil
	case "both":
		o.Real, o.Both = live.Run, true
		return nil
	case "real":
	default:
		return fmt.Errorf("--mode %s: take sim, real or both", f.mode)
	}
	for _, name := range []string{"sync", "cpu", "workers"} {
		if flags.Changed(name) {
			return fmt.Errorf("--%s is of --mode sim: real disks and processors take what they take", name)
		}
	}
	o.Real, o.Emulation.Sync, o.Emulation.CPU = live.Run, 0, 0
	return nil
}

// into parses lists into the options.
func (f *experimentFlags) into(o *experiment.Options) error {
	if o.Repeat < 1 || o.Repeat > 1000 {
		return fmt.Errorf("--repeat %d: want 1 to 1000", o.Repeat)
	}
	numbers := func(flag, text string) ([]float64, error) {
		if text == "" || text == "none" {
			return nil, nil
		}
		all, err := experiment.ParseNumbers(text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		return all, nil
	}
	whole := func(flag, text string) ([]int, error) {
		all, err := numbers(flag, text)
		var ints []int
		for _, v := range all {
			if v != float64(int(v)) {
				return nil, fmt.Errorf("--%s: %v is not whole", flag, v)
			}
			ints = append(ints, int(v))
		}
		return ints, err
	}
	var err error
	if o.Replicas, err = whole("replicas", f.replicas); err != nil {
		return err
	}
	if len(o.Replicas) == 0 {
		return fmt.Errorf("--replicas: name at least one number")
	}
	if o.Conflicts, err = numbers("conflicts", f.conflicts); err != nil {
		return err
	}
	if o.Zipf, err = numbers("zipf", f.zipf); err != nil {
		return err
	}
	o.Clients, err = whole("clients", f.clients)
	return err
}

func list[T int | float64](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = fmt.Sprint(v)
	}
	return strings.Join(texts, ",")
}
