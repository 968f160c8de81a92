package epaxos_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/264bc8cf/epaxos/epaxos"
)

// The protocol as stories. A file of testdata is a schedule, written in commands (commands_test.go says
// what there is), and what the replicas do on it, in the grammar of trace.go: what they save, send and
// execute. It reads from above without this code. UPDATE_GOLDEN=1, or -rewrite, writes the answers anew;
// the difference is reviewed.
//
// A script is also a check. The invariants of player_test.go are checked after every step, and it ends with
// heal: then everything must become decided. Whoever plants a fault in the core and wants to know whether
// an invariant notices sets SCRIPT_INVARIANTS_ONLY=1: answers are then not compared, and a command that
// cannot be carried out, as the core behaves otherwise, is left out. So a script is always played to its
// end, and fails with "violation of NAME: ..." or not at all.
func TestScripts(t *testing.T) {
	rewriteGoldens(t)
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var taken epaxos.Branches
	played := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			branches := playScript(t, file)
			taken.Add(&branches)
			played++
		})
	}
	if played == len(files) && !invariantsOnly() {
		checkBranches(t, taken)
	}
}

// checkBranches: the scripts take every way that the protocol can take. Those that they do not are named here,
// with what does.
func checkBranches(t *testing.T, taken epaxos.Branches) {
	elsewhere := map[epaxos.Branch]string{
		epaxos.BranchCatchUp:       "simulation: it takes more slots than a story can have",
		epaxos.BranchSlotForgotten: "TestS8ForgottenSlot: no correct replica gets there",
	}
	for b := epaxos.BranchStableRaised; b <= epaxos.BranchForgottenLost; b++ {
		elsewhere[b] = "watermark_test.go and simulation: in a story nothing is forgotten"
	}
	for b := epaxos.BranchHeldBack; b <= epaxos.BranchAdopted; b++ {
		elsewhere[b] = "epoch_test.go and simulation: a story is of one epoch"
	}
	for b := epaxos.BranchReadAnswered; b <= epaxos.BranchReadAgain; b++ {
		elsewhere[b] = "internal/node/read_test.go and simulation: a story has no reads without instances"
	}
	for i, n := range taken {
		b := epaxos.Branch(i)
		if why := elsewhere[b]; n == 0 && why == "" {
			t.Errorf("no script takes this branch: %v", b)
		} else if n > 0 && why != "" {
			t.Errorf("a script takes this branch by now: %v", b)
		}
	}
}

func invariantsOnly() bool { return os.Getenv("SCRIPT_INVARIANTS_ONLY") != "" }

// rewriteGoldens lets datadriven follow the variable that rewrites the goldens of all packages.
func rewriteGoldens(t *testing.T) {
	if os.Getenv("UPDATE_GOLDEN") == "" {
		return
	}
	if err := flag.Set("rewrite", "true"); err != nil {
		t.Fatal(err)
	}
}

func playScript(t *testing.T, file string) epaxos.Branches {
	s := &script{}
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		for _, line := range linesOf(d) {
			if err := s.guarded(t, line); err != nil && !invariantsOnly() {
				t.Fatalf("%s: %s: %v\n%s", d.Pos, line, err, s.story())
			}
		}
		if invariantsOnly() {
			s.takeOutput()
			return d.Expected
		}
		return s.takeOutput()
	})
	if s.player == nil || s.healed {
		return s.taken
	}
	if !invariantsOnly() {
		t.Fatal("a script ends with heal")
	}
	if err := s.guarded(t, "heal"); err != nil {
		t.Fatal(err)
	}
	return s.taken
}

// script is a file being played.
type script struct {
	*player
	taken epaxos.Branches // by all clusters of the file
}

// guarded carries out one command, and ends the test if that shows a violated invariant.
func (s *script) guarded(t *testing.T, line string) error {
	t.Helper()
	defer func() {
		switch why := recover().(type) {
		case nil:
		case broken:
			t.Fatalf("%s: %s\n%s", line, string(why), s.story())
		default:
			t.Fatalf("%s: %s\n%s\n%s", line, violation("integrity", "panic: %v", why), s.story(), debug.Stack())
		}
	}()
	return s.carryOut(line)
}

// linesOf are the commands of one block, without comments. The library has split the first one.
func linesOf(d *datadriven.TestData) []string {
	first := d.Cmd
	for _, arg := range d.CmdArgs {
		first += " " + arg.Key
		if len(arg.Vals) > 0 {
			first += "=" + strings.Join(arg.Vals, ",")
		}
	}
	var lines []string
	for _, line := range append([]string{first}, strings.Split(d.Input, "\n")...) {
		command, _, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); command != "" {
			lines = append(lines, command)
		}
	}
	return lines
}

// story is everything that has happened.
func (s *script) story() string {
	if s.player == nil {
		return ""
	}
	return strings.Join(s.trace, "\n")
}

func (s *script) takeOutput() string {
	if s.player == nil {
		return ""
	}
	out := strings.Join(s.out, "\n")
	s.out = nil
	return out
}

var (
	ruleDefined = regexp.MustCompile(`(?m)^\*\*([A-Z][0-9]+)\. `)
	ruleCited   = regexp.MustCompile(`\b[Rr]ules?\s+([A-Z][0-9]+(?:(?:,\s*|\s+and\s+|,\s+and\s+)[A-Z][0-9]+)*)`)
	ruleID      = regexp.MustCompile(`[A-Z][0-9]+`)
)

// TestEveryRuleHasAStory: the claim of docs/testing.md that each rule of these sections has a script or a
// test that cites it, and that no script cites a rule that does not exist.
func TestEveryRuleHasAStory(t *testing.T) {
	const sections = "PACRVWDLG"
	document, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	cited := map[string]string{} // by rule, the first file
	scripts, _ := filepath.Glob("testdata/*.txt")
	executions, _ := filepath.Glob("../execution/testdata/*.txt")
	tests, _ := filepath.Glob("*_test.go")
	for _, name := range slices.Concat(scripts, executions, tests) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// A list of rules may go on in the next line of a comment.
		joined := regexp.MustCompile(`\n(#|//) ?`).ReplaceAllString(string(text), " ")
		for _, match := range ruleCited.FindAllStringSubmatch(joined, -1) {
			for _, rule := range ruleID.FindAllString(match[1], -1) {
				if cited[rule] == "" {
					cited[rule] = name
				}
			}
		}
	}
	defined := map[string]bool{}
	for _, match := range ruleDefined.FindAllStringSubmatch(string(document), -1) {
		rule := match[1]
		defined[rule] = true
		if strings.Contains(sections, rule[:1]) && cited[rule] == "" {
			t.Errorf("no script or test of this package cites rule %s", rule)
		}
	}
	if len(defined) < 40 {
		t.Fatalf("only %d rules found in docs/protocol.md", len(defined))
	}
	for rule, name := range cited {
		if !defined[rule] {
			t.Errorf("%s cites rule %s, which is not in docs/protocol.md", name, rule)
		}
	}
}

// unknownCommand is told with all the commands there are.
func unknownCommand(name string) error {
	var names []string
	for known := range commands {
		names = append(names, known)
	}
	slices.Sort(names)
	return fmt.Errorf("no command %q; there are: %s", name, strings.Join(names, " "))
}
