package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/server"
)

// TestSnapshot saves the state of a cluster that is being written to, and begins another with it.
func TestSnapshot(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	env := map[string]string{profileEnv: startReplicas(t, 3)}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.snapshot")
	do := func(code int, says string, args ...string) {
		t.Helper()
		got := invoke(ctx, "", env, args...)
		if got.code != code || !strings.Contains(squeeze(got.out+got.err), says) {
			t.Fatalf("%v: %+v, want code %d and %q", args, got, code, says)
		}
	}
	large := strings.Repeat("v", 150_000)
	for i := range 8 { // more than one part
		if got := invoke(ctx, large, env, "put", fmt.Sprintf("k%d", i)); got.code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	do(0, "ok", "incr", "n", "--by", "41")
	writing, written := context.WithCancel(ctx)
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		for writing.Err() == nil {
			invoke(ctx, "", env, "incr", "m")
		}
	}()
	do(0, "is sound:", "snapshot", "save", file)
	written()
	<-writer
	do(0, "ok", "put", "late", "1")
	do(1, "never overwritten", "snapshot", "save", file)
	do(0, "is sound:", "snapshot", "verify", file)
	do(0, `"parts": 4`, "snapshot", "verify", file, "-o", "json")

	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.snapshot")
	for _, damaged := range [][]byte{
		content[:len(content)/2], append(content[:len(content):len(content)], 0), flipped(content, len(content)/2),
		flipped(content, 3), flipped(content, len(content)-1), content[:len(content)-32], nil,
	} {
		if err := os.WriteFile(bad, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		do(1, "not a sound snapshot", "snapshot", "verify", bad)
	}
	do(1, "not a sound snapshot", "snapshot", "restore", bad, "--out", filepath.Join(dir, "none"), "--addr", freeAddr(t))

	restored := filepath.Join(dir, "restored")
	do(0, "restored", "snapshot", "restore", file, "--out", restored, "--addr", freeAddr(t)+","+freeAddr(t)+","+freeAddr(t))
	for id := 1; id <= 3; id++ {
		config, err := server.Load(filepath.Join(restored, fmt.Sprintf("n%d", id), "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		replica, err := server.Open(config, execution.KV{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(replica.Abort)
	}
	env[profileEnv] = filepath.Join(restored, "client.yaml")
	do(0, "41", "get", "n", "-o", "raw")
	do(0, large, "get", "k7", "-o", "raw")
	do(1, "no key", "get", "late", "-o", "raw")
	do(0, "ok 42 2", "incr", "n")
	do(0, "epoch 1 of 3 voters", "member", "list")
}

func flipped(content []byte, at int) []byte {
	c := append([]byte(nil), content...)
	c[at] ^= 1
	return c
}
