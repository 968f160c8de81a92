package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/profile"
	"github.com/264bc8cf/epaxos/clients/recipes"
)

// TestLock: a command runs under a lock, with the token in its environment, and its exit code is that of the line.
func TestLock(t *testing.T) {
	env := map[string]string{profileEnv: startReplicas(t, 1)}
	for i, c := range []struct {
		args string
		code int
		says string
		errs string
	}{
		{"lock a -- sh -c echo¬$EPAXOS_LOCK_NAME¬$EPAXOS_LOCK_TOKEN", 0, "a 1", ""},
		{"lock a -- sh -c echo¬$EPAXOS_LOCK_TOKEN", 0, "3", ""},
		{"lock a -- sh -c exit¬42", 42, "", ""},
		{"lock a -- sh -c kill¬-9¬$$", 137, "", ""},
		{"lock a -- /there/is/no/such/command", 127, "", "no such file"},
		{"lock a -- /", 126, "", "is a directory"},
		{"lock rw --write -- true", 0, "", ""},
		{"lock rw --read -- sh -c echo¬$EPAXOS_LOCK_TOKEN", 0, "2", ""},
		{"lock a --read --write -- true", 2, "", "none of the others can be"},
		{"lock a --ttl 1ms -- true", 2, "", "need at least 1s"},
		{"lock", 2, "", "at least 1 arg"},
		{"elect a", 2, "", "need a VALUE"},
		{"elect a b --observe", 2, "", "need a VALUE"},
	} {
		words := strings.Fields(c.args)
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "¬", " ")
		}
		got := invoke(t.Context(), "", env, words...)
		if got.code != c.code || squeeze(got.out) != c.says || !strings.Contains(got.err, c.errs) ||
			c.errs == "" && got.err != "" {
			t.Errorf("step %d, %s: %+v, want code %d, output %q, error %q", i, c.args, got, c.code, c.says, c.errs)
		}
	}
}

// hold takes a lock, and returns how to give it up.
func hold(t *testing.T, ctx context.Context, file, name string) (release func()) {
	t.Helper()
	client, err := profile.Dial(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	session, err := recipes.NewSession(ctx, client, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := recipes.NewMutex(session, name).Lock(ctx); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := session.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLockEnds: what is held by others is waited for as long as said; who loses the lock ends its command.
func TestLockEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := startReplicas(t, 1)
	env := map[string]string{profileEnv: file}
	release := hold(t, ctx, file, "a")
	if got := invoke(ctx, "", env, "lock", "a", "--wait", "50ms", "--", "true"); got.code != exitFailed ||
		!strings.Contains(got.err, "others held it") {
		t.Errorf("a lock that is held: %+v", got)
	}
	release()

	// The lease of the process is revoked while its command runs.
	client, err := profile.Dial(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // the test has judged it already
	out, in := io.Pipe()
	code := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		sh := &shell{in: strings.NewReader(""), out: in, err: &errs, env: func(name string) (string, bool) {
			value, found := env[name]
			return value, found
		}}
		code <- run(ctx, sh, []string{"lock", "a", "--ttl", "1s", "--", "sh", "-c", "echo running; exec sleep 60"})
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "running\n" {
		t.Fatalf("%q, %v", line, err)
	}
	holder, err := client.Get(ctx, "a/holder")
	if err != nil {
		t.Fatal(err)
	}
	lease, err := clients.ParseLeaseID(strings.Split(string(holder.Value), "-")[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := client.RevokeLease(ctx, lease); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != exitLost {
		t.Errorf("code %d after the lock was lost: %s", got, errs.String())
	}
}

// TestElect: who is interrupted resigns; observers see it.
func TestElect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	env := map[string]string{profileEnv: startReplicas(t, 1)}
	start := func(ctx context.Context, args ...string) (*bufio.Reader, chan int) {
		out, in := io.Pipe()
		code := make(chan int, 1)
		go func() {
			sh := &shell{in: strings.NewReader(""), out: in, err: in, env: func(name string) (string, bool) {
				value, found := env[name]
				return value, found
			}}
			code <- run(ctx, sh, args)
			_ = in.Close()
		}()
		return bufio.NewReader(out), code
	}
	line := func(r *bufio.Reader) string {
		text, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(text, "\n")
	}
	observing, stop := context.WithCancel(ctx)
	observer, observed := start(observing, "elect", "primary", "--observe")
	if got := line(observer); got != "0\t" {
		t.Errorf("before: %q", got)
	}
	leading, resign := context.WithCancel(ctx)
	leader, led := start(leading, "elect", "primary", "ann", "-o", "raw")
	token := line(leader)
	if got, want := line(observer), fmt.Sprintf("%s\tann", token); got != want {
		t.Errorf("observed %q, want %q", got, want)
	}
	resign()
	if code := <-led; code != exitOK {
		t.Errorf("a leader that resigns ends with %d", code)
	}
	if got := line(observer); got != "0\t" {
		t.Errorf("after: %q", got)
	}
	stop()
	if code := <-observed; code != exitOK {
		t.Errorf("an observer ends with %d", code)
	}
}
