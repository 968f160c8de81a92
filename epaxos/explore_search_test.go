package epaxos_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// global is the state of a cluster: a local state for each replica, the messages under way, the first
// decision of each command, and what the budgets leave.
type global struct {
	at         []localID
	decided    []uint8 // by command: verdict, 0 is none
	recoveries uint8   // left; see budget
	crashes    uint8   // left
	wire       []inputID
}

func (g *global) encode(b []byte) []byte {
	for _, l := range g.at {
		b = binary.LittleEndian.AppendUint32(b, uint32(l))
	}
	b = append(b, g.decided...)
	b = append(b, g.recoveries, g.crashes)
	for _, m := range g.wire {
		b = binary.LittleEndian.AppendUint16(b, uint16(m))
	}
	return b
}

func (g *global) decode(b []byte, commands int) {
	for i := range g.at {
		g.at[i] = localID(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	g.decided = append(g.decided[:0], b[:commands]...)
	g.recoveries, g.crashes = b[commands], b[commands+1]
	b = b[commands+2:]
	g.wire = g.wire[:0]
	for ; len(b) > 0; b = b[2:] {
		g.wire = append(g.wire, inputID(binary.LittleEndian.Uint16(b)))
	}
}

func (g *global) copyTo(other *global) {
	other.at = append(other.at[:0], g.at...)
	other.decided = append(other.decided[:0], g.decided...)
	other.wire = append(other.wire[:0], g.wire...)
	other.recoveries, other.crashes = g.recoveries, g.crashes
}

// verdict is a decision at the ballot at which it was first seen.
type verdict struct {
	ballot epaxos.Ballot
	noOp   bool
	deps   epaxos.Dependencies
	value  string
}

// search goes through all states, nearest first.
type search struct {
	*catalogue
	limits   searchLimits
	verdicts []verdict // [0] is none
	visited  *visited
	lineage  lineage
	level    *queue
	next     *queue
	depth    int
	result   searchResult
	now      global // the state that is expanded
	then     global // the one that follows
	index    int    // of now in lineage
	muting   bool
	preface  []inputID // what led to the first state
	current  []byte    // encodes now
	buffer   []byte    // encodes then
	key      []byte
	fresh    []inputID // messages that take the place of others
	began    time.Time
	beganCPU float64
	logf     func(string, ...any)
	logged   time.Time
}

type searchLimits struct {
	memory int // bytes
	wall   time.Duration
}

// searchResult is what a search tells.
type searchResult struct {
	name        string
	states      int
	expanded    int
	transitions int
	locals      int
	localSteps  int
	messages    int
	terminal    int
	settled     int // terminal, and every command is decided
	depth       int // the greatest distance; all states up to here are known
	complete    bool
	seconds     float64
	processor   float64 // seconds
	bytes       int
	outcomes    map[string]int // see outcome
	branches    epaxos.Branches
	broken      string
	schedule    []input
}

func newSearch(x *exploration, limits searchLimits) *search {
	s := &search{
		catalogue: newCatalogue(x), limits: limits, verdicts: make([]verdict, 1), visited: newVisited(),
		level: &queue{}, next: &queue{}, began: time.Now(), beganCPU: processorSeconds(), logf: func(string, ...any) {},
	}
	s.result.name, s.result.outcomes = x.name, map[string]int{}
	return s
}

// run explores until nothing is left, something is broken, or a limit is reached.
func (s *search) run() *searchResult {
	s.begin()
	complete := true
	for s.level.count > 0 && complete && s.broken == "" {
		complete = s.level.drain(s.expand)
		s.level, s.next = s.next, &queue{}
		if complete && s.level.count > 0 {
			s.depth++
		}
	}
	r := &s.result
	r.states, r.depth, r.complete = s.visited.count, s.depth, complete && s.broken == ""
	r.seconds, r.processor, r.bytes = time.Since(s.began).Seconds(), processorSeconds()-s.beganCPU, s.bytes()
	r.locals, r.localSteps, r.messages, r.branches = len(s.locals)-1, len(s.steps), len(s.inputs), s.branches
	r.broken = s.broken
	return r
}

// processorSeconds is what this process has computed so far: on a busy machine the clock tells little.
func processorSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func (s *search) begin() {
	n := s.members.N()
	g := &s.then
	g.at, s.now.at = make([]localID, n), make([]localID, n)
	for column := range n {
		g.at[column] = s.start(column)
	}
	g.decided = make([]uint8, len(s.x.leaders))
	g.recoveries, g.crashes = s.x.budget(), uint8(s.x.crashes)
	for _, line := range s.x.prefix {
		s.recite(line)
	}
	s.muting = true
	s.buffer = s.then.encode(s.buffer[:0])
	s.push(0, 0)
}

// recite does what a line of a prefix says: "propose 0" (the command), "recover r2 0", "lose" (all that is
// under way) or "lose KIND", or "KIND r1->r2,r3 0": these messages about the command arrive.
func (s *search) recite(line string) {
	words := strings.Fields(line)
	command := 0
	if words[0] != "lose" {
		command = int(words[len(words)-1][0] - '0')
	}
	switch words[0] {
	case "lose":
		s.then.wire = slices.DeleteFunc(s.then.wire, func(m inputID) bool {
			return len(words) == 1 || kindName(s.inputs[m].envelope.Message) == words[1]
		})
	case "propose":
		s.enact(line, s.own.propose[command])
	case "recover":
		at, _ := s.members.Column(epaxos.ReplicaID(words[1][1] - '0'))
		s.enact(line, s.own.recover[at][command])
	default:
		from, to, _ := strings.Cut(words[1], "->")
		for _, receiver := range strings.Split(to, ",") {
			s.enact(line, s.underWay(words[0], from, receiver, command))
		}
	}
}

func (s *search) underWay(kind, from, to string, command int) inputID {
	for _, m := range s.then.wire {
		in := &s.inputs[m]
		if kindName(in.envelope.Message) == kind && in.id == s.x.instance(command) &&
			fmt.Sprintf("r%d", in.envelope.From) == from && fmt.Sprintf("r%d", in.envelope.To) == to {
			return m
		}
	}
	panic(fmt.Sprintf("%s: no %s from %s to %s about command %d is under way", s.x.name, kind, from, to, command))
}

func (s *search) enact(line string, in inputID) {
	s.then.copyTo(&s.now)
	if !s.apply(in) {
		panic(fmt.Sprintf("%s: %q is impossible", s.x.name, line))
	}
	s.preface = append(s.preface, in)
}

// push keeps the state in s.then, which s.buffer encodes, if it is new.
func (s *search) push(parent int, by inputID) {
	if !s.visited.add(s.buffer) {
		return
	}
	s.next.push(s.buffer)
	s.lineage.add(parent, by)
	s.noteOutcome()
	if s.level.count == 0 { // the very first
		s.level, s.next = s.next, &queue{}
	}
}

func (s *search) bytes() int {
	return s.visited.bytes() + s.level.bytes() + s.next.bytes() + s.lineage.bytes() +
		len(s.locals)*256 + len(s.steps)*160 + len(s.known)*24
}

// noteOutcome counts states by what is decided and who knows it.
func (s *search) noteOutcome() {
	s.key = append(s.key[:0], s.then.decided...)
	for _, l := range s.then.at {
		s.key = binary.LittleEndian.AppendUint32(s.key, s.locals[l].committed)
	}
	s.result.outcomes[string(s.key)]++
}

// expand follows every input that the state allows. It reports whether to go on.
func (s *search) expand(state []byte) bool {
	s.now.decode(state, len(s.x.leaders))
	s.current = state
	before := s.result.transitions
	for _, m := range s.now.wire {
		s.follow(m)
	}
	s.ownSteps()
	if s.broken != "" {
		return false
	}
	if s.result.transitions == before {
		s.terminal()
	}
	if s.broken != "" {
		return false
	}
	s.index++
	s.result.expanded++
	return s.result.expanded%4096 != 0 || s.within()
}

// terminal looks at a state in which everything has arrived and every recovery has begun.
func (s *search) terminal() {
	s.result.terminal++
	open := slices.Index(s.now.decided, 0)
	switch {
	case open < 0:
		s.result.settled++
	case s.x.live:
		s.breaks("progress", "%v is never decided, though every message has arrived", s.x.instance(open))
		s.blame()
	}
}

func (s *search) within() bool {
	if time.Since(s.logged) > 20*time.Second {
		s.logged = time.Now()
		s.logf("%s: %d states, %d expanded, depth %d, %d local states, %d messages, %d MiB, %.0f s", s.x.name,
			s.visited.count, s.result.expanded, s.depth, len(s.locals), len(s.inputs), s.bytes()>>20,
			time.Since(s.began).Seconds())
	}
	return time.Since(s.began) < s.limits.wall && s.bytes() < s.limits.memory &&
		(s.x.states == 0 || s.visited.count < s.x.states)
}

// ownSteps follows the inputs that are no messages.
func (s *search) ownSteps() {
	proposed := s.proposed()
	for command := range s.x.leaders {
		if proposed>>command&1 == 0 {
			if s.mayPropose(command, proposed) {
				s.follow(s.own.propose[command])
			}
			continue
		}
		leader, _ := s.members.Column(s.x.leaders[command])
		if s.locals[s.now.at[leader]].hasty>>command&1 != 0 {
			s.follow(s.own.hurry[command])
		}
		for at := range s.now.at {
			if s.x.recoverable(s.now.recoveries, command) && s.locals[s.now.at[at]].committed>>command&1 == 0 {
				s.follow(s.own.recover[at][command])
			}
		}
	}
	if s.now.crashes > 0 {
		for at, l := range s.now.at {
			for kept := 0; kept <= s.locals[l].lazy; kept++ {
				s.follow(s.own.crash[at][kept])
			}
		}
	}
}

func (s *search) proposed() uint32 {
	var mask uint32
	for _, l := range s.now.at {
		mask |= s.locals[l].led
	}
	return mask
}

// mayPropose holds back the second command of a leader until it has led the first.
func (s *search) mayPropose(command int, proposed uint32) bool {
	for earlier := range command {
		if s.x.leaders[earlier] == s.x.leaders[command] && proposed>>earlier&1 == 0 {
			return false
		}
	}
	return true
}

// follow makes the state that an input leads to, and keeps it if it is new.
func (s *search) follow(in inputID) {
	if s.broken != "" || !s.apply(in) {
		return
	}
	s.buffer = s.then.encode(s.buffer[:0])
	if !bytes.Equal(s.buffer, s.current) { // else it only repeats what nobody needs
		s.result.transitions++
		s.push(s.index, in)
	}
}

// apply makes s.then of s.now. It reports whether the input does anything.
func (s *search) apply(in inputID) bool {
	column, kind := s.inputs[in].at, s.inputs[in].kind
	if s.muting && slices.Contains(s.x.mute, s.members.Voters[column]) {
		return false
	}
	from := s.now.at[column]
	done := s.step(from, in)
	if s.broken != "" {
		s.blame()
		return false
	}
	if done == nil || done.inert {
		return false // to lose a message is to do less with it
	}
	if done.to == from && !s.x.once && s.allUnderWay(done.sent) {
		return false
	}
	s.now.copyTo(&s.then)
	g := &s.then
	g.at[column] = done.to
	switch kind {
	case inRecover:
		g.recoveries = s.x.spend(g.recoveries, s.inputs[in].command)
	case inCrash:
		g.crashes--
		if f := s.x.future(g.recoveries, g.crashes); s.narrow(done.to, f) == s.narrow(from, f) {
			return false // nothing was lost
		}
	case inMessage:
		if s.x.once {
			g.wire = remove(g.wire, in)
		}
	}
	for _, m := range done.sent {
		g.wire = insert(g.wire, m)
	}
	for i := range done.claims {
		s.check(&done.claims[i])
	}
	if f := s.x.future(g.recoveries, g.crashes); f != s.locals[g.at[column]].future {
		for i := range g.at {
			g.at[i] = s.narrow(g.at[i], f)
		}
		column = everywhere
	}
	if !s.x.plain {
		s.bury(column, done.sent)
	}
	if s.broken != "" {
		s.blame(in)
		return false
	}
	return true
}

// allUnderWay reports whether nobody would notice if the messages were sent once more.
func (s *search) allUnderWay(sent []inputID) bool {
	for _, m := range sent {
		if _, present := slices.BinarySearch(s.now.wire, m); !present {
			return false
		}
	}
	return true
}

func insert(set []inputID, m inputID) []inputID {
	at, present := slices.BinarySearch(set, m)
	if present {
		return set
	}
	return slices.Insert(set, at, m)
}

func remove(set []inputID, m inputID) []inputID {
	at, present := slices.BinarySearch(set, m)
	if !present {
		return set
	}
	return slices.Delete(set, at, at+1)
}

// everywhere stands for all columns.
const everywhere = -1

// bury drops messages that cannot matter any more, whatever follows.
//
//   - A reply that its receiver ignores now will be ignored for ever: each belongs to one stage of one
//     attempt, which comes once.
//   - Whatever is told about an instance to a replica that will never forget its decision is ignored.
//   - A request to such a replica is answered with the decision and nothing else happens, so the answer
//     takes its place; if the asker knows as well, nothing does.
//   - A Waiting or Refusal that changes nothing now changes nothing later, unless a crash makes the receiver
//     forget what it was told before.
//   - Where no recovery begins any more, a Refusal only ends what may as well go unanswered for ever. The
//     leader that a Refusal at ballot 0 drives to the slow path may take it by itself.
//
// What is dead changes only with the state of its sender or receiver, or if it is new.
func (s *search) bury(column int, sent []inputID) {
	g := &s.then
	s.fresh = s.fresh[:0]
	kept := g.wire[:0]
	for _, m := range g.wire {
		if column == everywhere || s.touches(m, column) || slices.Contains(sent, m) {
			if s.dead(m) {
				continue
			}
		}
		kept = append(kept, m)
	}
	g.wire = kept
	for _, m := range s.fresh {
		if !s.dead(m) {
			g.wire = insert(g.wire, m)
		}
	}
}

func (s *search) touches(m inputID, column int) bool {
	in := &s.inputs[m]
	return in.at == column || in.from == column
}

// dead reports whether a message cannot matter any more. What takes its place goes to s.fresh.
func (s *search) dead(m inputID) bool {
	g, in := &s.then, &s.inputs[m]
	at, reply, request, refusal, commit := in.at, in.reply, in.request, in.refusal, in.commit
	to, from := &s.locals[g.at[at]], &s.locals[g.at[in.from]]
	told := in.subject < len(g.decided) && to.firm>>in.subject&1 != 0
	switch {
	case request && told:
		if from.firm>>in.subject&1 == 0 {
			if done := s.step(g.at[at], m); done != nil {
				s.fresh = append(s.fresh, done.sent...)
			}
		}
		return true
	case request:
		return false
	case told, refusal && g.recoveries == 0:
		return true
	case reply, !commit && g.crashes == 0:
		done := s.step(g.at[at], m)
		return done == nil || done.inert
	}
	return false
}

// votes counts the replicas that have done something.
func (s *search) votes(a act, command int, ballot epaxos.Ballot) int {
	var who voters
	for column, l := range s.then.at {
		if !s.x.plain && s.locals[l].firm>>command&1 != 0 {
			who |= 1 << column
		}
		for _, d := range s.locals[l].deeds {
			if d.act == a && d.command == command && d.ballot == ballot {
				who |= d.who
			}
		}
	}
	return bits.OnesCount64(uint64(who))
}

func (s *search) breaks(invariant, format string, args ...any) {
	if s.broken == "" {
		s.broken = violation(invariant, format, args...)
	}
}

// check says whether enough deeds stand behind a claim; see ledger.
func (s *search) check(c *claim) {
	switch {
	case c.decision:
		s.checkDecision(c)
	case c.waiting > 0:
		if n := s.votes(initial, c.command, epaxos.Ballot{}); c.waiting > n {
			s.breaks("commit-votes", "the recovery of %v waits with %d equal votes, there are %d",
				s.x.instance(c.command), c.waiting, n)
		}
	default:
		s.checkProposal(c)
	}
}

func (s *search) checkProposal(c *claim) {
	id, slow := s.x.instance(c.command), s.members.SlowQuorum()
	v := &s.verdicts[s.then.decided[c.command]]
	if v.value != "" && v.ballot.Less(c.ballot) && v.value != c.value {
		s.breaks("agreement", "%v proposes %s at %v, decided was %s at %v", id, c.value, c.ballot, v.value, v.ballot)
	}
	if c.ballot.IsZero() {
		return
	}
	if n := s.votes(promised, c.command, c.ballot); n < slow {
		s.breaks("commit-votes", "%v is proposed at %v on %d promises", id, c.ballot, n)
	}
	if n := s.votes(validated, c.command, c.ballot); !c.noOp && n < slow && !s.inherited(c) {
		s.breaks("commit-votes", "%v is proposed at %v on %d validations", id, c.ballot, n)
	}
}

// inherited reports whether anyone has accepted anything at a lower ballot.
func (s *search) inherited(c *claim) bool {
	for _, l := range s.then.at {
		if !s.x.plain && s.locals[l].firm>>c.command&1 != 0 {
			return true
		}
		for _, d := range s.locals[l].deeds {
			if d.act == accepted && d.command == c.command && d.ballot.Less(c.ballot) {
				return true
			}
		}
	}
	return false
}

func (s *search) checkDecision(c *claim) {
	id := s.x.instance(c.command)
	known := &s.verdicts[s.then.decided[c.command]]
	switch {
	case known.value == "":
	case known.value != c.value:
		s.breaks("agreement", "%v is decided as %s, before it was %s", id, c.value, known.value)
		return
	default:
		return
	}
	slow, fast := s.votes(accepted, c.command, c.ballot), 0
	if c.ballot.IsZero() {
		fast = s.votes(initial, c.command, epaxos.Ballot{})
	}
	if slow < s.members.SlowQuorum() && fast < s.members.FastQuorum() {
		s.breaks("commit-votes", "%v is decided at %v on %d accepts, %d equal pre-accepts", id, c.ballot, slow, fast)
	}
	for _, l := range s.then.at {
		for _, d := range s.locals[l].deeds {
			if d.act == proposedValue && d.command == c.command && c.ballot.Less(d.ballot) && d.value != c.value {
				s.breaks("agreement", "%v is decided as %s at %v, proposed was %s at %v", id, c.value, c.ballot,
					d.value, d.ballot)
			}
		}
	}
	s.then.decided[c.command] = s.verdict(c)
	s.checkVisibility(c.command)
}

func (s *search) verdict(c *claim) uint8 {
	for i := range s.verdicts {
		if i > 0 && s.verdicts[i].ballot == c.ballot && s.verdicts[i].value == c.value {
			return uint8(i)
		}
	}
	if len(s.verdicts) == 256 {
		panic("more decisions than an explorer can number")
	}
	s.verdicts = append(s.verdicts, verdict{ballot: c.ballot, noOp: c.noOp, deps: c.deps, value: c.value})
	return uint8(len(s.verdicts) - 1)
}

// checkVisibility compares a decision with all others: the commands interfere.
func (s *search) checkVisibility(command int) {
	one, id := &s.verdicts[s.then.decided[command]], s.x.instance(command)
	column, _ := s.members.Column(id.Replica)
	for c, index := range s.then.decided {
		other, otherID := &s.verdicts[index], s.x.instance(c)
		if c == command || index == 0 || one.noOp || other.noOp {
			continue
		}
		otherColumn, _ := s.members.Column(otherID.Replica)
		if !one.deps.Covers(otherColumn, otherID.Slot) && !other.deps.Covers(column, id.Slot) {
			s.breaks("visibility", "%v and %v interfere and neither depends on the other", id, otherID)
		}
	}
}

// blame keeps the schedule that leads to what is broken.
func (s *search) blame(last ...inputID) {
	path := append(slices.Clone(s.culprit), last...)
	for at := s.index; at > 0; {
		parent, by := s.lineage.of(at)
		path = append(path, by)
		at = parent
	}
	slices.Reverse(path)
	path = append(slices.Clone(s.preface), path...)
	for _, in := range path {
		s.result.schedule = append(s.result.schedule, s.inputs[in])
	}
}

// outcome reads what noteOutcome has counted: "1.1=[2.1] 2.1=no-op", and, if asked, who knows it.
func (s *search) outcome(key string, whoKnows bool) string {
	var words []string
	for command := range s.x.leaders {
		v := s.verdicts[key[command]]
		word := "open"
		switch {
		case v.value == "":
		case v.noOp:
			word = "no-op"
		default:
			word = s.members.FormatDeps(v.deps)
		}
		words = append(words, fmt.Sprintf("%v=%s", s.x.instance(command), word))
	}
	if whoKnows {
		words = append(words, fmt.Sprintf("known %x", key[len(s.x.leaders):]))
	}
	return strings.Join(words, " ")
}

// outcomes is the sorted list of all outcomes.
func (s *search) outcomes(whoKnows bool) []string {
	var all []string
	for key := range s.result.outcomes { //nolint:maprange // sorted below
		all = append(all, s.outcome(key, whoKnows))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
