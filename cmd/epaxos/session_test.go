package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSessionCommand: a change under one name takes effect once, and what became of it can be asked for.
func TestSessionCommand(t *testing.T) {
	profile := startReplicas(t, 3)
	env := map[string]string{profileEnv: profile}
	epaxos := func(code int, args ...string) string {
		t.Helper()
		e := invoke(t.Context(), "", env, args...)
		if e.code != code {
			t.Fatalf("epaxos %v: code %d, want %d\n%s%s", args, e.code, code, e.out, e.err)
		}
		return e.out
	}
	s := strings.TrimSpace(epaxos(exitOK, "session", "open", "-o", "raw"))
	for range 3 {
		if out := epaxos(exitOK, "incr", "n", "--request", s+"/1"); !strings.Contains(out, " 1 ") {
			t.Errorf("violation of once: a repeated increment shows %s", out)
		}
	}
	epaxos(exitOK, "session", "settle", s+"/1")
	epaxos(exitFailed, "session", "settle", s+"/2")
	epaxos(exitFailed, "incr", "n", "--request", s+"/2")
	if out := epaxos(exitOK, "get", "n", "-o", "raw"); out != "1" {
		t.Errorf("violation of once: the counter is %s, want 1", out)
	}
	epaxos(exitOK, "session", "keep", s)
	epaxos(exitOK, "session", "checkpoint", s, "3")
	epaxos(exitUnknown, "session", "settle", s+"/1")
	epaxos(exitOK, "session", "close", s)
	epaxos(exitUnknown, "session", "settle", s+"/3")
	epaxos(exitUnknown, "incr", "n", "--request", s+"/3")
	epaxos(exitUsage, "incr", "n", "--request", "17")
	epaxos(exitUsage, "session", "keep", "17")
}

// TestReadsByChoiceCommand: a token that one command tells is what the next shows.
func TestReadsByChoiceCommand(t *testing.T) {
	profile := startReplicas(t, 3)
	env := map[string]string{profileEnv: profile}
	put := invoke(t.Context(), "", env, "put", "k", "v", "-o", "json")
	var told struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal([]byte(put.out), &told); err != nil || told.Token == "" {
		t.Fatalf("put shows %s%s, %v", put.out, put.err, err)
	}
	for _, c := range []struct {
		code  int
		shows string
		args  []string
	}{
		{exitOK, "quorum", nil},
		{exitOK, "local", []string{"--consistency", "session", "--token", told.Token, "--replica", "3"}},
		{exitOK, "quorum", []string{"--replica", "2"}},
		{exitUsage, "--consistency", []string{"--consistency", "strong"}},
		{exitUsage, "--token", []string{"--token", told.Token}},
		{exitUsage, "--token", []string{"--consistency", "session", "--token", "x"}},
	} {
		e := invoke(t.Context(), "", env, append([]string{"get", "k"}, c.args...)...)
		if e.code != c.code || !strings.Contains(e.out+e.err, c.shows) || c.code == exitOK && !strings.Contains(e.out, " v ") {
			t.Errorf("get k %v: code %d, %s%s, want %d and %s", c.args, e.code, e.out, e.err, c.code, c.shows)
		}
	}
	if e := invoke(t.Context(), "", env, "get", "k", "--consistency", "stale"); e.code > exitFailed {
		t.Errorf("stale: %+v", e)
	}
	e := invoke(t.Context(), "", env, "range", "--consistency", "session", "--token", told.Token)
	if e.code != exitOK || !strings.Contains(e.out, "without asking others") {
		t.Errorf("range: %+v", e)
	}
}
