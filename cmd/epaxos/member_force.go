package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/server"
)

func memberForceCommand(sh *shell) *cobra.Command {
	var file string
	var yes bool
	cmd := &cobra.Command{
		Use:   "force-new-cluster --config FILE",
		Short: "Go on with one directory, after a quorum is lost for good",
		Long: `For disasters only: when so many replicas are lost for good that the rest can decide nothing any more. Makes
the replica of one surviving directory the only member of its cluster, which goes on from what it has executed.

Run it on the directory of a replica that does not run. First it prints what may be lost, and changes nothing without
--yes. Choose the survivor that has executed most. Afterwards start it with "epaxos serve", and add replicas with
"epaxos member add". NO other old member may ever be started again.`,
		Example: "  epaxos member force-new-cluster --config cluster/n2/config.yaml",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `file` of the surviving replica (required)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	required(cmd, "config")
	cmd.RunE = does(func(context.Context, []string) error {
		settings, err := config.Load(config.Source{File: file})
		if err != nil {
			return fmt.Errorf("cannot use the configuration:\n%w", err)
		}
		survivor, err := server.OpenSurvivor(server.FromSettings(settings), execution.KV{})
		if err != nil {
			return explained(fmt.Errorf("replica %d cannot carry the cluster on: %w", settings.Replica, err))
		}
		return errors.Join(force(sh, survivor, settings, yes), survivor.Close())
	})
	return cmd
}

func force(sh *shell, survivor *server.Survivor, settings config.Config, yes bool) error {
	warn(sh, survivor, settings)
	if !yes {
		return errors.New("nothing was changed: say --yes to do it")
	}
	members, err := survivor.Force()
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "\nreplica %d is the only member of cluster %s, in epoch %d; start it, and add others:\n"+
		"  epaxos serve --config FILE\n  epaxos member add --addr HOST:PORT --endpoint %s\n",
		settings.Replica, settings.Cluster, members.Epoch, told(members.Voters[0].Addr))
	return nil
}

// warn tells what may be lost.
func warn(sh *shell, s *server.Survivor, settings config.Config) {
	fmt.Fprintf(sh.out, "replica %d of cluster %s is a %s in epoch %d, of %d voters\n", settings.Replica,
		settings.Cluster, s.Role, s.Members.Epoch, len(s.Members.Voters))
	if s.Ahead > s.Members.Epoch {
		fmt.Fprintf(sh.out, "it has heard of epoch %d: everything since the end of epoch %d is lost\n", s.Ahead,
			s.Members.Epoch)
	}
	missing := 0
	for _, l := range s.Losses {
		if l.Missing > 0 {
			fmt.Fprintf(sh.out, "  of replica %d: %d commands between %d and %d, heard of and not executed, are given up\n",
				l.Replica, l.Missing, l.From, l.To)
			missing += l.Missing
		}
	}
	if missing == 0 && s.Role == server.RoleVoter {
		fmt.Fprintln(sh.out, "it has executed all that it has heard of")
	}
	fmt.Fprint(sh.out, `
Lost is, too, whatever it has not heard of: writes that were acknowledged to clients by the other replicas
may be gone. Start NO other old member ever again, on no directory and no copy: they could go on by
themselves, as a second cluster of the same name.
`)
}
