package main

import (
	"slices"

	"github.com/spf13/cobra"
)

func rootCommand(sh *shell) *cobra.Command {
	root := &cobra.Command{
		Use:   "epaxos",
		Short: "A replicated key-value service without a leader",
		Long: `A replicated key-value service without a leader. Any replica accepts a write, and commands that do not
interfere are decided in one round trip.

` + exitHelp,
		Args:          cobra.NoArgs,
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(sh.in)
	root.SetOut(sh.out)
	root.SetErr(sh.err)
	root.CompletionOptions.DisableDefaultCmd = true // there is a better one
	root.AddGroup(
		&cobra.Group{ID: groupCluster, Title: "Run a cluster:"},
		&cobra.Group{ID: groupData, Title: "Read and write:"},
		&cobra.Group{ID: groupCoordination, Title: "Coordinate:"},
	)
	root.AddCommand(
		demoCommand(sh), experimentCommand(sh), benchCommand(sh), initCommand(sh), serveCommand(sh), statusCommand(sh),
		memberCommand(sh), snapshotCommand(sh),
		getCommand(sh), rangeCommand(sh), putCommand(sh), appendCommand(sh), deleteCommand(sh), incrementCommand(sh),
		addCommand(sh), compareAndSetCommand(sh), txnCommand(sh), forgetCommand(sh), cutCommand(sh), sessionCommand(sh),
		watchCommand(sh), leaseCommand(sh), lockCommand(sh), electCommand(sh),
		shellCommand(sh), completionCommand(sh), versionCommand(sh),
	)
	for _, cmd := range root.Commands() {
		if slices.Contains(coordination, cmd.Name()) {
			cmd.GroupID = groupCoordination
		}
	}
	completions(sh, root)
	helpOf(root)
	return root
}

// Groups of commands in the help.
const (
	groupCluster = "cluster"
	groupData    = "data"

	groupCoordination = "coordination"
)

// coordination are the commands for programs that work together.
var coordination = []string{"watch", "lease", "lock", "elect", "session"}
