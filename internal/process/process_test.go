package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

// everywhere is a load on all replicas: one writer at each, and three that go where the client finds
// it best.
func everywhere() []writer {
	return []writer{{replica: 1}, {replica: 2}, {replica: 3}, {}, {}, {}}
}

func (c *cluster) verify(l *load) {
	c.t.Helper()
	l.end()
	c.awaitEqual()
	client := c.dial()
	for i := range c.replicas {
		l.verify(c.ctx, client, epaxos.ReplicaID(i+1))
	}
}

// TestKillOne kills one of three replicas under load. The others go on; when it is back it catches up
// with all that it missed.
func TestKillOne(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	l := startLoad(c.ctx, t, c.dial(), everywhere()...)
	l.await(c.ctx, 100)
	c.replicas[2].kill()
	l.await(c.ctx, 100)
	if got := c.command("status", "--timeout", "1s"); got.code != 0 ||
		!strings.Contains(got.out, "2 of 3 replicas answer") || !strings.Contains(got.out, "unreachable") {
		t.Errorf("status with a dead replica: %+v", got)
	}
	c.replicas[2].start()
	l.await(c.ctx, 100)
	c.verify(l)
}

// TestKillAll kills all replicas at once under load, twice. Whatever was acknowledged is there.
func TestKillAll(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	l := startLoad(c.ctx, t, c.dial(), everywhere()...)
	for range 2 {
		l.await(c.ctx, 200)
		c.killAll()
		c.startAll()
	}
	l.await(c.ctx, 50)
	c.verify(l)
}

// TestRollingRestart restarts one replica after the other, as an upgrade does.
func TestRollingRestart(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	l := startLoad(c.ctx, t, c.dial(), everywhere()...)
	for _, r := range c.replicas {
		l.await(c.ctx, 50)
		if code := r.terminate(); code != 0 {
			t.Errorf("%s ended with %d", r.config, code)
		}
		l.await(c.ctx, 50)
		r.start()
	}
	c.verify(l)
}

// TestExitCodes runs commands against a cluster that loses one replica after another.
func TestExitCodes(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	expect := func(code int, says string, args ...string) {
		t.Helper()
		if got := c.command(args...); got.code != code || !strings.Contains(got.out+got.err, says) {
			t.Errorf("%v: %+v, want code %d and %q", args, got, code, says)
		}
	}
	expect(0, "ok", "put", "colour", "blue")
	expect(0, "blue", "get", "colour", "-o", "raw")
	expect(1, "not found", "get", "flavour")
	expect(1, "not as expected", "cas", "colour", "red", "--absent")
	expect(2, "unknown command", "paint", "colour")
	expect(1, "never overwritten", "init", "--dir", c.dir)
	c.replicas[0].kill()
	expect(0, "blue", "get", "colour", "--timeout", "20s")
	c.replicas[1].kill()
	// It was sent to the last replica, and may take effect when another comes back.
	expect(3, "outcome unknown", "put", "colour", "red", "--timeout", "1s", "--endpoint", c.replicas[2].addr)
	expect(4, "not applied", "get", "colour", "--timeout", "1s")
	expect(0, "1 of 3 replicas answer", "status", "--timeout", "1s")
	c.replicas[2].kill()
	expect(4, "no replica answered", "put", "colour", "red", "--timeout", "500ms")
	expect(4, "no replica answered", "status", "--timeout", "500ms")
}

// TestOldCopy starts a replica on a copy of its directory from before: as it was made, and as it was
// some writes ago. The others remember what it promised since then, so it stops instead of voting.
func TestOldCopy(t *testing.T) {
	c := newCluster(t, 3)
	victim := c.replicas[2]
	data := filepath.Join(filepath.Dir(victim.config), "data")
	copyOf := func(name string) string {
		to := filepath.Join(c.dir, name)
		if err := os.CopyFS(to, os.DirFS(data)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	pristine := copyOf("pristine")
	c.startAll()
	l := startLoad(c.ctx, t, c.dial(), writer{replica: 3}, writer{replica: 1})
	l.await(c.ctx, 20)
	if code := victim.terminate(); code != 0 {
		t.Errorf("the replica ended with %d", code)
	}
	older := copyOf("older")
	victim.start()
	l.await(c.ctx, 40)
	victim.kill()
	present := copyOf("present")
	swap := func(to string) {
		if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(to))); err != nil {
			t.Fatal(err)
		}
	}
	for _, old := range []string{pristine, older} {
		swap(old)
		victim.start()
		if code := victim.wait(); code != 1 {
			t.Errorf("on %s the replica ended with %d", old, code)
		}
		if got := victim.log.String(); !strings.Contains(got, "Do not start it on this directory again") {
			t.Errorf("on %s the replica does not say why:\n%s", old, got)
		}
		victim.log.reset()
	}
	swap(present)
	victim.start()
	c.verify(l)
}
