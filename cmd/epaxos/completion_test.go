package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/internal/prompt"
)

// TestComplete asks as the scripts do: the words so far, and what is typed of the next.
func TestComplete(t *testing.T) {
	profile := startReplicas(t, 3)
	env := map[string]string{profileEnv: profile}
	in := "put colour blue\nput jobs/1/a 1\nput jobs/1/b 1\nput jobs/2 1\nput job 1\n"
	for i := range 200 {
		in += fmt.Sprintf("put many/%03d/x 1\n", i)
	}
	if got := invoke(t.Context(), in, env, "shell"); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	const nospace = "2"
	for _, c := range []struct {
		words []string
		want  []string // without descriptions
	}{
		{[]string{"get", ""}, []string{"colour", "job", "jobs/", "many/"}},
		{[]string{"get", "c"}, []string{"colour"}},
		{[]string{"get", "jobs/"}, []string{"jobs/1/", "jobs/2"}},
		{[]string{"get", "jobs/1/a"}, []string{"jobs/1/a"}},
		{[]string{"get", "none"}, nil},
		{[]string{"get", "colour", ""}, nil},
		{[]string{"get", "--profile", profile, "c"}, []string{"colour"}},
		{[]string{"get", "--profile", "does-not-exist", "c"}, nil},
		{[]string{"put", "job"}, []string{"job", "jobs/"}},
		{[]string{"put", "job", ""}, nil},
		{[]string{"range", "jobs/2", "jo"}, []string{"job", "jobs/"}},
		{[]string{"del", "c"}, []string{"colour"}},
		{[]string{"range", "--prefix", "jobs/1"}, []string{"jobs/1/"}},
		{[]string{"range", "--prefix=jobs/1"}, []string{"jobs/1/"}},
		{[]string{"get", "x", "--replica", ""}, []string{"1", "2", "3"}},
		{[]string{"member", "remove", ""}, []string{"1", "2", "3"}},
		{[]string{"get", "x", "--consistency", ""}, []string{"linearizable", "session", "stale"}},
		{[]string{"get", "x", "--consistency", "s"}, []string{"session", "stale"}},
		{[]string{"get", "x", "-o", ""}, []string{"table", "json", "raw"}},
		{[]string{"status", "--output", ""}, []string{"table", "json"}},
		{[]string{"experiment", "fam"}, []string{"family"}},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish", "powershell"}},
		{[]string{"sess"}, []string{"session"}},
		{[]string{"session", "se"}, []string{"settle"}},
	} {
		got := invoke(t.Context(), "", env, append([]string{cobra.ShellCompRequestCmd}, c.words...)...)
		lines := strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
		var offered []string
		for _, line := range lines[:len(lines)-1] {
			text, _, _ := strings.Cut(line, "\t")
			offered = append(offered, text)
		}
		if got.code != exitOK || !slices.Equal(offered, c.want) {
			t.Errorf("%q: offered %q, want %q; %+v", c.words, offered, c.want, got)
		}
	}
	got := invoke(t.Context(), "", env, cobra.ShellCompRequestCmd, "get", "many/")
	if n := strings.Count(got.out, "many/"); n != keysOffered {
		t.Errorf("%d of 200 keys are offered", n)
	}
	got = invoke(t.Context(), "", env, cobra.ShellCompRequestCmd, "get", "--endpoint", "")
	if strings.Count(got.out, "127.0.0.1:") != 3 {
		t.Errorf("endpoints: %+v", got)
	}
}

// TestCompletionIsComplete: each argument that a usage line names is one that completion knows, or one that is known to
// be free text. A new command cannot be forgotten.
func TestCompletionIsComplete(t *testing.T) {
	free := []string{"CUT", "LEASE", "VALUE", "NAME", "NUMBER", "SESSION", "SESSION/NUMBER", "bash|zsh|fish|powershell"}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		for _, place := range argumentsOf(cmd) {
			if placeholders[place] == nil && !slices.Contains(free, place) {
				t.Errorf("%s: nothing is known of %s: add it to placeholders, or here", cmd.CommandPath(), place)
			}
		}
		if cmd.Runnable() && cmd.HasParent() && cmd.Short == "" {
			t.Errorf("%s: a command without help", cmd.CommandPath())
		}
	}
	walk(rootCommand(&shell{}))
}

// TestCompletionScripts has the shells that are there read their scripts.
func TestCompletionScripts(t *testing.T) {
	for shell, check := range map[string][]string{
		"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}, "powershell": nil,
	} {
		got := invoke(t.Context(), "", nil, "completion", shell)
		if got.code != exitOK || !strings.Contains(got.out, cobra.ShellCompRequestCmd) {
			t.Errorf("%s: %+v", shell, got.code)
			continue
		}
		program, err := exec.LookPath(shell)
		if err != nil || check == nil {
			continue
		}
		file := filepath.Join(t.TempDir(), "epaxos")
		if err := os.WriteFile(file, []byte(got.out), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, append(check, file)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", shell, err, out)
		}
	}
	for _, args := range []string{"completion", "completion tcsh", "completion bash zsh"} {
		if got := invoke(t.Context(), "", nil, strings.Fields(args)...); got.code != exitUsage {
			t.Errorf("%s: %+v", args, got)
		}
	}
}

// TestShellCompletes offers what the commands offer, and files where those are meant.
func TestShellCompletes(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &repl{sh: &shell{env: func(string) (string, bool) { return "", false }, patience: time.Minute}}
	for _, c := range []struct {
		words []string
		last  string
		want  []prompt.Candidate // their texts, and whether they go on
	}{
		{nil, "ge", []prompt.Candidate{{Text: "get"}}},
		{[]string{"epaxos"}, "ge", []prompt.Candidate{{Text: "get"}}},
		{nil, "serv", nil},
		{nil, "unse", []prompt.Candidate{{Text: "unset"}}},
		{[]string{"set"}, "o", []prompt.Candidate{{Text: "output"}}},
		{[]string{"get", "k"}, "--consistency=st", []prompt.Candidate{{Text: "--consistency=stale"}}},
		{[]string{"get", "k"}, "--consist", []prompt.Candidate{{Text: "--consistency"}}},
		{[]string{"get"}, "k", nil}, // no cluster
		{[]string{"txn"}, dir + "/", []prompt.Candidate{{Text: dir + "/folder/", More: true}, {Text: dir + "/one"}, {Text: dir + "/two"}}},
		{[]string{"txn"}, dir + "/.h", []prompt.Candidate{{Text: dir + "/.hidden"}}},
		{[]string{"get", "--profile"}, dir + "/t", []prompt.Candidate{{Text: dir + "/two"}}},
		{[]string{"get"}, "--profile=" + dir + "/t", []prompt.Candidate{{Text: "--profile=" + dir + "/two"}}},
		{[]string{"txn"}, dir + "/none/", nil},
	} {
		got := r.complete(c.words, c.last)
		for i := range got {
			got[i].About = ""
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q %q: %+v, want %+v", c.words, c.last, got, c.want)
		}
	}
}
