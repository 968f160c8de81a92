package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
)

// patience bounds every wait. It is far above what any takes, and no test asserts on it otherwise.
const patience = 45 * time.Second

// binary is the program under test.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "epaxos-process-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "epaxos")
	build := exec.Command("go", "build", "-o", binary, "github.com/264bc8cf/epaxos/cmd/epaxos")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// cluster is a cluster of processes on loopback.
type cluster struct {
	t        testing.TB
	ctx      context.Context // ends when patience does
	dir      string
	replicas []*replica
}

// replica is one process after another on one data directory.
type replica struct {
	t      testing.TB
	config string
	addr   string
	cmd    *exec.Cmd // nil while none runs
	ended  chan error
	log    syncedBuffer // of all processes of the replica
}

func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := &cluster{t: t, ctx: ctx, dir: filepath.Join(t.TempDir(), "cluster")}
	args := []string{"init", "--dir", c.dir}
	for i := range n {
		addr := freeAddr(t)
		args = append(args, "--addr", addr)
		r := &replica{t: t, addr: addr, config: filepath.Join(c.dir, fmt.Sprintf("n%d", i+1), "config.yaml")}
		c.replicas = append(c.replicas, r)
	}
	if got := c.command(args...); got.code != 0 {
		t.Fatalf("init: %+v", got)
	}
	t.Cleanup(c.cleanup)
	return c
}

// freeAddr finds a UDP port that nobody uses. It is below the range from which systems serve those
// who want any port: a replica that was killed must find its own free again.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		conn, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		return addr
	}
	t.Fatal("no port is free")
	return ""
}

func (c *cluster) cleanup() {
	for _, r := range c.replicas {
		if r.cmd != nil {
			r.kill()
		}
		if c.t.Failed() {
			c.t.Logf("log of %s:\n%s", r.config, r.log.String())
		}
	}
}

// start runs a replica and returns when it says that it is up.
func (r *replica) start(flags ...string) {
	r.t.Helper()
	up := make(chan struct{})
	var once sync.Once
	r.cmd = exec.Command(binary, append([]string{"serve", "--config", r.config}, flags...)...)
	r.cmd.Stderr = &r.log
	r.cmd.Stdout = writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("listens at "+r.addr)) {
			once.Do(func() { close(up) })
		}
		return r.log.Write(p)
	})
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(r.cmd, r.ended)
	select {
	case <-up:
	case err := <-r.ended:
		r.cmd = nil
		r.t.Fatalf("%s ended before it was up: %v", r.config, err)
	case <-time.After(patience):
		r.t.Fatalf("%s does not say that it is up", r.config)
	}
}

// kill ends the process without warning, as a power failure of the process would.
func (r *replica) kill() {
	if err := r.cmd.Process.Kill(); err != nil {
		r.t.Errorf("kill %s: %v", r.config, err)
	}
	<-r.ended
	r.cmd = nil
}

// terminate asks the process to end and returns its exit code.
func (r *replica) terminate() int {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	return r.wait()
}

// wait returns the exit code of the process once it has ended.
func (r *replica) wait() int {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.cmd = nil
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return exit.ExitCode()
		}
		if err != nil {
			r.t.Fatal(err)
		}
		return 0
	case <-time.After(patience):
		r.t.Fatalf("%s does not end", r.config)
		return -1
	}
}

// killAll ends all processes before any of them can notice that another ended.
func (c *cluster) killAll() {
	for _, r := range c.replicas {
		if err := r.cmd.Process.Kill(); err != nil {
			c.t.Errorf("kill %s: %v", r.config, err)
		}
	}
	for _, r := range c.replicas {
		<-r.ended
		r.cmd = nil
	}
}

func (c *cluster) startAll() {
	c.t.Helper()
	for _, r := range c.replicas {
		r.start()
	}
}

// ran is the end of a command.
type ran struct {
	code     int
	out, err string
}

// command runs the program to its end, with the profile of the cluster.
func (c *cluster) command(args ...string) ran {
	c.t.Helper()
	cmd := exec.CommandContext(c.ctx, binary, args...)
	cmd.Env = append(os.Environ(), "EPAXOS_PROFILE="+c.profile())
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		c.t.Fatalf("%v: %v", args, err)
	}
	return ran{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func (c *cluster) profile() string { return filepath.Join(c.dir, "client.yaml") }

func (c *cluster) dial() *clients.Client {
	c.t.Helper()
	access, err := bootstrap.LoadAccess(c.profile())
	if err != nil {
		c.t.Fatal(err)
	}
	client, err := clients.Dial(c.ctx, access.Endpoints, clients.WithTLS(access.TLS))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() }) //nolint:errcheck // what matters was answered
	return client
}

// awaitEqual waits until `epaxos status` shows every replica with the same executed prefix and
// nothing waiting. The status is a view some time old, so one such sight of an idle cluster will do.
func (c *cluster) awaitEqual() {
	c.t.Helper()
	var last ran
	for c.ctx.Err() == nil {
		last = c.command("status", "-o", "json")
		if last.code == 0 && c.equal(last.out) {
			return
		}
		pause(c.ctx)
	}
	c.t.Fatalf("the replicas do not become equal: %+v", last)
}

func (c *cluster) equal(body string) bool {
	var replicas []struct {
		Reachable bool
		Status    struct {
			Executed, Tops            []uint64
			Pending, InFlight, Queued int
		}
	}
	if err := json.Unmarshal([]byte(body), &replicas); err != nil {
		c.t.Fatalf("status: %v\n%s", err, body)
	}
	if len(replicas) != len(c.replicas) {
		c.t.Fatalf("status tells of %d replicas:\n%s", len(replicas), body)
	}
	first := replicas[0].Status
	for _, r := range replicas {
		s := r.Status
		if !r.Reachable || s.Pending+s.InFlight+s.Queued > 0 || len(s.Executed) != len(replicas) ||
			fmt.Sprint(s.Executed, s.Tops) != fmt.Sprint(first.Executed, first.Executed) {
			return false
		}
	}
	return true
}

// pause keeps polls apart.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// syncedBuffer is written by two streams of a process.
type syncedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncedBuffer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}
