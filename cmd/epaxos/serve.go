package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/server"
)

// drainTime is how long requests under way may take when a replica is told to end.
const drainTime = 5 * time.Second

// configEnv names the file where --config does not.
const configEnv = "EPAXOS_CONFIG"

func serveCommand(sh *shell) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run one replica",
		Long: `Runs one replica until it is told to end (SIGTERM, SIGINT) or must stop because of a fault.

Every setting of the file may also be given as a flag or in the environment (EPAXOS_LIMITS_QUEUE is
--limits-queue); a flag beats the environment, which beats the file. The name of the file itself may stand
in EPAXOS_CONFIG. docs/configuration.md lists the settings.

Once the replica is up it prints one line with its address; the log goes to standard error. When told to end
it sends its clients to other replicas, finishes what is under way (at most 5s), saves, and exits with 0; a
second signal ends it at once, which loses nothing that was acknowledged. After a fault it exits with 1 and
says what to do; with 6 if it must never be started again.

Garbage is collected less often than Go's default as long as memory allows; GOGC and GOMEMLIMIT have their
usual meaning if set.`,
		Example: "  epaxos serve --config cluster/n1/config.yaml\n" +
			"  epaxos serve --config cluster/n1/config.yaml --log-level debug --log-format json",
		Args: cobra.NoArgs, GroupID: groupCluster,
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `file`, as init writes it (default $"+configEnv+")")
	config.AddFlags(cmd.Flags())
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		if file == "" {
			file, _ = sh.env(configEnv)
		}
		settings, err := config.Load(config.Source{File: file, Flags: cmd.Flags(), Env: sh.env})
		switch {
		case err != nil && file == "":
			return fmt.Errorf("no configuration file is named, as --config or in %s, and without one:\n%w", configEnv, err)
		case err != nil:
			return fmt.Errorf("cannot use the configuration:\n%w", err)
		}
		tuneMemory(sh.env)
		return serve(ctx, sh, settings)
	})
	return cmd
}

func serve(ctx context.Context, sh *shell, settings config.Config) error {
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer restore()
	configuration := server.FromSettings(settings)
	configuration.Logger = logger(sh, settings.Log)
	replica, err := server.Open(configuration, execution.KV{})
	if err != nil {
		return explained(fmt.Errorf("replica %d does not start: %w", settings.Replica, err))
	}
	fmt.Fprintf(sh.out, "replica %d of cluster %s listens at %s\n",
		settings.Replica, settings.Cluster, settings.Listen)
	select {
	case <-replica.Done():
		return explained(fmt.Errorf("replica %d stopped: %w", settings.Replica, replica.Close()))
	case <-ctx.Done():
	}
	restore() // from here on a second signal ends the process at once
	configuration.Logger.Info("ending", "drain", drainTime)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := replica.Drain(drain); err != nil {
		configuration.Logger.Warn("clients were still waiting", "error", err)
	}
	if err := replica.Close(); err != nil {
		return explained(fmt.Errorf("replica %d did not end cleanly: %w", settings.Replica, err))
	}
	return nil
}

func logger(sh *shell, settings config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: settings.Level}
	if settings.Format == "json" {
		return slog.New(slog.NewJSONHandler(sh.err, options))
	}
	return slog.New(slog.NewTextHandler(sh.err, options))
}

// explained adds what an operator can do about a fault.
func explained(err error) error {
	for _, known := range advice {
		if !errors.Is(err, known.fault) {
			continue
		}
		err = fmt.Errorf("%w\n%s", err, known.text)
		if known.retired {
			return &failure{code: exitRetired, err: err}
		}
		return err
	}
	return err
}

const retire = "Do not start it on this directory again, nor on a copy: it may have forgotten what it promised. " +
	"Keep the directory for analysis, and put a new replica in its place, by \"epaxos member replace ID --addr " +
	"HOST:PORT\" where \"epaxos init\" was run. The others go on meanwhile, as long as a quorum of them is up."

var advice = []struct {
	fault   error
	text    string
	retired bool // the replica must never be started again
}{
	{server.ErrForgot, "What to do: " + retire, true},
	{server.ErrDamaged, "What to do: check the disk. " + retire, true},
	{server.ErrCondemned, "What to do: " + retire, true},
	{server.ErrForeign, "What to do: correct dir, or replica, cluster and incarnation, in the configuration; each " +
		"replica has a directory and a configuration of its own.", false},
	{server.ErrFormat, "What to do: start the version of epaxos that wrote the directory; nothing was changed.", false},
	{server.ErrOtherMembers, "What to do: correct members in the configuration: those of the first epoch, whoever the " +
		"members are now. Nothing was changed.", false},
	{server.ErrRemoved, "What to do: nothing. Its directory is of no more use; a replica in its place gets a new one, " +
		"by \"epaxos member add\".", true},
	{server.ErrEmpty, "What to do: mount the disk that holds it, or correct dir. A new cluster is made by " +
		"\"epaxos init\"; an empty directory in the place of a lost one would forget what the replica promised.", false},
	{server.ErrNoSurvivor, "What to do: take the directory of another replica. Nothing was changed.", false},
	{server.ErrNoSpace, "What to do: free disk space, or give the directory a larger disk, and start again; nothing " +
		"is lost.", false},
	{syscall.EADDRINUSE, "What to do: end the process that uses the address, or correct listen. Is this replica " +
		"running already?", false},
	{syscall.EADDRNOTAVAIL, "What to do: correct listen; the address is not one of this machine.", false},
}
