package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/server"
)

func memberListCommand(sh *shell) *cobra.Command {
	c := &connection{sh: sh}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the members of the cluster",
		Long: `Asks every member what it is and how far it has come: STATE and EPOCH as it tells itself; LAG and SILENT of a
voter as the others know it, in commands and in time since they heard of progress; LAG of a learner as the age of
its state. Members that do not answer in time are unreachable.` + clientHelp,
		Args: cobra.NoArgs,
	}
	c.addFlags(cmd, statusTimeout)
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, func(ctx context.Context, client *clients.Client) error {
			all, _, err := askMembers(ctx, client)
			if err != nil {
				return err
			}
			return showMembers(c, all)
		})
	})
	return cmd
}

// listed is the members of a cluster, as JSON.
type listed struct {
	Cluster     string           `json:"cluster"`
	Epoch       uint64           `json:"epoch"`
	F           int              `json:"f"`
	E           int              `json:"e"`
	SlowQuorum  int              `json:"slow_quorum"`
	FastQuorum  int              `json:"fast_quorum"`
	Format      uint32           `json:"format"`
	NextReplica epaxos.ReplicaID `json:"next_replica"`
	Members     []listedMember   `json:"members"`
}

type listedMember struct {
	Replica   epaxos.ReplicaID `json:"replica"`
	Name      string           `json:"name,omitempty"`
	Addr      string           `json:"addr"`
	Role      server.Role      `json:"role"`
	State     string           `json:"state"`
	Reachable bool             `json:"reachable"`
	Epoch     uint64           `json:"epoch,omitempty"` // that it is in
	Formats   []uint32         `json:"formats,omitempty"`
	Lag       uint64           `json:"lag_instances"`
	LagMS     int64            `json:"lag_progress_ms"` // since it told of progress, if it lags
	Holds     bool             `json:"holds_back"`      // the others wait for it before they forget
	AgeMS     int64            `json:"age_ms"`          // of a learner's state, at most
}

// showMembers prints the members as the newest of the replicas that answered knows them.
func showMembers(c *connection, all []replicaStatus) error {
	newest := newestOf(all)
	if newest == nil {
		return &failure{code: exitUnavailable, err: fmt.Errorf("no replica answered")}
	}
	list := listOf(newest, all)
	if c.output == formJSON {
		return printJSON(c.sh.out, list)
	}
	fmt.Fprintf(c.sh.out, "cluster %s: epoch %d of %s, f=%d, e=%d; quorums: %d slow, %d fast; format level %d\n\n",
		told(list.Cluster), list.Epoch, votersOf(newest), list.F, list.E, list.SlowQuorum, list.FastQuorum, list.Format)
	t := newTable(c.sh.out, "REPLICA", "NAME", "ADDRESS", "ROLE", "STATE", "EPOCH", "LAG", "SILENT")
	for _, m := range list.Members {
		epoch, lag, silent := "-", "-", "-"
		if m.Reachable {
			epoch = fmt.Sprint(m.Epoch)
		}
		if m.Lag > 0 || m.Reachable {
			lag = fmt.Sprint(m.Lag)
		}
		if m.Reachable && m.Role == server.RoleLearner {
			lag = (time.Duration(m.AgeMS) * time.Millisecond).String()
		}
		if m.Lag > 0 {
			silent = (time.Duration(m.LagMS) * time.Millisecond).Truncate(time.Second).String()
		}
		t.row(m.Replica, told(m.Name), told(m.Addr), m.Role, m.State, epoch, lag, silent)
	}
	if err := t.flush(); err != nil {
		return err
	}
	showHeld(c.sh, all)
	showEpochHeld(c.sh, all)
	return nil
}

