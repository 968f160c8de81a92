package execution

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/264bc8cf/epaxos/epaxos"
)

// TestScripts plays the files of testdata: what becomes known and decided, and what is executed on it, each
// component on a line. After every command it is checked that just the largest set of decided instances that
// is closed under dependencies has been executed, and at the end of a graph that interfering commands were
// executed in the order that the decisions alone determine. UPDATE_GOLDEN=1 writes the answers anew, and
// SCRIPT_INVARIANTS_ONLY=1 ignores them, as in package epaxos.
//
//	graph                          a new one, of replicas 1 to 3
//	learn ID FOOTPRINT             an initial command is known; FOOTPRINT is "w:k", "r:k,w:j", "everything"
//	commit ID FOOTPRINT deps=[..]  an instance is decided
//	noop ID                        an instance is decided as a no-op
//	ring N FOOTPRINT               each replica has N instances, which all depend on all
//	chain N FOOTPRINT              replica 1 has N instances, each depends on the earlier ones; last first
//	restart                        a new graph, told what was executed and all that was known
//	hold, next                     from now on a component is executed only by next
//	blocked, marks, status         what is missing; what was marked as executed; how far it is
func TestScripts(t *testing.T) {
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := flag.Set("rewrite", "true"); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playScript(t, file) })
	}
}

func playScript(t *testing.T, file string) {
	invariantsOnly := os.Getenv("SCRIPT_INVARIANTS_ONLY") != ""
	var p *player
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		var out []string
		for _, words := range commandsOf(d) {
			if words[0] == "graph" {
				p.checkOrder(t)
				p = newPlayer()
				continue
			}
			command := commands[words[0]]
			if p == nil || command == nil {
				t.Fatalf("%s: no command %q, or no graph before it", d.Pos, words[0])
			}
			lines, err := command(p, words[1:])
			if err != nil && !invariantsOnly {
				t.Fatalf("%s: %v: %v", d.Pos, words, err)
			}
			out = append(append(out, lines...), p.run()...)
			p.checkClosed(t)
		}
		if invariantsOnly {
			return d.Expected
		}
		return strings.Join(out, "\n")
	})
	p.checkOrder(t)
}

func commandsOf(d *datadriven.TestData) [][]string {
	first := []string{d.Cmd}
	for _, arg := range d.CmdArgs {
		text := arg.Key
		if len(arg.Vals) > 0 {
			text += "=" + strings.Join(arg.Vals, ",")
		}
		first = append(first, text)
	}
	all := [][]string{first}
	for _, line := range strings.Split(d.Input, "\n") {
		command, _, _ := strings.Cut(line, "#")
		if words := strings.Fields(command); len(words) > 0 {
			all = append(all, words)
		}
	}
	return all
}

// player is a graph and everything that it was told.
type player struct {
	graph    *Graph
	known    map[epaxos.InstanceID]*epaxos.Command // initial commands; nil for a no-op never known otherwise
	decided  map[epaxos.InstanceID]decided
	told     []epaxos.InstanceID // in the order of the first news
	executed []epaxos.InstanceID
	held     bool
}

func newPlayer() *player {
	return &player{
		graph: NewGraph(threeVoters()), known: map[epaxos.InstanceID]*epaxos.Command{},
		decided: map[epaxos.InstanceID]decided{},
	}
}

var commands = map[string]func(*player, []string) ([]string, error){
	"learn": (*player).learn, "commit": (*player).commit, "noop": (*player).noop,
	"ring": (*player).ring, "chain": (*player).chain, "restart": (*player).restart,
	"hold": (*player).hold, "next": (*player).next,
	"blocked": (*player).blocked, "marks": (*player).marks, "status": (*player).status,
}

func (p *player) tell(id epaxos.InstanceID, command *epaxos.Command) {
	if _, known := p.known[id]; !known {
		p.told = append(p.told, id)
	}
	if p.known[id] == nil {
		p.known[id] = command
	}
}

func (p *player) learn(args []string) ([]string, error) {
	id, command, err := instanceAndCommand(args)
	if err == nil {
		p.tell(id, command)
		p.graph.Learn(id, command)
	}
	return nil, err
}

