package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/server"
)

// Retired is the exit code of a replica that must never be started again.
const Retired = 6

// Ran is the end of a command.
type Ran struct {
	Code           int
	Stdout, Stderr string
}

// Err is nil if the command ended well.
func (r Ran) Err() error {
	if r.Code == 0 {
		return nil
	}
	return fmt.Errorf("exit code %d: %s%s", r.Code, r.Stdout, r.Stderr)
}

// Command runs the program to its end, with the profile of the cluster's clients. An error means
// that it could not be run.
func (c *Cluster) Command(ctx context.Context, args ...string) (Ran, error) {
	cmd := exec.CommandContext(ctx, c.options.Binary, args...)
	cmd.Env = append(os.Environ(), "EPAXOS_PROFILE="+c.profile)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return Ran{}, fmt.Errorf("run %v: %w", args, err)
	}
	return Ran{cmd.ProcessState.ExitCode(), out.String(), errs.String()}, nil
}

// ReplicaStatus is one entry of `epaxos status -o json`.
type ReplicaStatus struct {
	Replica   epaxos.ReplicaID `json:"replica"`
	Reachable bool             `json:"reachable"`
	Error     string           `json:"error"`
	Status    server.Status    `json:"status"`
}

// Status asks the replicas through the command that operators use. Nobody answering is no error.
func (c *Cluster) Status(ctx context.Context) ([]ReplicaStatus, error) {
	ran, err := c.Command(ctx, "status", "-o", "json")
	if err != nil || ran.Code != 0 {
		return nil, err
	}
	var all []ReplicaStatus
	if err := json.Unmarshal([]byte(ran.Stdout), &all); err != nil {
		return nil, fmt.Errorf("status cannot be read: %w\n%s", err, ran.Stdout)
	}
	return all, nil
}

// AwaitEqual waits until every replica tells of the same executed prefix, and of nothing waiting;
// nothing must be asked of the cluster meanwhile. A status is some time old, so one such sight of
// an idle cluster will do.
func (c *Cluster) AwaitEqual(ctx context.Context) ([]ReplicaStatus, error) {
	var last []ReplicaStatus
	for {
		all, err := c.Status(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if len(all) > 0 {
			last = all
		}
		if c.equal(all) {
			return all, nil
		}
		if !Sleep(ctx) {
			text, _ := json.Marshal(last) //nolint:errcheck // it was unmarshalled
			return nil, fmt.Errorf("violation of progress: the replicas do not become equal: %w\n%s",
				context.Cause(ctx), text)
		}
	}
}

func (c *Cluster) equal(all []ReplicaStatus) bool {
	if len(all) != len(c.Replicas) {
		return false
	}
	first := all[0].Status
	for _, r := range all {
		s := r.Status
		if !r.Reachable || s.Pending+s.InFlight+s.Queued > 0 || len(s.Executed) != len(all) ||
			!slices.Equal(s.Executed, first.Executed) || !slices.Equal(s.Tops, first.Executed) {
			return false
		}
	}
	return true
}

// freeAddr finds a UDP port that nobody uses. It is below the range from which systems serve those
// who want any port: a replica that was killed must find its own free again.
func freeAddr() (string, error) {
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		if err := conn.Close(); err != nil {
			return "", fmt.Errorf("find a free port: %w", err)
		}
		return addr, nil
	}
	return "", errors.New("find a free port: all that were tried are taken")
}
