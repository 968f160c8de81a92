package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// connectionFlags are those that all clients of a cluster have. In help they come after a command's own.
var connectionFlags = []string{"profile", "endpoint", "timeout"}

// helpOf sets how all commands show their usage: what is their own first, what all have in common last.
func helpOf(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		_, err := fmt.Fprint(cmd.OutOrStderr(), usageText(cmd))
		return err
	})
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if before, after, found := strings.Cut(cmd.Long, exitHelp); found {
			cmd.Long = strings.TrimSpace(before) + strings.TrimRight("\n\n"+strings.TrimSpace(after), "\n")
			cmd.Annotations = map[string]string{exitsAnnotation: ""}
		}
	}
	walk(root)
}

// exitsAnnotation marks commands whose help ends with the exit codes.
const exitsAnnotation = "epaxos-exits"

func usageText(cmd *cobra.Command) string {
	var text strings.Builder
	section := func(title, body string) {
		if body = strings.Trim(body, "\n"); body != "" {
			fmt.Fprintf(&text, "\n%s:\n%s\n", title, strings.TrimRight(body, "\n"))
		}
	}
	line := "  " + cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		line = "  " + cmd.CommandPath() + " COMMAND"
	}
	fmt.Fprintf(&text, "Usage:\n%s\n", line)
	if len(cmd.Aliases) > 0 {
		section("Aliases", "  "+cmd.NameAndAliases())
	}
	section("Examples", cmd.Example)
	for _, group := range cmd.Groups() {
		section(strings.TrimSuffix(group.Title, ":"), commandsOf(cmd, group.ID))
	}
	title := "Commands"
	if len(cmd.Groups()) > 0 {
		title = "And"
	}
	section(title, commandsOf(cmd, ""))
	if !cmd.HasAvailableSubCommands() {
		own, common := pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if cmd.Flags().Lookup("profile") != nil && slices.Contains(connectionFlags, f.Name) {
				common.AddFlag(f)
			} else {
				own.AddFlag(f)
			}
		})
		section("Flags", own.FlagUsages())
		section("Connection", common.FlagUsages())
	}
	if _, exits := cmd.Annotations[exitsAnnotation]; exits {
		title, codes, _ := strings.Cut(exitHelp, ":\n")
		section(title, codes)
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&text, "\n\"%s COMMAND --help\" tells more about a command.\n", cmd.CommandPath())
	}
	return text.String()
}

// commandsOf lists the commands below one that are in a group, with a line on each.
func commandsOf(cmd *cobra.Command, group string) string {
	var text strings.Builder
	for _, sub := range cmd.Commands() {
		if sub.GroupID == group && (sub.IsAvailableCommand() || sub.Name() == "help") {
			fmt.Fprintf(&text, "  %-*s  %s\n", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
	return text.String()
}
