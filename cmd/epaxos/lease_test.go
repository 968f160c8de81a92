package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/server"
)

// TestLeaseCommand: keys go with the lease that they were put under, and not with another.
func TestLeaseCommand(t *testing.T) {
	env := map[string]string{profileEnv: startReplicas(t, 3)}
	epaxos := func(code int, says, in string, args ...string) string {
		t.Helper()
		e := invoke(t.Context(), in, env, args...)
		if e.code != code || !strings.Contains(squeeze(e.out+e.err), says) {
			t.Fatalf("epaxos %v: %+v, want code %d and %q", args, e, code, says)
		}
		return e.out
	}
	grant := func() string { return strings.TrimSpace(epaxos(exitOK, "", "", "lease", "grant", "-o", "raw")) }
	lease, other := grant(), grant()
	epaxos(exitOK, "a ok", "", "put", "a", "1", "--lease", lease)
	epaxos(exitOK, "b ok", "", "put", "b", "1", "--if-absent", "--lease", lease)
	epaxos(exitOK, "b ok", "", "cas", "b", "2", "--version", "1", "--lease", lease)
	epaxos(exitOK, "c ok", "", "put", "c", "1", "--lease", lease)
	epaxos(exitOK, "c ok", "", "put", "c", "2")
	epaxos(exitOK, "put d ok", "if-lease a = "+lease+"\nif-lease c = -\nthen put d 1 under "+lease, "txn")
	epaxos(exitOK, `"lease": "`+lease+`"`, "", "get", "a", "-o", "json")
	epaxos(exitOK, lease+" alive 1m0s 3 keys a b d", "", "lease", "show", lease)
	epaxos(exitOK, `"keys": [ "a", "b", "d" ]`, "", "lease", "show", lease, "-o", "json")
	epaxos(exitOK, lease+" alive 1m0s", "", "lease", "keep", lease)
	epaxos(exitOK, other+" revoked -", "", "lease", "revoke", other)
	epaxos(exitFailed, "the lease is gone", "", "put", "a", "2", "--lease", other)
	epaxos(exitOK, "put a lease gone", "then put a 2 under "+other, "txn")
	epaxos(exitUsage, "--lease", "", "put", "a", "2", "--lease", "x")
	epaxos(exitUsage, "--ttl", "", "lease", "grant", "--ttl", "1ms")
	epaxos(exitUsage, "--ttl", "", "lease", "grant", "--ttl", "48h")
	epaxos(exitUsage, "", "", "lease", "keep", "x")

	file := filepath.Join(t.TempDir(), "a.snapshot")
	epaxos(exitOK, "is sound", "", "snapshot", "save", file)

	kept := strings.TrimSpace(epaxos(exitOK, "", "", "lease", "grant", "--ttl", "2s", "-o", "raw"))
	epaxos(exitOK, "k ok", "", "put", "k", "1", "--lease", kept)
	ctx, interrupt := context.WithCancel(t.Context())
	over := make(chan ended, 1)
	go func() { over <- invoke(ctx, "", env, "lease", "keep", kept, "--loop") }()
	select {
	case e := <-over:
		t.Errorf("keep --loop ends by itself: %+v", e)
	case <-time.After(3 * time.Second): // longer than the lease lives by itself
	}
	epaxos(exitOK, "k ok", "", "get", "k")
	interrupt()
	if e := <-over; e.code != exitOK || !strings.Contains(e.out, kept) {
		t.Errorf("interrupted, keep --loop ends with %+v", e)
	}
	go func() { over <- invoke(t.Context(), "", env, "lease", "keep", kept, "--loop") }()
	epaxos(exitOK, "revoked", "", "lease", "revoke", kept)
	if e := <-over; e.code != exitFailed || !strings.Contains(e.err, "the lease is gone") {
		t.Errorf("of a lease that was revoked, keep --loop says %+v", e)
	}

	epaxos(exitOK, "revoked", "", "lease", "revoke", lease)
	epaxos(exitFailed, "a not found", "", "get", "a")
	epaxos(exitFailed, "d not found", "", "get", "d")
	epaxos(exitOK, "c ok 2", "", "get", "c")
	epaxos(exitFailed, "the lease is gone", "", "lease", "show", lease)
	restoreWithoutLeases(t, file, env)
}

// restoreWithoutLeases: a restored cluster has no leases, so what was under one is not there; its versions go on.
func restoreWithoutLeases(t *testing.T, file string, env map[string]string) {
	dir := filepath.Join(t.TempDir(), "restored")
	if e := invoke(t.Context(), "", env, "snapshot", "restore", file, "--out", dir, "--addr", freeAddr(t)); e.code != exitOK {
		t.Fatalf("%+v", e)
	}
	config, err := server.Load(filepath.Join(dir, "n1", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	replica, err := server.Open(config, execution.KV{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := replica.Close(); err != nil && !errors.Is(err, server.ErrRemoved) {
			t.Error(err)
		}
	})
	env = map[string]string{profileEnv: filepath.Join(dir, "client.yaml")}
	for _, c := range []struct {
		says string
		code int
		args []string
	}{
		{"b not found", exitFailed, []string{"get", "b"}},
		{"c ok 2 2", exitOK, []string{"get", "c"}},
		{"b ok - 4", exitOK, []string{"put", "b", "3"}}, // put, set, ended with its lease, and put
	} {
		if e := invoke(t.Context(), "", env, c.args...); e.code != c.code || !strings.Contains(squeeze(e.out), c.says) {
			t.Errorf("restored, %v: %+v, want %q", c.args, e, c.says)
		}
	}
}

// TestLeaseFlag reads what names a lease.
func TestLeaseFlag(t *testing.T) {
	for text, want := range map[string]clients.LeaseID{"-": {}, "e3:2.7": {Epoch: 3, Replica: 2, Slot: 7}} {
		if got, err := parseLease(text); err != nil || got != want {
			t.Errorf("%q is lease %v, %v", text, got, err)
		}
	}
	if _, err := parseLease("none"); !errors.Is(err, errNoLease) {
		t.Errorf("no lease: %v", err)
	}
}
