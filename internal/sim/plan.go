package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// FaultKind is a way in which things go wrong.
type FaultKind uint8

// The faults. A replica that crashes forgets what is not synced, and comes back after a while.
const (
	Crash           FaultKind = iota // at any moment
	CrashBeforeSave                  // a turn is lost whole
	CrashUnsynced                    // written, not synced: the crash keeps it or takes it
	CrashSaved                       // saved, and no message has left
	CrashBetween                     // saved, and some messages have left
	CrashAnswered                    // a fast commit is saved and answered, and no Commit has left
	CrashAgain                       // and once more soon after its restart, on probation or while it catches up
	CrashForever                     // for good
	FailedWrite                      // the disk refuses a write: the replica must stop
	FailedSync                       // a sync fails, and what was written may be there or not: likewise
	BitFlip                          // a saved group changes under a crashed replica: it must not come back
	FullDisk                         // nothing can be saved for a while
	SlowSync                         // what a turn wants to say waits for the disk, while inputs pile up
	Pause                            // no input is taken for a while
	SlowReplica                      // turns happen late, with many inputs at once
	ClockJump                        // forward, by up to minutes
	ClockRate                        // a clock goes too slow or too fast
	WrongSuspicion                   // a replica takes a live one for dead
	TwinSuspicion                    // several replicas take two command leaders for dead at once
	CutOneWay                        // a link loses everything
	CutBothWays                      // two replicas do not hear each other
	Star                             // some hear only one replica, which hears them all
	Partition                        // two groups do not hear each other
	SlowLink                         // a link is slow
	SlowType                         // one type of message is slow, everywhere or to one replica
	SplitKnowledge                   // one type of message is late by instance and link, as often as it is repeated
	Loss                             // frames are lost
	Duplication                      // frames come twice, the second late
	Reordering                       // frames overtake each other
	Rush                             // no fault: requests for one key meet at two replicas

	// What happens only in runs with epochs.

	AddVoter     // no faults, from here to Row: a machine votes that has no state yet
	AddLearner   // a machine follows
	Promote      // a learner votes
	Remove       // a member leaves: one that is down, the one that proposes it, or any
	Replace      // a machine takes the place of a member
	Requorum     // f and e change
	Race         // two different changes are proposed at two replicas at about the same time
	Row          // several changes in a row
	Evict        // a replica that nobody hears is removed, and comes back
	CrashSwitch  // around the group that begins an epoch: not written, written and not synced, synced
	CrashInstall // in the middle of taking over a state, or when it takes effect
	CrashSource  // of a replica that hands a part of its state over
	CrashAll     // of all at once
	Wipe         // a crashed replica that has not voted comes back with an empty disk
	LostType     // messages of one type are lost
	faultKinds
)

var faultNames = [faultKinds]string{
	"crash", "crash-before-save", "crash-unsynced", "crash-saved", "crash-between", "crash-answered", "crash-again",
	"crash-forever", "failed-write", "failed-sync", "bit-flip", "full-disk", "slow-sync", "pause", "slow-replica",
	"clock-jump", "clock-rate", "wrong-suspicion", "twin-suspicion", "cut-one-way", "cut-both-ways", "star", "partition",
	"slow-link", "slow-type", "split-knowledge", "loss", "duplication", "reordering",
	"rush",
	"add-voter", "add-learner", "promote", "remove", "replace", "requorum", "race", "row", "evict",
	"crash-switch", "crash-install", "crash-source", "crash-all", "wipe", "lost-type",
}

// String is the fault's name in traces and coverage.
func (k FaultKind) String() string { return faultNames[k] }

// Fault is one entry of a plan. What the targets and the level mean depends on the kind.
type Fault struct {
	Kind    FaultKind
	At, For time.Duration
	A, B    int     // columns
	Set     uint64  // of columns
	Type    int     // of messages
	Level   float64 // in [0, 1)
}

// String is the fault as traces show it.
func (f Fault) String() string {
	return fmt.Sprintf("%v at %v for %v a=r%d b=r%d set=%b type=%d level=%.2f", f.Kind, f.At.Round(time.Millisecond),
		f.For.Round(time.Millisecond), f.A+1, f.B+1, f.Set, f.Type, f.Level)
}

// planner draws a plan. A fault takes the same number of draws whatever it is, so that a cluster of
// another size gets the same plan with other targets.
type planner struct {
	rand     *rand.Rand
	replicas int
	spare    int // replicas that may be lost for good
	end      time.Duration
	trip     time.Duration // there and back
	faults   []Fault
}

// drawPlan returns all faults of a run, in no order: those of its first epoch as if there were no other, then
// those of the changes.
func drawPlan(o Options, s *setup) []Fault {
	plan := drawUsual(o, s)
	if !s.epochs {
		return plan
	}
	p := &planner{rand: stream(o.Seed, streamEpochs, 1), replicas: s.machines, spare: s.members.F, end: o.Faults}
	p.trip = 2*(s.far+s.jitter) + 40*time.Millisecond
	p.epochs()
	return append(plan, p.faults...)
}

func drawUsual(o Options, s *setup) []Fault {
	p := &planner{rand: stream(o.Seed, streamPlan, 0), replicas: o.Replicas, spare: s.members.F, end: o.Faults}
	p.trip = 2*(s.far+s.jitter) + 40*time.Millisecond
	if s.profile == recovery && o.Replicas > 1 {
		for range 6 + p.rand.IntN(14) {
			p.episode()
		}
		p.mixed(3+p.rand.IntN(3), 3+p.rand.IntN(8))
		return p.faults
	}
	p.mixed(5+p.rand.IntN(6), 10+p.rand.IntN(16))
	return p.faults
}

