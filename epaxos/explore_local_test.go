package epaxos_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
)

// One replica seen from outside. An input changes one replica only, so the explorer keeps each distinct
// *local* state once, as the inputs that lead to it. To take one more step it makes a fresh replica of the
// shipped code, repeats those inputs and adds the next; the answer is remembered. Local states are few, and
// nothing of a replica is ever copied.

// exploration is one configuration to be explored.
type exploration struct {
	name       string
	shape      shape
	leaders    []epaxos.ReplicaID // of the commands, which all interfere; several of one leader come in this order
	recoveries int                // recovery starts in all
	apart      bool               // instead one recovery start of each command
	crashes    int                // crashes with restart in all
	once       bool               // no message arrives twice; else each arrives at any times, any number of times
	plain      bool               // no reduction
	prefix     []string           // what has happened before; see recite
	mute       []epaxos.ReplicaID // these get no input once the prefix is over: they have died
	states     int                // where it ends, if it is not to be complete
	live       bool               // in the end everything is decided
	must       []epaxos.Branch    // have to be reached, or the exploration has fallen silent
	amnesia    bool               // planted fault: a crash loses the whole disk
}

// budget is a number of recovery starts, or, where they are apart, the set of commands that have one.
func (x *exploration) budget() uint8 {
	if x.apart {
		return 1<<len(x.leaders) - 1
	}
	return uint8(x.recoveries)
}

func (x *exploration) recoverable(budget uint8, command int) bool {
	if x.apart {
		return budget>>command&1 != 0
	}
	return budget > 0
}

func (x *exploration) spend(budget uint8, command int) uint8 {
	if x.apart {
		return budget &^ (1 << command)
	}
	return budget - 1
}

func (x *exploration) instance(command int) epaxos.InstanceID {
	leader := x.leaders[command]
	slot := epaxos.Slot(1)
	for _, earlier := range x.leaders[:command] {
		if earlier == leader {
			slot++
		}
	}
	return epaxos.InstanceID{Epoch: 1, Replica: leader, Slot: slot}
}

// window is how many instances a replica may have in flight: as many as it has commands. Nothing executes
// here, so a command that became a no-op waits for room for ever instead of being led again, which would
// be one command more.
func (x *exploration) window(leader epaxos.ReplicaID) int {
	count := 0
	for _, l := range x.leaders {
		if l == leader {
			count++
		}
	}
	return max(count, 1)
}

type inputKind uint8

const (
	inMessage inputKind = iota
	inPropose           // command
	inRecover           // begin to recover the instance
	inHurry             // stop waiting for a fast quorum
	inCrash             // crash and restart, with so many of the records that were not synced
)

// input is what can happen to one replica.
type input struct {
	kind     inputKind
	at       int // column
	id       epaxos.InstanceID
	command  int
	kept     int
	envelope epaxos.Envelope
	from     int // column of the sender of a message
	refusal  bool
	commit   bool
	reply    bool // a message that never matters again once it does not matter
	request  bool // a message that is answered with the decision by one that knows it
	subject  int  // command that a message is about
}

type (
	inputID uint16
	localID uint32
)

// local is one state of one replica, with what it has done that checks ask for.
type local struct {
	parent localID
	by     inputID
	column int
	future
	committed uint32
	firm      uint32 // commands whose decision it will never forget
	led       uint32 // commands proposed
	hasty     uint32 // own instances whose slow quorum waits for a fast one
	lazy      int    // records that a crash would lose
	deeds     []deed
}

// future is what can still happen to a replica apart from messages: as it narrows, less of a state matters.
type future struct {
	mortal   bool // it may still crash, so its disk is part of it
	restless bool // it may still begin a recovery
}

// deed is an act that proposals and decisions rest on. It is never undone, so it is part of the state though
// no replica remembers it. Unless the exploration is plain, a replica that will never forget a decision
// counts as having done everything for it, and its deeds are let go: agreement is watched by the decision.
type deed struct {
	act     act
	command int
	ballot  epaxos.Ballot
	who     voters
	value   string // of a proposal
}

func (d deed) compare(other deed) int {
	return cmp.Or(cmp.Compare(d.act, other.act), cmp.Compare(d.command, other.command),
		d.ballot.Compare(other.ballot), cmp.Compare(d.who, other.who), cmp.Compare(d.value, other.value))
}

// proposed is the act of sending an Accept; the others are those of the ledger.
const proposedValue act = 100

// claim is a message or decision that needs deeds of several replicas behind it.
type claim struct {
	decision bool
	waiting  int // the count of a Waiting; 0 is none
	command  int
	ballot   epaxos.Ballot
	noOp     bool
	deps     epaxos.Dependencies
	value    string // of both
}

