package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
)

func snapshotCommand(sh *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Save, verify and restore the state of a cluster",
		Args:  cobra.NoArgs, GroupID: groupCluster,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(snapshotSaveCommand(sh), snapshotVerifyCommand(sh), snapshotRestoreCommand(sh))
	return cmd
}

// savingTimeout is for large states over slow links.
const savingTimeout = time.Hour

func snapshotSaveCommand(sh *shell) *cobra.Command {
	c := &connection{sh: sh}
	var replica uint32
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Copy the state of a cluster that serves",
		Long: `Copies the state of the cluster into a file, as of one cut of the order of all commands: whatever was answered
before is in it. The cluster serves meanwhile. The state is read from one replica, the nearest unless another is named,
which keeps it readable until the copy is done. The file has its name only once it is whole, synced and checked.` +
			clientHelp,
		Example: "  epaxos snapshot save backup.snapshot --profile cluster/client.yaml",
		Args:    cobra.ExactArgs(1),
	}
	c.addFlags(cmd, savingTimeout)
	c.dialTimeout = changeTimeout
	cmd.Flags().Uint32Var(&replica, "replica", 0, "`id` of the replica to read; 0 is the nearest")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return c.with(ctx, func(ctx context.Context, client *clients.Client) error {
			info, err := saveSnapshot(ctx, client, epaxos.ReplicaID(replica), args[0])
			if err != nil {
				return err
			}
			return showSnapshot(c.sh, c.output, args[0], info)
		})
	})
	return cmd
}

func saveSnapshot(
	ctx context.Context, client *clients.Client, replica epaxos.ReplicaID, path string,
) (bootstrap.SnapshotInfo, error) {
	file, err := bootstrap.CreateSnapshot(path)
	if err != nil {
		return bootstrap.SnapshotInfo{}, err
	}
	if err := client.Snapshot(ctx, replica, file.Add); err != nil {
		return bootstrap.SnapshotInfo{}, errors.Join(err, file.Abort())
	}
	if _, err := file.Finish(); err != nil {
		return bootstrap.SnapshotInfo{}, err
	}
	return bootstrap.ReadSnapshot(path, nil)
}

func snapshotVerifyCommand(sh *shell) *cobra.Command {
	output := formTable
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Read a whole snapshot and check it",
		Long:  "Reads a snapshot against its checksums and counts, and tells what is in it. Exits with 1 if it is not sound.",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&output, "output", "o", formTable, "`form` of the output: table or json")
	cmd.RunE = does(func(_ context.Context, args []string) error {
		info, err := bootstrap.ReadSnapshot(args[0], nil)
		if err != nil {
			return err
		}
		return showSnapshot(sh, output, args[0], info)
	})
	return cmd
}

func snapshotRestoreCommand(sh *shell) *cobra.Command {
	var o bootstrap.Options
	cmd := &cobra.Command{
		Use:   "restore FILE --out DIR --addr HOST:PORT …",
		Short: "Make a new cluster with the state of a snapshot",
		Long: `Makes a new cluster, as "epaxos init" does, whose every replica begins with the state of a snapshot. It has
an id, an authority and certificates of its own: replicas and clients of the old cluster are none of it. Sessions of
clients are not taken over, and keys under a lease end with it.`,
		Example: "  epaxos snapshot restore backup.snapshot --out restored --addr a.example:7400 --addr b.example:7400 \\\n" +
			"      --addr c.example:7400",
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "out", "", "`directory` to make (required)")
	flags.StringSliceVar(&o.Addrs, "addr", nil,
		"`host:port` of one replica, once for each, or separated by commas (required)")
	flags.StringSliceVar(&o.Names, "name", nil, "`site` or region of one replica, once for each")
	required(cmd, "out")
	required(cmd, "addr")
	cmd.RunE = does(func(_ context.Context, args []string) error {
		o.Orphaned = execution.KV{}.Orphaned
		layout, info, err := bootstrap.Restore(o, args[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(sh.out, "restored %d keys, %s, of cluster %x\n", info.Keys, amount(info.Bytes), info.Cluster)
		introduce(sh, o.Dir, layout)
		return nil
	})
	return cmd
}

// shownSnapshot is a snapshot as JSON.
type shownSnapshot struct {
	File    string `json:"file"`
	Cluster string `json:"cluster"`
	Epoch   uint64 `json:"epoch"`
	Voters  int    `json:"voters"`
	Format  uint32 `json:"format"`
	Parts   int    `json:"parts"`
	Keys    uint64 `json:"keys"`
	Bytes   uint64 `json:"bytes"`
}

func showSnapshot(sh *shell, output, file string, info bootstrap.SnapshotInfo) error {
	s := shownSnapshot{
		File: file, Cluster: hex.EncodeToString(info.Cluster[:]), Epoch: uint64(info.Members.Epoch),
		Voters: len(info.Members.Voters), Format: info.Members.Format, Parts: info.Parts, Keys: info.Keys, Bytes: info.Bytes,
	}
	if output == formJSON {
		return printJSON(sh.out, s)
	}
	fmt.Fprintf(sh.out, "%s is sound: %d keys, %s, of cluster %s in epoch %d\n", file, s.Keys, amount(s.Bytes), s.Cluster,
		s.Epoch)
	return nil
}
