package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/server"
)

// statusTimeout is shorter than that of operations: to wait for a dead replica tells nothing.
const statusTimeout = 3 * time.Second

func statusCommand(sh *shell) *cobra.Command {
	c := &connection{sh: sh}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show every replica of a cluster",
		Long: `Asks every replica for its view of itself and of the others: what it has executed of each replica's
column of instances, the share of its own commands that were decided in one round trip, what waits, and its
disk. Replicas that do not answer in time are shown as unreachable. Exits with 4 if none answers.` + clientHelp,
		Args: cobra.NoArgs, GroupID: groupCluster,
	}
	c.addFlags(cmd, statusTimeout)
	cmd.RunE = does(func(ctx context.Context, _ []string) error {
		return c.with(ctx, func(ctx context.Context, client *clients.Client) error {
			replicas, err := askAll(ctx, client)
			if err != nil {
				return err
			}
			if c.output == formJSON {
				return printJSON(sh.out, replicas)
			}
			return showStatus(c.sh, replicas)
		})
	})
	return cmd
}

// replicaStatus is one replica as `status -o json` shows it.
type replicaStatus struct {
	Replica   epaxos.ReplicaID `json:"replica"`
	Name      string           `json:"name,omitempty"`
	Addr      string           `json:"addr,omitempty"`
	Reachable bool             `json:"reachable"`
	Error     string           `json:"error,omitempty"`
	Status    *server.Status   `json:"status,omitempty"`
}

// askAll asks a replica who the members are, then all of them. Where one of those knows a newer epoch, its
// members are asked, too. The answer is ascending by replica id.
func askAll(ctx context.Context, client *clients.Client) ([]replicaStatus, error) {
	known, err := ask(ctx, client, 0)
	if err != nil {
		return nil, err
	}
	for {
		all := membersOf(known)
		var asking sync.WaitGroup
		for i := range all {
			one := &all[i]
			asking.Go(func() {
				status, err := ask(ctx, client, one.Replica)
				if err != nil {
					one.Error = err.Error()
					return
				}
				one.Reachable, one.Status = true, status
			})
		}
		asking.Wait()
		newest := newestOf(all)
		if newest == nil || newest.Members.Epoch <= known.Members.Epoch || ctx.Err() != nil {
			return all, nil
		}
		known = newest
	}
}

func ask(ctx context.Context, client *clients.Client, replica epaxos.ReplicaID) (*server.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	body, err := client.Status(ctx, replica)
	if err != nil {
		return nil, err
	}
	return readStatus(replica, body)
}

// readStatus reads what a replica tells of itself.
func readStatus(replica epaxos.ReplicaID, body []byte) (*server.Status, error) {
	var status server.Status
	if err := json.Unmarshal(body, &status); err != nil {
		return nil, fmt.Errorf("replica %d tells a status that cannot be read: %w", replica, err)
	}
	return &status, nil
}

// told shows a text of a replica so that no terminal acts on it; - is none.
func told(text string) string {
	if text == "" {
		return "-"
	}
	return printable([]byte(text))
}

