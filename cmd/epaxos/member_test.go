package main

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/server"
)

// startLater runs the replica of a configuration as soon as there is one, as an operator does who was told to.
func startLater(t *testing.T, config string) (started <-chan *server.Server) {
	t.Helper()
	ends := make(chan *server.Server, 1)
	go func() {
		defer close(ends)
		for t.Context().Err() == nil {
			if _, err := os.Stat(config); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		c, err := server.Load(config)
		if err != nil {
			t.Error(err)
			return
		}
		replica, err := server.Open(c, execution.KV{})
		if err != nil {
			t.Error(err)
			return
		}
		ends <- replica
	}()
	return ends
}

func freeAddr(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // held only to learn its port
	return conn.LocalAddr().String()
}

// TestMembers adds, promotes, replaces and removes replicas by one command each.
func TestMembers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	profile := startReplicas(t, 3)
	env := map[string]string{profileEnv: profile}
	do := func(code int, says string, args ...string) ended {
		t.Helper()
		got := invoke(ctx, "", env, args...)
		if got.code != code || !strings.Contains(squeeze(got.out+got.err), says) {
			t.Fatalf("%v: %+v, want code %d and %q", args, got, code, says)
		}
		return got
	}
	add := func(dir string, args ...string) *server.Server {
		t.Helper()
		started := startLater(t, filepath.Join(filepath.Dir(profile), dir, "config.yaml"))
		do(0, "epaxos serve --config", append([]string{"member"}, args...)...)
		replica := <-started
		if replica == nil {
			t.FailNow()
		}
		t.Cleanup(func() {
			if err := replica.Close(); err != nil && ctx.Err() == nil {
				t.Log(err) // it may have been removed
			}
		})
		return replica
	}
	do(0, "ok", "put", "colour", "blue")
	do(0, "epoch 1 of 3 voters, f=1, e=1; quorums: 2 slow, 2 fast; format level", "member", "list")
	fourth := add("n4", "add", "tokyo", "--addr", freeAddr(t))
	do(0, "4 tokyo", "member", "list")
	if s := fourth.StatusNow(); s.Role != server.RoleVoter || s.Members.Epoch != 3 || s.Name != "tokyo" {
		t.Errorf("the fourth replica: %+v", s)
	}
	do(0, "blue", "get", "colour", "-o", "raw", "--endpoint", fourth.Status().Members.Voters[3].Addr)
	add("n5", "add", "--addr", freeAddr(t), "--learner")
	do(0, "5 - 127.0.0.1", "member", "list")
	do(0, "replica 5 votes from epoch 5 on", "member", "promote", "5")
	do(0, "epoch 5 of 5 voters, f=2, e=2", "member", "list")
	do(0, "f=1, e=1 from epoch 6 on", "member", "set", "--f", "1")
	do(1, "need n >=", "member", "set", "--f", "3")
	do(0, "f=2, e=2", "member", "set", "--f", "2")

	// A learner that stays up until its replacement has caught up, then ends by itself.
	add("n6", "replace", "4", "--addr", freeAddr(t))
	select {
	case <-fourth.Done():
	case <-ctx.Done():
		t.Fatal("the replica that was replaced goes on")
	}
	do(0, "replica 5 is no member from", "member", "remove", "5")
	do(1, "is no member", "member", "remove", "5")
	do(2, "no id of a replica", "member", "remove", "zero")
	do(1, "run this where \"epaxos init\" made the cluster", "member", "add", "--addr", freeAddr(t), "--cluster-dir", t.TempDir())
	do(1, "have one address", "member", "add", "--addr", addrOf(t, do(0, "", "member", "list", "-o", "json"), 0), "--no-wait")
	do(0, "blue", "get", "colour", "-o", "raw")

	// One that moves is what it was, at another address.
	do(0, "3 lima 127.0.0.1", "member", "update", "3", "--name", "lima")
	if m := fourth.Status().Members; len(m.Voters) == 0 {
		t.Error("the status of a replica that has ended is gone")
	}

	// The profile follows, so that none of the first replicas is needed to find the others.
	for _, id := range []string{"1", "2"} {
		do(0, "names the voters of epoch", "member", "remove", id, "--force")
	}
	do(0, "of 2 voters, f=0", "member", "list")
}

