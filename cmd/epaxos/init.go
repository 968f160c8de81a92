package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/internal/bootstrap"
)

func initCommand(sh *shell) *cobra.Command {
	var o bootstrap.Options
	var f, e string
	cmd := &cobra.Command{
		Use:   "init --dir DIR",
		Short: "Make the keys, configurations and data directories of a new cluster",
		Long: `Makes everything a new cluster needs in one directory, at once or not at all:

  DIR/n1, n2, …    one replica each: config.yaml, tls/ and data/; move it to the replica's machine as it is
  DIR/client.yaml  profile for clients, with its certificate and key in DIR/client
  DIR/authority    the cluster's authority; whoever has its key can issue certificates

Nothing that exists is ever overwritten.`,
		Example: `  epaxos init --dir cluster
  epaxos init --dir cluster --addr a.example:7400 --addr b.example:7400 --addr c.example:7400 \
              --name paris --name tokyo --name lima`,
		Args: cobra.NoArgs, GroupID: groupCluster,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "dir", "", "`directory` to make (required)")
	flags.IntVar(&o.Replicas, "replicas", 3, "`number` of replicas")
	flags.StringVar(&o.Host, "host", bootstrap.HostDefault, "`host` of all replicas")
	flags.IntVar(&o.BasePort, "base-port", bootstrap.BasePortDefault, "replica i listens at UDP `port` base+i")
	flags.StringArrayVar(&o.Addrs, "addr", nil, "`host:port` of one replica, once for each, instead of host and port")
	flags.StringArrayVar(&o.Names, "name", nil, "`site` or region of one replica, once for each")
	flags.StringVar(&f, "f", "auto", "`crashes` that the cluster survives; auto is the largest minority")
	flags.StringVar(&e, "e", "auto", "`crashes` under which one round trip still decides; auto is the most that f allows")
	required(cmd, "dir")
	cmd.MarkFlagsMutuallyExclusive("addr", "host")
	cmd.MarkFlagsMutuallyExclusive("addr", "base-port")
	cmd.RunE = does(func(context.Context, []string) error {
		if len(o.Addrs) > 0 && !flags.Changed("replicas") {
			o.Replicas = len(o.Addrs)
		}
		var err error
		if o.F, err = quorumFlag("f", f); err != nil {
			return err
		}
		if o.E, err = quorumFlag("e", e); err != nil {
			return err
		}
		layout, err := bootstrap.Init(o)
		if err != nil {
			return err
		}
		introduce(sh, o.Dir, layout)
		return nil
	})
	return cmd
}

// quorumFlag reads a number or "auto", which is nil.
func quorumFlag(name, text string) (*int, error) {
	if text == "auto" {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return nil, usage("--%s %q: need a number or auto", name, text)
	}
	return &n, nil
}

// introduce tells what was made and which commands come next, with paths as the user wrote them.
func introduce(sh *shell, dir string, layout bootstrap.Layout) {
	path := func(absolute string) string {
		inside, err := filepath.Rel(layout.Dir, absolute)
		if err != nil {
			return absolute
		}
		return filepath.Join(dir, inside)
	}
	fmt.Fprintf(sh.out, "made cluster %s of %d replicas in %s\n\nrun each of them:\n",
		layout.Cluster, len(layout.Configs), dir)
	for _, config := range layout.Configs {
		fmt.Fprintf(sh.out, "  epaxos serve --config %s\n", path(config))
	}
	fmt.Fprintf(sh.out, "\nand use the cluster:\n  epaxos put colour blue --profile %s\n", path(layout.Profile))
	fmt.Fprintf(sh.out, "\nkeep %s away from the replicas: whoever has its key can issue certificates\n",
		path(layout.Authority))
}

// required marks a flag that this program defined itself.
func required(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagRequired(flag); err != nil {
		panic(err)
	}
}