func (p *player) commit(args []string) ([]string, error) {
	id, command, err := instanceAndCommand(args)
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(strings.Join(args[2:], " "), "deps=[")
	if !ok {
		return nil, errors.New("want deps=[..]")
	}
	deps := make(epaxos.Dependencies, 3)
	for _, name := range strings.Fields(strings.TrimSuffix(text, "]")) {
		dependency, err := instanceOf(name)
		if err != nil {
			return nil, err
		}
		deps[dependency.Replica-1] = dependency.Slot
	}
	p.decide(decided{id: id, initial: command, deps: deps})
	return nil, nil
}

func (p *player) decide(d decided) {
	p.tell(d.id, d.initial)
	if _, before := p.decided[d.id]; !before {
		p.decided[d.id] = d
	}
	if d.noop {
		p.graph.Commit(d.id, nil, d.deps)
		return
	}
	p.graph.Commit(d.id, d.initial, d.deps)
}

func (p *player) noop(args []string) ([]string, error) {
	id, err := instanceOf(args[0])
	if err == nil {
		p.decide(decided{id: id, noop: true, deps: make(epaxos.Dependencies, 3)})
	}
	return nil, err
}

func (p *player) ring(args []string) ([]string, error) {
	n, command, err := countAndCommand(args)
	for slot := 1; slot <= n; slot++ {
		for replica := 1; replica <= 3; replica++ {
			all := epaxos.Dependencies{epaxos.Slot(n), epaxos.Slot(n), epaxos.Slot(n)}
			p.decide(decided{id: id(replica, slot), initial: command, deps: all})
		}
	}
	return nil, err
}

func (p *player) chain(args []string) ([]string, error) {
	n, command, err := countAndCommand(args)
	for slot := n; slot >= 1; slot-- {
		p.decide(decided{id: id(1, slot), initial: command, deps: epaxos.Dependencies{epaxos.Slot(slot - 1), 0, 0}})
	}
	return nil, err
}

// restart is what a replica does: marks first, then commands and decisions, in the order of the log.
func (p *player) restart([]string) ([]string, error) {
	before := p.graph.Executed()
	p.graph = NewGraph(threeVoters())
	p.graph.RestorePrefix(before)
	for _, id := range p.executed {
		p.graph.Restore(id)
	}
	for _, id := range p.told {
		if command := p.known[id]; command != nil {
			p.graph.Learn(id, command)
		}
		if d, known := p.decided[id]; known {
			p.decide(d)
		}
	}
	return nil, nil
}

func (p *player) hold([]string) ([]string, error) {
	p.held = true
	return nil, nil
}

func (p *player) next([]string) ([]string, error) {
	if component := p.graph.Next(); component != nil {
		return []string{p.take(component)}, nil
	}
	return []string{"nothing"}, nil
}

// run executes what can be executed now.
func (p *player) run() (lines []string) {
	if p.held {
		return nil
	}
	for component := p.graph.Next(); component != nil; component = p.graph.Next() {
		lines = append(lines, p.take(component))
	}
	if len(lines) > 12 {
		lines = append(append(lines[:3:3], fmt.Sprintf("... %d more", len(lines)-6)), lines[len(lines)-3:]...)
	}
	return lines
}

func (p *player) take(component []Vertex) string {
	var names []string
	for _, v := range component {
		p.executed = append(p.executed, v.ID)
		names = append(names, v.ID.String())
	}
	switch n := len(names); {
	case n == 1:
		return "executes " + names[0]
	case n <= 12:
		return "executes [" + strings.Join(names, " ") + "]"
	default:
		return fmt.Sprintf("executes [%s ... %s], %d in one component",
			strings.Join(names[:6], " "), strings.Join(names[n-3:], " "), n)
	}
}

func (p *player) blocked([]string) ([]string, error) {
	return []string{fmt.Sprintf("blocked by %v", p.graph.Blocked())}, nil
}

func (p *player) marks([]string) ([]string, error) {
	return []string{fmt.Sprintf("marked %v", p.graph.TakeExecuted())}, nil
}

func (p *player) status([]string) ([]string, error) {
	prefix := threeVoters().FormatDeps(p.graph.Executed())
	return []string{fmt.Sprintf("executed up to %s, %d pending", prefix, p.graph.Pending())}, nil
}

