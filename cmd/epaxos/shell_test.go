package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/prompt"
)

// TestShell runs lines as from a pipe: over one connection, where each sees what those before it left.
func TestShell(t *testing.T) {
	env := map[string]string{profileEnv: startReplicas(t, 3)}
	for i, c := range []struct {
		in    string
		flags string
		code  int
		says  string // in the output, with blanks squeezed
		errs  string
	}{
		{"", "", 0, "", ""},
		{"# nothing\n\n  \n", "", 0, "", ""},
		{"put colour 'dark blue'\nepaxos get colour", "", 0, "colour ok dark blue 1", ""},
		{"set consistency session\nset replica 3\nget colour\nunset replica\nset", "", 0,
			"colour ok dark blue 1 3 local set consistency session", ""},
		{"get colour", "-o raw", 0, "dark blue", ""},
		{"put shade 1\nset output raw\nget shade\nset output json\nget shade", "", 0, `1{ "op": "get"`, ""},
		{"txn\nif colour = \"dark blue\"\nthen incr n 7\n.\nget n\n", "", 0, "n ok 7 1", ""},
		{"txn\nthen incr n", "", 0, "incr n ok 8", ""},
		{"lock l -- cat\nget n -o raw", "", 0, "8", ""}, // what follows is no input of the program
		{"put text\none\n\ntwo\n.\nget text", "", 0, `text ok "one\n\ntwo" 1`, ""},
		{"put bytes \"\\xff\"\nget bytes", "", 0, `bytes ok "\xff" 1`, ""},
		{"exit\nput never 1", "", 0, "", ""},
		{"get none\nput never 1", "", exitFailed, "none not found", "line 1 ended with code 1"},
		{"get colour\nput 'never", "", exitUsage, "dark blue", "line 2: a quote is not closed"},
		{"paint\nget none\nput once 1", "-k", exitUsage, "once ok - 1", "line 1: unknown command \"paint\""},
		{"get a b", "", exitUsage, "", "line 1: accepts 1 arg"},
		{"serve\nput never 1", "", exitUsage, "", "unknown command \"serve\""},
		{"shell", "", exitUsage, "", "unknown command \"shell\""},
		{"set size 1", "", exitUsage, "", "need one of consistency, output, replica, timeout"},
		{"set consistency strong", "", exitUsage, "", "need linearizable, session or stale"},
		{"set timeout soon", "", exitUsage, "", "need a duration"},
		{"set replica x", "", exitUsage, "", "need the id"},
		{"set output xml", "", exitUsage, "", "need table, json or raw"},
		{"set output", "", exitUsage, "", "need a value"},
		{"unset size", "", exitUsage, "", "need one of"},
		{"get colour\n", "does-not-exist.epaxos", exitFailed, "", "read the commands"},
		{"get never", "-o raw", exitFailed, "", "there is no key never"},
		{"help", "", 0, "This shell:", ""},
		{"status", "", 0, "3 of 3 replicas answer", ""},
		{strings.Repeat("x", prompt.LongestLine+1), "", exitFailed, "", "longer than"},
	} {
		got := invoke(t.Context(), c.in, env, append([]string{"shell"}, strings.Fields(c.flags)...)...)
		if got.code != c.code || !strings.Contains(squeeze(got.out), c.says) || !strings.Contains(got.err, c.errs) ||
			c.errs == "" && got.err != "" {
			t.Errorf("step %d, %.60q: %+v, want code %d, output %q, error %q", i, c.in, got, c.code, c.says, c.errs)
		}
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("incr n\nget n -o raw"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := invoke(t.Context(), "get none", env, "shell", script); got.code != exitOK || !strings.HasSuffix(got.out, "\n9") {
		t.Errorf("from a file: %+v", got)
	}
}

// TestShellHoldsOneSession: a line knows what those before it did, and its writes have names of one session.
func TestShellHoldsOneSession(t *testing.T) {
	profile := startReplicas(t, 3)
	var held *clients.Client
	lines := scripted{do: func(r *repl, n int) (string, error) {
		switch client := r.sh.held.dialled; {
		case n == 0:
			return "put k 1", nil
		case client == nil, held != nil && client != held:
			t.Error("the connection was not kept")
		default:
			held = client
		}
		if n < 5 {
			return "get k --consistency session --replica " + fmt.Sprint(1+n%3), nil
		}
		return "", io.EOF
	}}
	out, code := dialogue(t, profile, &lines)
	if code != exitOK || strings.Count(squeeze(out), "k ok 1 1") != 4 {
		t.Errorf("code %d: %s", code, out)
	}
}

// scripted types the lines of a dialogue, knowing how it went so far.
type scripted struct {
	do      func(r *repl, n int) (string, error)
	r       *repl
	n       int
	prompts []string
}

func (s *scripted) Line(prompt string) (string, error) {
	s.prompts = append(s.prompts, prompt)
	s.n++
	return s.do(s.r, s.n-1)
}

func (s *scripted) Continue(prompt string) (string, error) { return s.Line(prompt) }

// dialogue runs a shell as at a terminal.
func dialogue(t *testing.T, profile string, lines *scripted) (string, int) {
	t.Helper()
	var out bytes.Buffer
	sh := &shell{
		out: &out, err: &out, env: func(string) (string, bool) { return "", false }, held: &held{profile: profile},
	}
	defer sh.held.close()
	r := &repl{
		sh: sh, lines: lines, screen: screen{out: &out}, interactive: true, history: &prompt.History{}, interrupts: make(chan os.Signal, 1),
		settings: map[string]string{},
	}
	lines.r, sh.out = r, &r.screen
	if err := r.loop(t.Context()); err != nil {
		t.Error(err)
	}
	return out.String(), r.code
}

// TestShellInterrupted: Ctrl-C ends the line that is typed, or the command that runs, and never the shell.
func TestShellInterrupted(t *testing.T) {
	profile := startReplicas(t, 1)
	lines := scripted{do: func(r *repl, n int) (string, error) {
		switch n {
		case 0:
			return "", prompt.ErrInterrupted
		case 1:
			return "put k", nil // the value follows
		case 2:
			return "", prompt.ErrInterrupted
		case 3:
			return "exit code", nil
		case 4:
			return "get k", nil
		case 5:
			r.interrupts <- os.Interrupt // it comes between two commands
			return "put k v", nil
		case 6:
			return "get k -o raw", nil
		case 7:
			return "get k", nil
		default:
			return "", io.EOF
		}
	}}
	out, _ := dialogue(t, profile, &lines)
	for _, says := range []string{"interrupted", "unknown command", "k not found - 0", "k ok - 1", "fast v KEY RESULT", "k ok v 1"} {
		if !strings.Contains(squeeze(out), says) {
			t.Errorf("the dialogue lacks %q:\n%s", says, out)
		}
	}
	want := []string{"epaxos> ", "epaxos> ", "... ", "epaxos [1]> ", "epaxos [2]> ", "epaxos [1]> ", "epaxos> ", "epaxos> ", "epaxos> "}
	if !slices.Equal(lines.prompts, want) {
		t.Errorf("prompts %q, want %q", lines.prompts, want)
	}
	r := &repl{interrupts: make(chan os.Signal, 1), screen: screen{out: io.Discard}}
	err := r.interruptible(t.Context(), func(ctx context.Context) error {
		r.interrupts <- os.Interrupt
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a command that is interrupted: %v", err)
	}
}

func TestHistoryFile(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{nil, ""},
		{map[string]string{"HOME": "/h/ann"}, "/h/ann/.local/state/epaxos/history"},
		{map[string]string{"HOME": "/h/ann", "XDG_STATE_HOME": "/state"}, "/state/epaxos/history"},
		{map[string]string{"HOME": "/h/ann", "XDG_STATE_HOME": "relative"}, "/h/ann/.local/state/epaxos/history"},
		{map[string]string{"HOME": "/h/ann", historyEnv: "/h"}, "/h"},
		{map[string]string{"HOME": "/h/ann", historyEnv: ""}, ""},
	} {
		got := historyFile(func(name string) (string, bool) { value, found := c.env[name]; return value, found })
		if filepath.ToSlash(got) != c.want {
			t.Errorf("%v: %q, want %q", c.env, got, c.want)
		}
	}
}