// step is what an input does to a local state.
type step struct {
	to     localID
	inert  bool // it changes nothing and sends nothing
	sent   []inputID
	claims []claim
}

// replayer is a replica that repeats a history.
type replayer struct {
	x       *exploration
	column  int
	replica *epaxos.Replica
	disk    *disk
	deeds   []deed
	earlier epaxos.Branches   // of earlier lives
	sent    []epaxos.Envelope // of the last input
	claims  []claim
	records []epaxos.Record
	broken  string
}

// standstill is the time of all inputs.
const standstill = time.Second

func newReplayer(x *exploration, column int) *replayer {
	p := &replayer{x: x, column: column, disk: newDisk()}
	p.boot()
	return p
}

func (p *replayer) boot() {
	members := p.x.shape.membership()
	limits := epaxos.DefaultLimits()
	limits.InFlight = p.x.window(members.Voters[p.column])
	timing := epaxos.DefaultTiming()
	timing.DisputedWait = timing.FastPathWait // whatever ends the wait, so that no wait is among what is explored
	r, err := epaxos.New(epaxos.Config{
		ID: members.Voters[p.column], Membership: members, Index: deps.New(members.N()), Limits: limits,
		Rand: seeded(1), Timing: timing,
	})
	if err != nil {
		panic(err)
	}
	for _, record := range p.disk.synced {
		if err := r.Restore(record); err != nil {
			p.breaks(violation("integrity", "a restart is refused: %v", err))
		}
	}
	r.Restored(standstill)
	p.replica = r
}

func (p *replayer) breaks(why string) {
	if p.broken == "" {
		p.broken = why
	}
}

// take applies an input and does what the replica wants done. It reports whether the input was possible.
func (p *replayer) take(in *input) (possible bool) {
	defer func() {
		if why := recover(); why != nil {
			p.breaks(violation("integrity", "panic: %v", why))
			possible = true
		}
	}()
	p.sent, p.claims, p.records = nil, nil, nil
	malformed := p.replica.Stats().Malformed
	switch in.kind {
	case inMessage:
		p.replica.Step(standstill, in.envelope)
	case inPropose:
		id := epaxos.ProposalID(in.command + 1)
		request := epaxos.Request{Number: uint64(id)}
		if err := p.replica.Propose(standstill, id, request, write("x")); err != nil {
			return false
		}
	case inRecover:
		if !p.replica.RecoverNow(in.id) {
			return false
		}
	case inHurry:
		if !p.replica.EndPatience(in.id) {
			return false
		}
	case inCrash:
		return p.crash(in.kept)
	}
	if p.replica.Stats().Malformed != malformed {
		p.breaks(violation("integrity", "r%d calls a message of a correct replica malformed", p.column+1))
	}
	p.turn()
	return true
}

func (p *replayer) crash(kept int) bool {
	if kept > len(p.disk.lazy) {
		return false
	}
	p.earlier = p.branches()
	p.must(p.disk.crash(kept))
	if p.x.amnesia {
		p.disk = newDisk()
	}
	p.boot()
	p.turn()
	return true
}

func (p *replayer) must(why string) {
	if why != "" {
		p.breaks(why)
	}
}

// branches counts those of all lives.
func (p *replayer) branches() epaxos.Branches {
	all, stats := p.earlier, p.replica.Stats()
	all.Add(&stats.Branches)
	return all
}

// turn saves, then sends.
func (p *replayer) turn() {
	ready := p.replica.Ready()
	p.records = slices.Clone(ready.Records)
	p.must(p.disk.save(ready.Records, ready.MustSync))
	for _, r := range ready.Records {
		p.note(r)
	}
	for _, l := range ready.Led {
		p.must(p.disk.forbidsAnswer(p.x.shape.membership(), l))
	}
	for _, e := range ready.Messages {
		if _, nominates := e.Message.(epaxos.TryRecover); nominates {
			continue
		}
		p.must(p.disk.forbids(e.Message))
		p.tell(e)
		if p.x.plain {
			p.sent = append(p.sent, e)
		} else if e, kept := p.distil(e); kept {
			p.sent = append(p.sent, e)
		}
	}
	slices.SortFunc(p.deeds, deed.compare)
	p.deeds = slices.Compact(p.deeds)
}