func showStatus(sh *shell, all []replicaStatus) error {
	up := 0
	var some *server.Status
	for _, one := range all {
		if one.Reachable {
			up++
			some = one.Status
		}
	}
	if some == nil {
		return &failure{code: exitUnavailable, err: fmt.Errorf("no replica answered")}
	}
	fmt.Fprintf(sh.out, "cluster %s: %d of %d replicas answer; quorums: %d slow, %d fast\n\n",
		told(some.Cluster), up, len(all), some.SlowQuorum, some.FastQuorum)
	t := newTable(sh.out, "REPLICA", "NAME", "ADDRESS", "STATE", "UPTIME", "EXECUTED", "BEHIND", "LED", "FAST",
		"WAITING", "DISK", "FREE")
	for _, one := range all {
		name, addr := told(one.Name), told(one.Addr)
		if !one.Reachable {
			t.row(one.Replica, name, addr, "unreachable", "-", "-", "-", "-", "-", "-", "-", "-")
			continue
		}
		s := one.Status
		t.row(one.Replica, name, addr, state(s), uptime(s), fmt.Sprint(s.Executed), behind(s), s.Led, fastShare(s),
			s.Pending+s.InFlight+s.Queued, amount(s.DiskBytes), amount(s.DiskFree))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := showPaths(sh, all); err != nil {
		return err
	}
	for _, one := range all {
		if one.Reachable && one.Status.NoRoom != "" {
			fmt.Fprintf(sh.out, "\nreplica %d takes no work: %s\n", one.Replica, told(one.Status.NoRoom))
		}
	}
	showHeld(sh, all)
	showEpochHeld(sh, all)
	return nil
}

// heldLong is from when on a replica that holds the others back is worth a line.
const heldLong = 10 * time.Second

// showHeld names the replica without which nothing can be forgotten, as the one that waits longest tells it.
func showHeld(sh *shell, all []replicaStatus) {
	var longest *server.Status
	for _, one := range all {
		if one.Reachable && (longest == nil || one.Status.HeldMS > longest.HeldMS) {
			longest = one.Status
		}
	}
	held := time.Duration(longest.HeldMS) * time.Millisecond
	if longest.HeldBy == 0 || held < heldLong {
		return
	}
	fmt.Fprintf(sh.out, "\nreplica %d has not executed %d instances, without progress for %v: until it does, nothing "+
		"newer is\nforgotten, and logs grow; that of replica %d holds %s\n", longest.HeldBy, longest.Held,
		held.Truncate(time.Second), longest.Replica, amount(longest.LogBytes))
}

// epochHeldMuch is from when on it is worth a line that the state of an epoch's beginning is kept.
const epochHeldMuch = 64 << 20

// showEpochHeld names the voters for whom others keep the state with which the epoch began.
func showEpochHeld(sh *shell, all []replicaStatus) {
	newest := newestOf(all)
	if newest == nil {
		return
	}
	var most *server.Status
	for _, one := range all {
		if one.Reachable && one.Status.EpochHeld && (most == nil || one.Status.EpochBytes > most.EpochBytes) {
			most = one.Status
		}
	}
	if most == nil || most.EpochBytes < epochHeldMuch {
		return
	}
	var absent []string
	for _, v := range newest.Members.Voters {
		for _, one := range all {
			if one.Replica == v.Replica && (!one.Reachable || one.Status.Members.Epoch < newest.Members.Epoch) {
				absent = append(absent, fmt.Sprint(v.Replica))
			}
		}
	}
	fmt.Fprintf(sh.out, "\nthe state with which epoch %d began is kept until all its voters have begun it (not seen in "+
		"it: %s);\nreplica %d cannot give back %s of disk until then: start them, replace or remove them\n",
		newest.Members.Epoch, cmp.Or(strings.Join(absent, ", "), "none"), most.Replica, amount(most.EpochBytes))
}

// showPaths prints the round trips between the replicas, one row for each that measured them.
func showPaths(sh *shell, all []replicaStatus) error {
	fmt.Fprintln(sh.out)
	head := []string{"ROUND TRIP"}
	for _, to := range all {
		head = append(head, fmt.Sprintf("TO %d", to.Replica))
	}
	t := newTable(sh.out, head...)
	for _, from := range all {
		if !from.Reachable {
			continue
		}
		cells := []any{fmt.Sprintf("from %d", from.Replica)}
		for _, to := range all {
			cells = append(cells, pathTo(from.Status, to.Replica))
		}
		t.row(cells...)
	}
	return t.flush()
}

func pathTo(from *server.Status, to epaxos.ReplicaID) string {
	for _, peer := range from.Peers {
		switch {
		case peer.Replica != to:
		case !peer.Up:
			return "down"
		case peer.Suspected:
			return "suspected"
		case peer.RTTMicros == 0:
			return "?"
		default:
			return milliseconds(time.Duration(peer.RTTMicros) * time.Microsecond)
		}
	}
	return "-"
}

func state(s *server.Status) string {
	switch {
	case s.NoRoom != "":
		return "disk full"
	case s.Role == server.RoleJoining, s.Role == server.RoleRemoved:
		return string(s.Role)
	case !s.Admitted:
		return "waits for a quorum"
	}
	return "ok"
}

func uptime(s *server.Status) string {
	return (time.Duration(s.UptimeMS) * time.Millisecond).Truncate(time.Second).String()
}

// behind counts the instances heard of that are not executed.
func behind(s *server.Status) uint64 {
	var sum uint64
	for column := range min(len(s.Executed), len(s.Tops)) {
		if s.Tops[column] > s.Executed[column] {
			sum += s.Tops[column] - s.Executed[column]
		}
	}
	return sum
}

func fastShare(s *server.Status) string {
	if s.Fast+s.Slow == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(s.Fast)/float64(s.Fast+s.Slow))
}

// amount writes bytes with three digits.
func amount(bytes uint64) string {
	value, units := float64(bytes), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	for len(units) > 1 && value >= 1024 {
		value, units = value/1024, units[1:]
	}
	if units[0] == "B" || value >= 100 {
		return fmt.Sprintf("%.0f%s", value, units[0])
	}
	return fmt.Sprintf("%.1f%s", value, units[0])
}
