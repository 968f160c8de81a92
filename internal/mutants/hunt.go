package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// hunters are the ways to look for a violation: a test, and its arguments for one hunt.
var hunters = map[string]*hunter{
	"schedules": {folder: "epaxos", arguments: func(h hunt) []string {
		return []string{"-test.run=^TestRandomSchedules$/^" + h.where + "$", "-runs=" + strconv.Itoa(h.runs), "-seed=1"}
	}},
	"sim": {folder: "internal/sim", arguments: func(h hunt) []string {
		return []string{"-test.run=^TestSeeds$", "-runs=" + strconv.Itoa(h.runs), "-seed=1"}
	}},
	"epochs": {folder: "internal/sim", arguments: func(h hunt) []string {
		return []string{"-test.run=^TestSeeds$", "-runs=" + strconv.Itoa(h.runs), "-seed=1", "-epochs=many"}
	}},
	"watching": {folder: "internal/sim", arguments: func(h hunt) []string { // reconnects, not seeds
		return []string{"-test.run=^TestWatching$", "-reconnects=" + strconv.Itoa(h.runs)}
	}},
	"plays": {folder: "internal/sim", arguments: func(h hunt) []string { // schedules on whole nodes, by name
		return []string{"-test.run=^Test" + h.where + "$"}
	}},
	"explore": {folder: "epaxos", arguments: func(h hunt) []string {
		return []string{"-test.run=^TestExplore$", "-explore=" + h.where}
	}},
	"node": {folder: "internal/node", arguments: func(h hunt) []string {
		return []string{"-test.run=^Test" + cmp.Or(h.where, "ForgetfulReplicaIsSilent") + "$"}
	}},
	"watch": {folder: "internal/watch", arguments: func(h hunt) []string {
		return []string{"-test.run=^TestEveryChangeIsToldOnce$", "-runs=" + strconv.Itoa(h.runs), "-seed=1"}
	}},
	"locks": {folder: "clients/recipes", arguments: func(h hunt) []string {
		return []string{"-test.run=^Test" + cmp.Or(h.where, "Locks") + "$", "-locks-runs=" + strconv.Itoa(h.runs)}
	}},
	"execution": {folder: "execution", arguments: func(h hunt) []string {
		return []string{"-test.run=^Test" + h.where + "$"}
	}},
	"storage": {folder: "storage", arguments: func(h hunt) []string {
		return []string{"-test.run=^Test" + h.where + "$"}
	}},
	// Only the invariants of a script count: what its golden text expects is another matter.
	"scripts": {folder: "epaxos", environment: "SCRIPT_INVARIANTS_ONLY=1", arguments: func(h hunt) []string {
		return []string{"-test.run=^TestScripts$/" + h.where}
	}},
}

type hunter struct {
	folder      string // of the package whose tests it is
	environment string
	arguments   func(hunt) []string
}

// kill is what one checker noticed.
type kill struct {
	checker string
	seeds   int    // or states: how many it took; 0 where there are none
	script  string // that found it, if one did
	told    string // by the checker
}

var (
	violated = regexp.MustCompile(`violation of (agreement|visibility|order|linearizability|promise|durability|once|` +
		`progress|boundedness|commit-votes|integrity|watch|exclusion|fencing|leftovers): (.*)`)
	seedOf   = regexp.MustCompile(`seed (\d+)`)
	statesOf = regexp.MustCompile(`found after (\d+) states`)
	scriptOf = regexp.MustCompile(`(?m)^ *--- FAIL: TestScripts/(\S+)`)
)