func addrOf(t *testing.T, got ended, i int) string {
	t.Helper()
	var list listed
	if err := json.Unmarshal([]byte(got.out), &list); err != nil {
		t.Fatal(err)
	}
	return list.Members[i].Addr
}

// TestSuperseded: of two changes from one epoch the second does nothing, and says so by its code.
func TestSuperseded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := &change{connection: connection{sh: &shell{out: new(strings.Builder)}, profile: startReplicas(t, 1)}}
	c.forms, c.output, c.timeout, c.f, c.e = []string{formTable, formJSON}, formTable, changeTimeout, "auto", "auto"
	err := c.run(ctx, func(ctx context.Context) error {
		next := c.next()
		if err := c.propose(ctx, next); err != nil {
			return err
		}
		err := c.propose(ctx, next)
		if failed, ok := err.(*failure); !ok || failed.code != exitSuperseded { //nolint:errorlint // as run takes it
			t.Errorf("the second of two changes: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// replaceIn changes a text in a file that holds it.
func replaceIn(t *testing.T, path, from, to string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestForceNewCluster goes on with one directory of three, and grows from there.
func TestForceNewCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "cluster")
	configs, err := server.Init(dir, freeAddr(t), freeAddr(t), freeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	open := func(path string) *server.Server {
		t.Helper()
		config, err := server.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		replica, err := server.Open(config, execution.KV{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(replica.Abort)
		return replica
	}
	env := map[string]string{profileEnv: filepath.Join(dir, "client.yaml")}
	do := func(code int, says string, args ...string) {
		t.Helper()
		got := invoke(ctx, "", env, args...)
		if got.code != code || !strings.Contains(squeeze(got.out+got.err), says) {
			t.Fatalf("%v: %+v, want code %d and %q", args, got, code, says)
		}
	}
	var replicas []*server.Server
	for _, path := range configs {
		replicas = append(replicas, open(path))
	}
	do(0, "ok", "put", "colour", "blue")
	do(1, "stop it first", "member", "force-new-cluster", "--config", configs[1])
	for _, r := range replicas {
		for s := r.StatusNow(); s.Pending > 0 || behind(&s) > 0 || s.Executed[0]+s.Executed[1]+s.Executed[2] == 0; s = r.StatusNow() {
			pause(ctx)
		}
	}
	if err := replicas[1].Close(); err != nil {
		t.Fatal(err)
	}
	replicas[0].Abort()
	replicas[2].Abort()
	do(1, "nothing was changed: say --yes", "member", "force-new-cluster", "--config", configs[1])
	do(0, "replica 2 is the only member of cluster", "member", "force-new-cluster", "--config", configs[1], "--yes")

	alone := open(configs[1])
	do(0, "blue", "get", "colour", "-o", "raw")
	if s := alone.StatusNow(); s.Members.Epoch != 2 || len(s.Members.Voters) != 1 || s.SlowQuorum != 1 {
		t.Errorf("alone: %+v", s)
	}
	started := startLater(t, filepath.Join(dir, "n4", "config.yaml"))
	do(0, "epoch 4 of 2 voters", "member", "add", "--addr", freeAddr(t))
	t.Cleanup((<-started).Abort)
	do(0, "ok", "put", "colour", "red")
	// One of the lost is told that it is none any more.
	lost := open(configs[0])
	select {
	case <-lost.Done():
	case <-ctx.Done():
		t.Fatal("a member of the old cluster goes on")
	}

	// It moves to another address.
	moved := freeAddr(t)
	do(0, "replica 2 is at "+moved, "member", "update", "2", "--addr", moved)
	if err := alone.Close(); err != nil {
		t.Fatal(err)
	}
	replaceIn(t, configs[1], "listen: ", "listen: \""+moved+"\" # ")
	open(configs[1])
	do(0, "ok", "put", "colour", "green")
}
