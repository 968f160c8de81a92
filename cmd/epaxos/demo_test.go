package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestDemoUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		why  string
	}{
		{[]string{"--replicas", "4"}, "take 3, 5 or 7"},
		{[]string{"--kill", "2"}, "need REPLICA@TIME, such as 2@5s"},
		{[]string{"--kill", "9@1s"}, "there are replicas 1 to 5"},
		{[]string{"--rtt", "wan9"}, "wan3, wan5, wan7, none, or a file"},
		{[]string{"--conflict", "many"}, "invalid argument"},
		{[]string{"--writes", "101"}, "need a percentage"},
		{[]string{"--replica", "3"}, "unknown flag"},
		{[]string{"3"}, "unknown command"},
	} {
		end := invoke(t.Context(), "", nil, append([]string{"demo"}, c.args...)...)
		if end.code != exitUsage || !strings.Contains(end.err, c.why) || end.out != "" {
			t.Errorf("%v: exit code %d, output %q, error %q; want an error about %q", c.args, end.code, end.out, end.err, c.why)
		}
	}
}

func TestDemoFails(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "absent"))
	end := invoke(t.Context(), "", nil, "demo")
	if end.code != exitFailed || !strings.Contains(end.err, "make a directory for the replicas") {
		t.Errorf("exit code %d, error %q", end.code, end.err)
	}
}