// usual is how often ordinary trouble is of a kind; what is not here, episodes are made of.
var usual = [faultKinds]int{
	Crash: 3, CrashBeforeSave: 2, CrashUnsynced: 2, CrashSaved: 2, CrashBetween: 2, CrashAnswered: 4, CrashAgain: 2,
	CrashForever: 1, FailedWrite: 1, FailedSync: 1, BitFlip: 1, FullDisk: 2, SlowSync: 2, Pause: 3, SlowReplica: 2,
	ClockJump: 2, ClockRate: 2, WrongSuspicion: 2, TwinSuspicion: 1, CutOneWay: 2, CutBothWays: 2, Star: 1, Partition: 2,
	SlowLink: 2, SlowType: 2, SplitKnowledge: 1, Loss: 3, Duplication: 2, Reordering: 2,
}

// mixed draws faults of a few kinds, each at least once: a run of all kinds would be the same trouble
// every time.
func (p *planner) mixed(kinds, faults int) {
	var bag []FaultKind
	for kind := range faultKinds {
		for range usual[kind] {
			bag = append(bag, kind)
		}
	}
	p.rand.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
	var chosen []FaultKind
	for _, kind := range bag {
		if len(chosen) < kinds && p.possible(kind) && !slices.Contains(chosen, kind) {
			chosen = append(chosen, kind)
		}
	}
	for i := range max(kinds, faults) {
		p.add(chosen[i%len(chosen)], between(p.rand, 0, p.end*9/10))
	}
}

// possible reports whether a kind of fault can happen at all in a cluster of this size.
func (p *planner) possible(kind FaultKind) bool {
	switch {
	case p.replicas == 1:
		return kind < WrongSuspicion && kind != CrashSaved && kind != CrashBetween && p.mayLose(kind)
	case p.replicas == 2:
		return kind != Star && p.mayLose(kind)
	}
	return p.mayLose(kind)
}

// mayLose tells kinds that lose a replica for good where none may be lost.
func (p *planner) mayLose(kind FaultKind) bool {
	return p.spare > 0 || kind != CrashForever && kind != BitFlip
}

// add draws the rest of a fault.
func (p *planner) add(kind FaultKind, at time.Duration) *Fault {
	r := p.rand
	f := Fault{
		Kind: kind, At: at, For: between(r, 200*time.Millisecond, 3*time.Second), A: int(r.Uint32()), B: int(r.Uint32()),
		Set: r.Uint64(), Type: 1 + r.IntN(int(messageTypes)-1), Level: r.Float64(),
	}
	p.target(&f)
	if kind <= FailedSync && f.Level < 0.3 {
		f.For /= 10 // back before anybody misses it
	}
	p.faults = append(p.faults, f)
	return &p.faults[len(p.faults)-1]
}

// target brings what was drawn into the cluster: two columns that differ, and a set with some inside
// and some outside.
func (p *planner) target(f *Fault) {
	n := p.replicas
	f.A %= n
	f.B %= n
	if f.A == f.B {
		f.B = (f.A + 1) % n
	}
	f.Set &= 1<<n - 1
	f.Set |= 1 << f.A
	f.Set &^= 1 << f.B
}

// episode is trouble made for recovery: requests for one key meet at two replicas, each is known to some
// replicas only, others take the two leaders for dead at once, and perhaps they do die around their
// commits.
func (p *planner) episode() {
	r := p.rand
	at := between(r, 0, p.end*9/10)
	long := between(r, 200*time.Millisecond, 1200*time.Millisecond)
	rush := p.add(Rush, at)
	rush.For = long
	leaders := *rush
	p.split(typePreAccept, leaders, []float64{0.2, 0.4, 0.6}[r.IntN(3)])
	p.split(typeCommit, leaders, []float64{0, 0.5, 0.999}[r.IntN(3)])
	for range 2 {
		other := messageType(1 + r.IntN(int(messageTypes)-1))
		p.split(other, leaders, []float64{0, 0.1, 0.3}[r.IntN(3)])
	}
	mortal := []float64{0, 0, 0.3, 0.8}[r.IntN(4)]
	for _, leader := range []int{leaders.A, leaders.B} {
		kind := []FaultKind{Crash, Crash, CrashAnswered, CrashAnswered, CrashSaved, CrashBetween, CrashForever}[r.IntN(7)]
		f := p.add(kind, between(r, at, at+long/2))
		f.A, f.B = leader, leaders.A+leaders.B-leader
		if r.Float64() >= mortal {
			p.faults = p.faults[:len(p.faults)-1]
		}
	}
	for range 1 + r.IntN(3) {
		f := p.add(TwinSuspicion, between(r, at, at+p.trip))
		f.A, f.B, f.For = leaders.A, leaders.B, between(r, 50*time.Millisecond, time.Second)
	}
	if r.IntN(2) == 0 {
		p.add(WrongSuspicion, between(r, at, at+long))
	}
}

// split makes a share of the messages of a type late while the leaders are in a rush.
func (p *planner) split(kind messageType, during Fault, share float64) {
	f := p.add(SplitKnowledge, during.At)
	f.Type, f.Level, f.For = int(kind), share, during.For
	if share == 0 {
		p.faults = p.faults[:len(p.faults)-1]
	}
}
