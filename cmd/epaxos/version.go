package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/internal/wire"
)

func versionCommand(sh *shell) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Tell which version this is and which formats it speaks",
		Args:  cobra.NoArgs,
		RunE: does(func(context.Context, []string) error {
			info, _ := debug.ReadBuildInfo()
			fmt.Fprintf(sh.out, "epaxos %s\nspeaks and writes formats %d to %d\nbuilt with %s for %s/%s\n",
				versionOf(info), wire.FormatMin, wire.Format, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		}),
	}
}

// versionOf names the module's version and the commit that it was built from, as far as the Go
// toolchain recorded them.
func versionOf(info *debug.BuildInfo) string {
	if info == nil {
		return "unknown"
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	var commit, state string
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			commit = setting.Value
		case "vcs.modified":
			if setting.Value == "true" {
				state = ", changed since"
			}
		}
	}
	// A pseudo-version holds the commit already.
	if commit == "" || strings.Contains(version, commit[:min(12, len(commit))]) {
		return version
	}
	return fmt.Sprintf("%s, commit %s%s", version, commit, state)
}
