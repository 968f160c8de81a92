package main

import (
	"strings"
	"testing"
)

// TestCutCommand: get and range show the moment of a cut, until it is released.
func TestCutCommand(t *testing.T) {
	profile := startReplicas(t, 3)
	env := map[string]string{profileEnv: profile}
	epaxos := func(code int, shows string, args ...string) string {
		t.Helper()
		e := invoke(t.Context(), "", env, args...)
		if e.code != code || !strings.Contains(e.out+e.err, shows) {
			t.Fatalf("epaxos %v: code %d, want %d and %q\n%s%s", args, e.code, code, shows, e.out, e.err)
		}
		return e.out
	}
	epaxos(exitOK, "", "put", "k", "old")
	cut := strings.TrimSpace(epaxos(exitOK, "", "cut", "create", "--ttl", "5m", "-o", "raw"))
	epaxos(exitOK, "", "put", "k", "new")
	epaxos(exitOK, "", "put", "l", "new")
	epaxos(exitOK, "old", "get", "k", "--cut", cut, "--replica", "2")
	epaxos(exitOK, "local", "get", "k", "--cut", cut)
	if out := epaxos(exitOK, "old", "range", "--cut", cut); strings.Contains(out, "new") {
		t.Errorf("violation of linearizability: at the cut there is %s", out)
	}
	epaxos(exitUsage, "--cut", "get", "k", "--cut", cut, "--consistency", "stale")
	epaxos(exitUsage, "--cut", "get", "k", "--cut", "x")
	epaxos(exitUsage, "--ttl", "cut", "create", "--ttl", "2h")
	epaxos(exitUsage, "cut", "cut", "release", "x")
	epaxos(exitOK, "released", "cut", "release", cut)
	epaxos(exitFailed, "cut gone", "get", "k", "--cut", cut)
}
