package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

func memberRemoveCommand(sh *shell) *cobra.Command {
	c := &change{connection: connection{sh: sh}}
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a replica for good",
		Long: `Removes a voter or a learner, up or down. One that is up ends by itself, and never starts again on its
directory. Its id is never given away again.` + clientHelp,
		Args: cobra.ExactArgs(1),
	}
	c.addFlags(cmd, changeTimeout, true)
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return c.run(ctx, func(ctx context.Context) error {
			old, votes, err := c.member(args[0])
			if err != nil {
				return err
			}
			next := c.next()
			drop(&next, old.Replica)
			if votes {
				if err := c.quorums(&next); err != nil {
					return err
				}
			}
			if err := c.propose(ctx, next); err != nil {
				return err
			}
			c.say("replica %d is no member from epoch %d on", old.Replica, next.Epoch)
			return c.done(ctx)
		})
	})
	return cmd
}

func memberPromoteCommand(sh *shell) *cobra.Command {
	c := &change{connection: connection{sh: sh}}
	cmd := &cobra.Command{
		Use:   "promote ID",
		Short: "Make a learner a voter",
		Long:  `Waits until a learner has caught up, and makes it a voter.` + clientHelp,
		Args:  cobra.ExactArgs(1),
	}
	c.addFlags(cmd, waitTimeout, true)
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return c.run(ctx, func(ctx context.Context) error {
			m, votes, err := c.member(args[0])
			if err != nil {
				return err
			}
			if votes {
				return usage("replica %d is a voter already", m.Replica)
			}
			if err := c.await(ctx, m.Replica, server.RoleLearner); err != nil {
				return err
			}
			return c.promote(ctx, m.Replica, 0)
		})
	})
	return cmd
}

func memberSetCommand(sh *shell) *cobra.Command {
	c := &change{connection: connection{sh: sh}}
	cmd := &cobra.Command{
		Use:   "set --f N --e N",
		Short: "Change how many crashes are tolerated",
		Long: `Changes f, the crashes that the cluster survives, and e, those under which one round trip still decides. A
larger f makes slow quorums smaller (n-f), a larger e fast ones (n-e).` + clientHelp,
		Args: cobra.NoArgs,
	}
	c.addFlags(cmd, changeTimeout, true)
	cmd.MarkFlagsOneRequired("f", "e")
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		return c.run(ctx, func(ctx context.Context) error {
			next := c.next()
			if err := c.quorums(&next); err != nil {
				return err
			}
			if err := c.propose(ctx, next); err != nil {
				return err
			}
			c.say("f=%d, e=%d from epoch %d on", next.F, next.E, next.Epoch)
			return c.done(ctx)
		})
	})
	return cmd
}

func memberRaiseCommand(sh *shell) *cobra.Command {
	c := &change{connection: connection{sh: sh}}
	cmd := &cobra.Command{
		Use:   "raise-format",
		Short: "Let the cluster use all that its programs know",
		Long: `Raises the format level of the cluster to the highest that all members know: the last step of an upgrade,
after every replica runs the new version. Older versions are refused from then on; there is no way back.` + clientHelp,
		Args: cobra.NoArgs,
	}
	c.addFlags(cmd, changeTimeout, false)
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		return c.run(ctx, func(ctx context.Context) error {
			level, err := c.highest()
			if err != nil {
				return err
			}
			next := c.next()
			if next.Format >= level {
				c.say("the format level is %d already, the highest that all members know", next.Format)
				return c.done(ctx)
			}
			next.Format = level
			if err := c.propose(ctx, next); err != nil {
				return err
			}
			c.say("format level %d from epoch %d on", level, next.Epoch)
			return c.done(ctx)
		})
	})
	return cmd
}

func memberUpdateCommand(sh *shell) *cobra.Command {
	c := &change{connection: connection{sh: sh}}
	var addr, name string
	cmd := &cobra.Command{
		Use:   "update ID --addr HOST:PORT --name NAME",
		Short: "Change where a replica is reached, or what it is called",
		Long: `Changes the address or the name of a member, which stays what it is. To move one: run this, stop it, bring
its directory to the new place as it is, set listen in its configuration, and start it there.` + clientHelp,
		Example: "  epaxos member update 3 --addr new.example:7400",
		Args:    cobra.ExactArgs(1),
	}
	c.addFlags(cmd, changeTimeout, false)
	cmd.Flags().StringVar(&addr, "addr", "", "`host:port` where others reach it from now on")
	cmd.Flags().StringVar(&name, "name", "", "its `site` or region")
	cmd.MarkFlagsOneRequired("addr", "name")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return c.run(ctx, func(ctx context.Context) error {
			m, _, err := c.member(args[0])
			if err != nil {
				return err
			}
			next := c.next()
			for _, all := range [][]wire.Member{next.Voters, next.Learners} {
				for i := range all {
					if all[i].Replica == m.Replica {
						all[i].Addr, all[i].Name = cmp.Or(addr, m.Addr), cmp.Or(name, m.Name)
					}
				}
			}
			if err := c.propose(ctx, next); err != nil {
				return err
			}
			c.say("replica %d is at %s from epoch %d on", m.Replica, cmp.Or(addr, m.Addr), next.Epoch)
			return c.done(ctx)
		})
	})
	return cmd
}
