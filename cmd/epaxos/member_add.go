package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/config"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

// addition is a replica on its way into the cluster.
type addition struct {
	change
	clusterDir string
	out        string
	addr, name string
	learner    bool // and it stays one
	voter      bool // at once
	noWait     bool
	joined     bootstrap.Joined
}

func (a *addition) addFlags(cmd *cobra.Command) {
	a.change.addFlags(cmd, waitTimeout, true)
	flags := cmd.Flags()
	flags.StringVar(&a.clusterDir, "cluster-dir", "",
		"`directory` that init made, with its authority (default that of the profile)")
	flags.StringVar(&a.addr, "addr", "", "`host:port` where the new replica listens and others reach it (required)")
	flags.StringVar(&a.out, "out", "", "`directory` to make for the new replica (default n<ID> in that of the cluster)")
	flags.BoolVar(&a.noWait, "no-wait", false, "do not wait until the new replica runs and has caught up")
	required(cmd, "addr")
}

func memberAddCommand(sh *shell) *cobra.Command {
	a := &addition{change: change{connection: connection{sh: sh}}}
	cmd := &cobra.Command{
		Use:   "add [NAME] --addr HOST:PORT",
		Short: "Add a replica",
		Long: `Adds a replica under a new id. In this order: makes its directory, with key, certificate and configuration;
tells the cluster of it, as a learner; prints the command that starts it and waits until it runs and has caught up;
makes it a voter. Started while it waits, or later, on whatever machine has the directory.

If the command is interrupted nothing is wrong: what was reached stays, and "epaxos member promote" goes on from there.
With --voter it counts in quorums at once, and others keep all that it has not executed. NAME is its site or region.` +
			clientHelp,
		Example: "  epaxos member add --addr d.example:7400 --profile cluster/client.yaml\n" +
			"  epaxos member add tokyo --addr d.example:7400 --learner --no-wait",
		Args: cobra.MaximumNArgs(1),
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&a.learner, "learner", false, "leave it a learner")
	cmd.Flags().BoolVar(&a.voter, "voter", false, "make it a voter at once, before it has caught up")
	cmd.MarkFlagsMutuallyExclusive("learner", "voter")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		if len(args) > 0 {
			a.name = args[0]
		}
		return a.run(ctx, func(ctx context.Context) error { return a.add(ctx, 0) })
	})
	return cmd
}

func memberReplaceCommand(sh *shell) *cobra.Command {
	a := &addition{change: change{connection: connection{sh: sh}}}
	cmd := &cobra.Command{
		Use:   "replace ID --addr HOST:PORT",
		Short: "Replace a replica by a new one",
		Long: `Removes a replica and adds another under a new id, in one change: the way back for one that lost its disk, and
for a machine that retires. A replica that is still up is replaced when the new one has caught up as a learner; one that
is down at once. The address may be that of the old one, if it is down. See "epaxos member add --help".` + clientHelp,
		Example: "  epaxos member replace 3 --addr c.example:7400",
		Args:    cobra.ExactArgs(1),
	}
	a.addFlags(cmd)
	cmd.Flags().StringVar(&a.name, "name", "", "`site` or region of the new replica (default that of the old one)")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return a.run(ctx, func(ctx context.Context) error {
			old, votes, err := a.member(args[0])
			if err != nil {
				return err
			}
			a.name, a.learner = cmp.Or(a.name, old.Name), !votes
			a.voter = votes && a.status(old.Replica) == nil
			return a.add(ctx, old.Replica)
		})
	})
	return cmd
}

// add carries out the steps; with an old replica, that one leaves in the step that makes the new one what the
// old one was.
func (a *addition) add(ctx context.Context, old epaxos.ReplicaID) error {
	id := a.before.NextReplica
	if err := a.makeDirectory(id); err != nil {
		return err
	}
	next, final := a.next(), a.learner || a.voter
	next.NextReplica = id + 1
	if final {
		drop(&next, old)
	}
	own := a.record()
	if a.voter {
		next.Voters = append(next.Voters, own)
		if err := a.quorums(&next); err != nil {
			return a.undo(err)
		}
	} else {
		next.Learners = append(next.Learners, own)
	}
	if err := a.propose(ctx, next); err != nil {
		return a.undo(err)
	}
	role := server.RoleLearner
	if a.voter {
		role = server.RoleVoter
	}
	a.say("replica %d is a %s in epoch %d; start it:\n  epaxos serve --config %s", id, role, next.Epoch, a.joined.Config)
	if a.noWait {
		if !final {
			a.say("once it has caught up, make it a voter:\n  epaxos member promote %d", id)
		}
		return a.done(ctx)
	}
	if err := a.await(ctx, id, role); err != nil {
		return err
	}
	if final {
		return a.done(ctx)
	}
	return a.promote(ctx, id, old)
}