func votersOf(s *server.Status) string {
	voters, learners := len(s.Members.Voters), len(s.Members.Learners)
	text := fmt.Sprintf("%d %s", voters, plural(voters, "voter"))
	if learners > 0 {
		text += fmt.Sprintf(" and %d %s", learners, plural(learners, "learner"))
	}
	return text
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

func listOf(newest *server.Status, all []replicaStatus) listed {
	m := &newest.Members
	list := listed{
		Cluster: newest.Cluster, Epoch: m.Epoch, F: m.F, E: m.E, SlowQuorum: newest.SlowQuorum,
		FastQuorum: newest.FastQuorum, Format: m.Format, NextReplica: m.NextReplica,
	}
	for _, v := range m.Voters {
		list.Members = append(list.Members, memberOf(v, server.RoleVoter, newest, all))
	}
	for _, l := range m.Learners {
		list.Members = append(list.Members, memberOf(l, server.RoleLearner, newest, all))
	}
	return list
}

func memberOf(m server.MemberStatus, role server.Role, newest *server.Status, all []replicaStatus) listedMember {
	one := listedMember{Replica: m.Replica, Name: m.Name, Addr: m.Addr, Role: role, State: "unreachable"}
	for _, r := range all {
		if !r.Reachable {
			continue
		}
		if r.Replica == m.Replica {
			one.Reachable, one.State, one.Epoch = true, state(r.Status), r.Status.Members.Epoch
			one.Formats, one.AgeMS = r.Status.Formats, r.Status.Transfer.LagMS
		}
		if r.Status.Members.Epoch != newest.Members.Epoch {
			continue
		}
		for _, lag := range r.Status.Lags {
			if lag.Replica == m.Replica && lag.Instances > one.Lag {
				one.Lag, one.LagMS = lag.Instances, lag.ProgressMS
			}
		}
		one.Holds = one.Holds || r.Status.HeldBy == m.Replica
	}
	return one
}

// askMembers asks all replicas that any of them takes for a member, and finds the one that knows the newest
// epoch.
func askMembers(ctx context.Context, client *clients.Client) ([]replicaStatus, *server.Status, error) {
	all, err := askAll(ctx, client)
	if err != nil {
		return nil, nil, err
	}
	newest := newestOf(all)
	if newest == nil {
		return nil, nil, &failure{code: exitUnavailable, err: fmt.Errorf("no replica answered")}
	}
	return all, newest, nil
}

// newestOf finds the replica that has executed the most changes; nil if none answered.
func newestOf(all []replicaStatus) *server.Status {
	var newest *server.Status
	for i := range all {
		if s := all[i].Status; all[i].Reachable && s.Role != server.RoleJoining &&
			(newest == nil || s.Members.Epoch > newest.Members.Epoch) {
			newest = s
		}
	}
	return newest
}

// membersOf lists the members that a replica knows, and itself, ascending.
func membersOf(s *server.Status) []replicaStatus {
	var all []replicaStatus
	self := false
	for _, m := range slices.Concat(s.Members.Voters, s.Members.Learners) {
		all = append(all, replicaStatus{Replica: m.Replica, Name: m.Name, Addr: m.Addr})
		self = self || m.Replica == s.Replica
	}
	if !self {
		all = append(all, replicaStatus{Replica: s.Replica, Name: s.Name})
	}
	slices.SortFunc(all, func(a, b replicaStatus) int { return cmp.Compare(a.Replica, b.Replica) })
	return all
}

// highest is the highest format level that all members know.
func (c *change) highest() (uint32, error) {
	level := uint32(0)
	for _, m := range c.before.All() {
		s := c.status(m.Replica)
		switch {
		case s == nil && c.force:
			continue
		case s == nil:
			return 0, fmt.Errorf("replica %d does not answer: what it knows cannot be told; start it, remove it, or "+
				"say --force", m.Replica)
		case len(s.Status.Formats) != 2:
			return 0, fmt.Errorf("replica %d does not tell which formats it knows: upgrade it first", m.Replica)
		}
		if most := s.Status.Formats[1]; level == 0 || most < level {
			level = most
		}
	}
	return level, nil
}