// depends reports whether one decided command must wait for another instance.
func (p *player) depends(d decided, on epaxos.InstanceID) bool {
	command := p.known[on]
	return on != d.id && !d.noop && d.deps.Covers(int(on.Replica)-1, on.Slot) && command != nil &&
		!p.decided[on].noop && d.initial.Footprint.Interferes(command.Footprint)
}

// checkClosed: what was executed is the largest closed set, by its definition. Small graphs only.
func (p *player) checkClosed(t *testing.T) {
	if p.held || len(p.told) > 100 {
		return
	}
	in := map[epaxos.InstanceID]bool{}
	for id := range p.decided {
		in[id] = true
	}
	for changed := true; changed; {
		changed = false
		for id, d := range p.decided {
			if in[id] && p.waits(d, in) {
				in[id], changed = false, true
			}
		}
	}
	for _, id := range p.told {
		d, known := p.decided[id]
		switch done := slices.Contains(p.executed, id); {
		case !known || d.noop:
		case done && !in[id]:
			t.Fatalf("violation of order: %v is executed before something that it depends on", id)
		case !done && in[id]:
			t.Fatalf("violation of progress: %v waits for nothing and is not executed", id)
		}
	}
	for i, id := range p.executed {
		if slices.Contains(p.executed[:i], id) {
			t.Fatalf("violation of once: %v is executed twice", id)
		}
	}
}

func (p *player) waits(d decided, in map[epaxos.InstanceID]bool) bool {
	for column, top := range d.deps {
		for slot := epaxos.Slot(1); slot <= top; slot++ {
			other := threeVoters().ID(column, slot)
			if _, known := p.known[other]; !known && !d.noop || p.depends(d, other) && !in[other] {
				return true
			}
		}
	}
	return false
}

// checkOrder: one command comes before another if only the other depends on it, through any number of
// others; where both do, by their ids.
func (p *player) checkOrder(t *testing.T) {
	if p == nil || len(p.told) > 100 {
		return
	}
	for i, a := range p.executed {
		for _, b := range p.executed[i+1:] {
			forth, back := p.reaches(a, b, nil), p.reaches(b, a, nil)
			if forth && !back || forth && back && a.Compare(b) > 0 {
				t.Fatalf("violation of order: %v is executed before %v", a, b)
			}
		}
	}
}

func (p *player) reaches(a, b epaxos.InstanceID, seen []epaxos.InstanceID) bool {
	for _, next := range p.executed {
		if p.depends(p.decided[a], next) && !slices.Contains(seen, next) {
			if seen = append(seen, next); next == b || p.reaches(next, b, seen) {
				return true
			}
		}
	}
	return false
}

func instanceAndCommand(args []string) (epaxos.InstanceID, *epaxos.Command, error) {
	if len(args) < 2 {
		return epaxos.InstanceID{}, nil, errors.New("want an instance and a footprint")
	}
	id, err := instanceOf(args[0])
	if err != nil {
		return id, nil, err
	}
	command, err := commandOf(args[1])
	return id, command, err
}

func countAndCommand(args []string) (int, *epaxos.Command, error) {
	if len(args) != 2 {
		return 0, nil, errors.New("want a number and a footprint")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return 0, nil, err
	}
	command, err := commandOf(args[1])
	return n, command, err
}

func instanceOf(text string) (epaxos.InstanceID, error) {
	var replica, slot int
	if n, err := fmt.Sscanf(text, "%d.%d", &replica, &slot); n != 2 || err != nil || replica < 1 || replica > 3 {
		return epaxos.InstanceID{}, fmt.Errorf("no instance %q", text)
	}
	return id(replica, slot), nil
}

func commandOf(text string) (*epaxos.Command, error) {
	modes := map[string]epaxos.Mode{"r": epaxos.Read, "w": epaxos.Write, "a": epaxos.Add}
	command := &epaxos.Command{}
	for _, part := range strings.Split(text, ",") {
		name, key, _ := strings.Cut(part, ":")
		switch mode, known := modes[name]; {
		case part == "everything":
			command.Footprint = append(command.Footprint, epaxos.Access{Mode: epaxos.Everything})
		case known:
			command.Footprint = append(command.Footprint, epaxos.Access{Mode: mode, Key: key})
		default:
			return nil, fmt.Errorf("no access %q", part)
		}
	}
	return command, nil
}