// promote makes a learner a voter, in the place of another if one is named.
func (c *change) promote(ctx context.Context, id, old epaxos.ReplicaID) error {
	if err := c.lookUntil(ctx, c.before.Epoch); err != nil {
		return err
	}
	own, votes, found := c.before.Find(id)
	if !found || votes {
		return fmt.Errorf("replica %d is no learner (any more): see \"epaxos member list\"", id)
	}
	next := c.next()
	drop(&next, id)
	drop(&next, old)
	next.Voters = append(next.Voters, own)
	slices.SortFunc(next.Voters, func(a, b wire.Member) int { return cmp.Compare(a.Replica, b.Replica) })
	if err := c.quorums(&next); err != nil {
		return err
	}
	if err := c.propose(ctx, next); err != nil {
		return err
	}
	c.say("replica %d votes from epoch %d on", id, next.Epoch)
	if err := c.await(ctx, id, server.RoleVoter); err != nil {
		return err
	}
	return c.done(ctx)
}

// drop takes a replica out of a membership.
func drop(m *wire.Members, id epaxos.ReplicaID) {
	is := func(one wire.Member) bool { return one.Replica == id }
	m.Voters, m.Learners = slices.DeleteFunc(m.Voters, is), slices.DeleteFunc(m.Learners, is)
}

func (a *addition) makeDirectory(id epaxos.ReplicaID) error {
	if a.clusterDir == "" {
		a.clusterDir = filepath.Dir(a.profile)
	}
	var contacts []config.Member
	for _, v := range a.before.Voters {
		contacts = append(contacts, config.Member{
			ID: v.Replica, Addr: v.Addr, Fingerprint: config.Fingerprint(v.Fingerprint), Incarnation: v.Incarnation,
			Name: v.Name,
		})
	}
	joined, err := bootstrap.Join(bootstrap.Joiner{
		Dir: a.clusterDir, Out: a.out, Cluster: identity.ClusterID(a.cluster), ID: id, Addr: a.addr, Name: a.name,
		Contacts: contacts,
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\nWhat to do: run this where \"epaxos init\" made the cluster, or name that directory with "+
			"--cluster-dir; its authority issues the certificate of the new replica", err)
	}
	if err != nil {
		return err
	}
	a.joined = joined
	if joined.Made {
		a.say("made the directory of replica %d in %s", id, joined.Dir)
	}
	return nil
}

func (a *addition) record() wire.Member {
	m := a.joined.Member
	return wire.Member{
		Replica: m.ID, Incarnation: m.Incarnation, Fingerprint: m.Fingerprint, Addr: m.Addr, Name: m.Name,
	}
}

// undo takes back the directory of a replica that the cluster certainly does not know: its id may be given to
// another one.
func (a *addition) undo(err error) error {
	if codeOf(err) == exitUnknown || !a.joined.Made {
		return err
	}
	return errors.Join(err, os.RemoveAll(a.joined.Dir))
}

// What a learner may lack to be made a voter, and a voter to count as having caught up: it comes within moments.
const (
	learnerLag = 2 * time.Second
	caughtUp   = 10_000 // instances
)

// await waits until a replica is what the members say, and has caught up.
func (c *change) await(ctx context.Context, id epaxos.ReplicaID, role server.Role) error {
	told, seen := "", time.Time{}
	for {
		progress, ready := c.progress(ctx, id, role)
		if ready {
			return nil
		}
		if progress != told || time.Since(seen) > 5*time.Second {
			c.say("  replica %d %s", id, progress)
			told, seen = progress, time.Now()
		}
		pause(ctx)
		if ctx.Err() != nil {
			return &failure{code: exitUnavailable, err: fmt.Errorf("replica %d is a member, and %s; \"epaxos member list\" "+
				"shows how far it is: %w", id, told, ctx.Err())}
		}
	}
}

func (c *change) progress(ctx context.Context, id epaxos.ReplicaID, role server.Role) (text string, ready bool) {
	status, err := ask(ctx, c.client, id)
	switch {
	case err != nil:
		return "is not up yet", false
	case status.Role == server.RoleJoining:
		return transferText(status), false
	case status.Role != role || status.Members.Epoch < uint64(c.before.Epoch):
		return fmt.Sprintf("is still a %s in epoch %d", status.Role, status.Members.Epoch), false
	case role == server.RoleVoter && !status.Admitted:
		return "waits for a quorum", false
	case role == server.RoleLearner && status.Transfer.LagMS > learnerLag.Milliseconds():
		return fmt.Sprintf("is %v behind", time.Duration(status.Transfer.LagMS)*time.Millisecond), false
	case behind(status) > caughtUp:
		return fmt.Sprintf("has yet to execute about %d instances", behind(status)), false
	}
	return "", true
}

// transferText tells how far a replica is that has no state yet.
func transferText(s *server.Status) string {
	t := &s.Transfer
	switch {
	case t.Source != 0:
		return fmt.Sprintf("takes the state of replica %d: %s so far", t.Source, amount(t.Bytes))
	case t.Failed != "":
		return "has no state yet: " + told(t.Failed)
	}
	return "has no state yet"
}
