package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
)

const cutHelp = `A cut is the state of the cluster at one moment. All replicas keep it readable for a while: get
and range with --cut show it, however often, in however many pages, wherever they read. What was answered before
the cut was created is in it; nothing that was asked for later is.

Each replica keeps 16 cuts at most, each for its time, and gives them up sooner when it restarts, when its disk
gets full, or after 1 GiB of writes. As long as one replica has a cut, reads find it.`

func cutCommand(sh *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cut", Short: "Keep the state of one moment, to read it in peace",
		Long: cutHelp, GroupID: groupData,
		Example: "  C=$(epaxos cut create --ttl 5m -o raw)\n" +
			"  epaxos range --prefix orders/ --all --cut $C\n" +
			"  epaxos cut release $C",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(cutCreate(sh), cutRelease(sh))
	return cmd
}

// shownCut is what a command on a cut tells, as JSON.
type shownCut struct {
	Cut   string `json:"cut"`
	State string `json:"state"` // kept or released
	TTLMS int64  `json:"ttl_ms,omitempty"`
}

func (c *connection) showCut(s *shownCut) error {
	switch c.output {
	case formJSON:
		return printJSON(c.sh.out, s)
	case formRaw:
		_, err := fmt.Fprintln(c.sh.out, s.Cut)
		return err
	default:
	}
	t := newTable(c.sh.out, "CUT", "STATE")
	t.row(s.Cut, s.State)
	return t.flush()
}

func cutCreate(sh *shell) *cobra.Command {
	var ttl time.Duration
	cmd := sessionAct(sh, &cobra.Command{Use: "create", Short: "Make a cut of this moment", Args: cobra.NoArgs},
		func(ctx context.Context, c *connection, client *clients.Client, _ []string) error {
			if ttl < time.Second || ttl > clients.CutTTLMax {
				return usage("--ttl %v: need 1s to %v", ttl, clients.CutTTLMax)
			}
			cut, err := client.Cut(ctx, ttl)
			if err != nil {
				return err
			}
			return c.showCut(&shownCut{Cut: cut.ID().String(), State: "kept", TTLMS: ttl.Milliseconds()})
		})
	cmd.Flags().DurationVar(&ttl, "ttl", 10*time.Minute, "`time` for which the replicas keep it")
	return cmd
}

func cutRelease(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "release CUT", Short: "Tell the replicas that a cut is needed no longer", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *connection, client *clients.Client, args []string) error {
		id, err := clients.ParseCutID(args[0])
		if err != nil {
			return usage("%v", err)
		}
		if err := client.OpenCut(id).Release(ctx); err != nil {
			return err
		}
		return c.showCut(&shownCut{Cut: id.String(), State: "released"})
	})
}