// distil gives a message the form that the explorer follows.
//
// A Commit that leaves its command to the PreAccept becomes one with the command: a receiver that lacks the
// command would fetch it, which changes nothing but that it then has that Commit. With this the Fetch is
// gone too. A decision is the same whatever ballot it was made at, and whoever tells it.
func (p *replayer) distil(e epaxos.Envelope) (epaxos.Envelope, bool) {
	switch m := e.Message.(type) {
	case epaxos.Fetch:
		return e, false
	case epaxos.Commit:
		if m.Value.Kind == epaxos.Known {
			m.Value = epaxos.Value{Kind: epaxos.Full, Command: p.disk.state[m.ID].Command}
		}
		e.Message = m
	}
	return e, true
}

func (p *replayer) did(d deed) { p.deeds = append(p.deeds, d) }

func (p *replayer) command(id epaxos.InstanceID) int {
	for c := range p.x.leaders {
		if p.x.instance(c) == id {
			return c
		}
	}
	return len(p.x.leaders) // a command that was led again
}

// note keeps what a record is a vote for, as ledger.saved does.
func (p *replayer) note(r epaxos.Record) {
	c, self := p.command(r.ID), voters(1)<<p.column
	if c == len(p.x.leaders) {
		return
	}
	p.did(deed{act: promised, command: c, ballot: r.Promised, who: self})
	switch {
	case r.Phase == epaxos.PreAccepted && r.Deps.Equal(r.Initial):
		p.did(deed{act: initial, command: c, who: self})
	case r.Phase == epaxos.Accepted:
		p.did(deed{act: accepted, command: c, ballot: r.Accepted, who: self})
	case r.Phase == epaxos.Committed:
		p.claims = append(p.claims, claim{
			decision: true, command: c, ballot: r.Accepted, noOp: r.NoOp, deps: r.Deps, value: valueOf(r.NoOp, r.Deps),
		})
	}
}

// tell keeps what a message claims, as ledger.sent does.
func (p *replayer) tell(e epaxos.Envelope) {
	if p.command(epaxos.InstanceOf(e.Message)) == len(p.x.leaders) {
		return
	}
	switch m := e.Message.(type) {
	case epaxos.ValidateReply:
		to, _ := p.x.shape.membership().Column(e.To)
		both := voters(1)<<p.column | voters(1)<<to
		p.did(deed{act: validated, command: p.command(m.ID), ballot: m.Ballot, who: both})
	case epaxos.Waiting:
		p.claims = append(p.claims, claim{waiting: m.Count, command: p.command(m.ID)})
	case epaxos.Accept:
		noOp := m.Value.Kind == epaxos.NoOp
		c := claim{
			command: p.command(m.ID), ballot: m.Ballot, noOp: noOp, deps: m.Deps, value: valueOf(noOp, m.Deps),
		}
		p.once(c)
		p.claims = append(p.claims, c)
	}
}

// once is rule A3: only the owner of a ballot proposes at it, so one replica's deeds tell.
func (p *replayer) once(c claim) {
	for _, d := range p.deeds {
		if d.act == proposedValue && d.command == c.command && d.ballot == c.ballot && d.value != c.value {
			p.breaks(violation("agreement", "%v proposes %s at %v after %s",
				p.x.instance(c.command), c.value, c.ballot, d.value))
		}
	}
	p.did(deed{act: proposedValue, command: c.command, ballot: c.ballot, value: c.value})
}

// digest is equal for two players that answer all further inputs alike.
func (p *replayer) digest(f future, deeds []deed) [16]byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %v ", p.column, f)
	for _, d := range deeds {
		fmt.Fprintf(&b, "%d.%d.%v.%d.%s,", d.act, d.command, d.ballot, d.who, d.value)
	}
	b.Write(p.replica.AppendDigest(nil, epaxos.Digesting{Plain: p.x.plain, Settled: !f.restless}))
	if f.mortal {
		p.digestDisk(&b)
	}
	sum := sha256.Sum256(b.Bytes())
	return [16]byte(sum[:16])
}

// digestDisk appends what a restart finds, record by record what may be lost, and nothing of how it came there.
func (p *replayer) digestDisk(b *bytes.Buffer) {
	members := p.x.shape.membership()
	ids := make([]epaxos.InstanceID, 0, len(p.disk.state))
	for id := range p.disk.state { //nolint:maprange // sorted below
		ids = append(ids, id)
	}
	slices.SortFunc(ids, epaxos.InstanceID.Compare)
	for _, id := range ids {
		b.WriteString(members.FormatRecord(1, p.disk.state[id]))
		fmt.Fprintf(b, " %v;", p.disk.state[id].Command != nil)
	}
	for _, r := range p.disk.lazy {
		b.WriteString(members.FormatRecord(1, r))
		fmt.Fprintf(b, " %v+", r.Command != nil)
	}
}