// judge reads the output of a hunter that failed. It returns nil if no checker of an invariant speaks in it.
func judge(output string) *kill {
	match := violated.FindStringSubmatchIndex(output)
	if match == nil {
		return nil
	}
	k := &kill{checker: output[match[2]:match[3]], told: output[match[4]:match[5]]}
	line := output[strings.LastIndexByte(output[:match[0]], '\n')+1 : match[1]]
	found := seedOf.FindStringSubmatch(line)
	if found == nil {
		found = statesOf.FindStringSubmatch(output[match[1]:])
	}
	if found != nil {
		k.seeds, _ = strconv.Atoi(found[1]) // digits only
	}
	if found := scriptOf.FindStringSubmatch(output); found != nil {
		k.script = found[1]
	}
	return k
}

// after is how long the search was, as the table shows it.
func (k *kill) after() string {
	switch {
	case k.script != "":
		return k.script
	case k.seeds > 0:
		return strconv.Itoa(k.seeds)
	default:
		return ""
	}
}

// workshop builds and runs the tests of one version of the product.
type workshop struct {
	root    string // of the module
	folder  string // for what it makes
	overlay string // of the go command; empty for the product as it is
	budget  time.Duration
	built   map[string]string // test binaries by folder
}

// newWorkshop plants the changed files in an overlay.
func newWorkshop(root string, changed map[string][]byte, budget time.Duration) (*workshop, error) {
	folder, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return nil, err
	}
	w := &workshop{root: root, folder: folder, budget: budget, built: map[string]string{}}
	if len(changed) == 0 {
		return w, nil
	}
	replace := map[string]string{}
	for path, text := range changed {
		replace[path] = filepath.Join(folder, fmt.Sprintf("%d.go", len(replace)))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			return nil, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	w.overlay = filepath.Join(folder, "overlay.json")
	return w, os.WriteFile(w.overlay, overlay, 0o600)
}

func (w *workshop) close() error { return os.RemoveAll(w.folder) }

// binary builds the tests of a folder, once.
func (w *workshop) binary(folder string) (string, error) {
	if path, done := w.built[folder]; done {
		return path, nil
	}
	path := filepath.Join(w.folder, strings.ReplaceAll(folder, "/", "-")+".test")
	arguments := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", path}
	if w.overlay != "" {
		arguments = append(arguments, "-overlay", w.overlay)
	}
	command := exec.Command("go", append(arguments, "./"+folder)...)
	command.Dir = w.root
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of %s: %w\n%s", folder, err, output)
	}
	w.built[folder] = path
	return path, nil
}

// outcome is how one hunt ended.
type outcome struct {
	kill    *kill
	failure string        // of another kind: the end of its output
	spent   time.Duration // of processor
}

// limited runs a program with a limit of seconds of processor time.
const limited = `ulimit -t "$0" && exec "$@"`

// patience is how much longer than its processor time a hunt may take on a busy machine.
const patience = 20

// run lets a hunter look, on one processor.
func (w *workshop) run(h hunt) (outcome, error) {
	kind := hunters[h.hunter]
	binary, err := w.binary(kind.folder)
	if err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience*w.budget)
	defer cancel()
	seconds := strconv.Itoa(max(1, int(w.budget.Seconds())))
	arguments := append([]string{"-c", limited, seconds, binary, "-test.timeout=0"}, kind.arguments(h)...)
	command := exec.CommandContext(ctx, "sh", arguments...)
	command.Dir = filepath.Join(w.root, filepath.FromSlash(kind.folder))
	command.Env = append(os.Environ(), "GOMAXPROCS=1", kind.environment)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	failed := command.Run()
	o := outcome{spent: command.ProcessState.UserTime() + command.ProcessState.SystemTime()}
	switch {
	case failed == nil && strings.Contains(output.String(), "no tests to run"):
		return o, fmt.Errorf("hunt %q runs nothing", h)
	case failed == nil:
		return o, nil
	}
	if o.kill = judge(output.String()); o.kill == nil {
		o.failure = tail(output.String(), 3)
		if ctx.Err() != nil || strings.Contains(output.String(), "SIGXCPU") {
			o.failure = fmt.Sprintf("not done after %v", w.budget)
		}
	}
	return o, nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
