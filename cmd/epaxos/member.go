package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/wire"
)

func memberCommand(sh *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Show and change who belongs to the cluster",
		Long: `Shows and changes the members of a cluster that runs, through any replica.

A change is a command that interferes with all others. Executing it ends one epoch and begins the next, with new
members; whatever was acknowledged stays. Clients follow by themselves. Of two changes made at once one
comes first, and the other is superseded: it has changed nothing, nothing repeats it, and the exit code is 5.

Voters decide; learners only follow, and count in no quorum. Ids are never given away twice.`,
		Args: cobra.NoArgs, GroupID: groupCluster,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		memberListCommand(sh), memberAddCommand(sh), memberRemoveCommand(sh), memberReplaceCommand(sh),
		memberPromoteCommand(sh), memberSetCommand(sh), memberRaiseCommand(sh),
		memberUpdateCommand(sh), memberForceCommand(sh),
	)
	return cmd
}

// changeTimeout is how long a change may take, and waitTimeout how long the new replica may take to start and
// to catch up.
const (
	changeTimeout = 30 * time.Second
	waitTimeout   = 15 * time.Minute
)

// change is a change of the members under way.
type change struct {
	connection
	f, e   string // "auto" or a number
	force  bool
	client *clients.Client
	before wire.Members // as far as any replica knew when it was asked
	all    []replicaStatus
}

func (c *change) addFlags(cmd *cobra.Command, timeout time.Duration, quorums bool) {
	c.f, c.e = "auto", "auto"
	c.connection.addFlags(cmd, timeout)
	c.dialTimeout = changeTimeout
	if quorums {
		cmd.Flags().StringVar(&c.f, "f", "auto", "`crashes` that the cluster survives; auto is the largest minority")
		cmd.Flags().StringVar(&c.e, "e", "auto",
			"`crashes` under which one round trip still decides; auto is the most that f allows")
	}
	cmd.Flags().BoolVar(&c.force, "force", false, "change even if too few of the new voters are up to decide anything")
}

// run connects, asks who the members are, and calls f.
func (c *change) run(ctx context.Context, f func(context.Context) error) error {
	return c.with(ctx, func(ctx context.Context, client *clients.Client) error {
		c.client = client
		if err := c.look(ctx); err != nil {
			return err
		}
		return f(ctx)
	})
}

// look asks all replicas for what they know.
func (c *change) look(ctx context.Context) error {
	all, newest, err := askMembers(ctx, c.client)
	if err != nil {
		return err
	}
	c.all = all
	c.before, err = newest.Members.Record()
	return err
}

// lookUntil asks until somebody knows of an epoch: the replica that executed the change first may be the one that
// it removed.
func (c *change) lookUntil(ctx context.Context, epoch epaxos.Epoch) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for {
		err := c.look(ctx)
		if err == nil && c.before.Epoch >= epoch {
			return nil
		}
		if pause(ctx); ctx.Err() != nil {
			return cmp.Or(err, fmt.Errorf("no replica that answers has come to epoch %d: \"epaxos member list\" shows when "+
				"one has", epoch))
		}
	}
}

// next is a copy of the members for the epoch after.
func (c *change) next() wire.Members {
	next := c.before.Clone()
	next.Epoch++
	return next
}

// quorums sets what the flags ask for.
func (c *change) quorums(next *wire.Members) error {
	m := next.Membership()
	auto := epaxos.NewMembership(m.Epoch, m.Voters...)
	f, err := quorumFlag("f", c.f)
	if err != nil {
		return err
	}
	e, err := quorumFlag("e", c.e)
	if err != nil {
		return err
	}
	next.F, next.E = auto.F, auto.E
	if f != nil {
		next.F, next.E = *f, epaxos.LargestE(m.N(), *f)
	}
	if e != nil {
		next.E = *e
	}
	return next.Validate()
}

// propose asks for the next members. It returns once they are in force, or an error that says what became of it.
func (c *change) propose(ctx context.Context, next wire.Members) error {
	if err := c.checkUp(&next); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	control := wire.Control{Kind: wire.ControlReconfigure, Members: &next}
	reply, err := c.client.Control(ctx, wire.AppendControl(nil, &control))
	if err != nil {
		if e, ok := errors.AsType[*clients.Error](err); ok && e.Outcome == clients.Unknown {
			return c.settle(next, err)
		}
		return fmt.Errorf("change the members: %w", err)
	}
	result, err := wire.DecodeControlResult(reply.Result)
	if err != nil {
		return fmt.Errorf("read the answer to the change: %w", err)
	}
	if result.Refused != "" {
		return &failure{code: exitSuperseded, err: fmt.Errorf("nothing was changed: %s", told(result.Refused))}
	}
	c.before = next
	return nil
}

// settle finds out what became of a change whose answer was lost.
func (c *change) settle(next wire.Members, lost error) error {
	ctx, cancel := context.WithTimeout(context.Background(), changeTimeout)
	defer cancel()
	for ctx.Err() == nil {
		if err := c.look(ctx); err == nil && c.before.Epoch >= next.Epoch {
			if bytes.Equal(wire.AppendMembers(nil, &c.before), wire.AppendMembers(nil, &next)) {
				return nil
			}
			break
		}
		pause(ctx)
	}
	return fmt.Errorf("change the members; see \"epaxos member list\" for what is in force: %w", lost)
}

// checkUp refuses a change after which nothing could be decided.
func (c *change) checkUp(next *wire.Members) error {
	up := 0
	for _, v := range next.Voters {
		if s := c.status(v.Replica); s != nil {
			up++
		}
	}
	m := next.Membership()
	if need := m.SlowQuorum(); up < need && !c.force {
		return fmt.Errorf("of the %d voters that there would be only %d are up, and %d must be to decide anything: "+
			"start the others first, or say --force", m.N(), up, need)
	}
	return nil
}

// status is what a replica told of itself, nil if it did not answer.
func (c *change) status(id epaxos.ReplicaID) *replicaStatus {
	for i := range c.all {
		if c.all[i].Replica == id && c.all[i].Reachable {
			return &c.all[i]
		}
	}
	return nil
}

// member parses the id of a member.
func (c *change) member(text string) (m wire.Member, votes bool, err error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 0 {
		return m, false, usage("%q is no id of a replica", text)
	}
	m, votes, found := c.before.Find(epaxos.ReplicaID(id))
	if !found {
		return m, false, fmt.Errorf("replica %d is no member: \"epaxos member list\" shows them", id)
	}
	return m, votes, nil
}

// say tells of progress, where it disturbs no JSON.
func (c *change) say(format string, args ...any) {
	out := c.sh.out
	if c.output == formJSON {
		out = c.sh.err
	}
	fmt.Fprintf(out, format+"\n", args...)
}

// done ends a change with the members that are in force.
func (c *change) done(ctx context.Context) error {
	if err := c.lookUntil(ctx, c.before.Epoch); err != nil {
		return err
	}
	if err := c.updateProfile(); err != nil {
		return err
	}
	return showMembers(&c.connection, c.all)
}

// updateProfile makes the profile name the voters there are, or nobody who uses it later would find any.
func (c *change) updateProfile() error {
	var endpoints []string
	for _, v := range c.before.Voters {
		endpoints = append(endpoints, v.Addr)
	}
	changed, err := bootstrap.SetEndpoints(c.profile, endpoints)
	if changed {
		c.say("%s names the voters of epoch %d from now on; do the same with its copies", c.profile, c.before.Epoch)
	}
	return err
}

// pause waits a moment between two looks.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}
