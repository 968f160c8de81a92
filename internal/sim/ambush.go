package sim

import (
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/storage"
)

// Trouble at the moments at which one epoch follows another, and while a state is taken over.

// changeKinds is how often a change is of a kind.
var changeKinds = [faultKinds]int{
	AddVoter: 2, AddLearner: 3, Promote: 3, Remove: 3, Replace: 2, Requorum: 2, Race: 4, Row: 3,
}

func changeBag(wanted func(FaultKind) bool) []FaultKind {
	var bag []FaultKind
	for kind := range faultKinds {
		for range changeKinds[kind] {
			if wanted(kind) {
				bag = append(bag, kind)
			}
		}
	}
	return bag
}

// troubleKinds come at about the same time as a change.
var troubleKinds = []FaultKind{
	CrashSwitch, CrashSwitch, CrashSwitch, CrashInstall, CrashInstall, CrashSource, LostType, LostType, Wipe, Crash,
	CrashBetween, CrashForever, Partition, CutBothWays, CutOneWay, Star, Pause, ClockJump, WrongSuspicion, Loss,
	SplitKnowledge, Duplication, CrashAgain, SlowSync, FullDisk,
}

// mortal reports whether a fault lies in wait, so that its For is how long the replica is away after it.
func (f *Fault) mortal() bool {
	return f.Kind <= FailedSync || f.Kind >= CrashSwitch && f.Kind <= CrashSource
}

// epochs draws changes, and trouble around them.
func (p *planner) epochs() {
	r := p.rand
	bag := changeBag(func(FaultKind) bool { return true })
	for range 2 + r.IntN(6) {
		at := between(r, 0, p.end*9/10)
		p.add(bag[r.IntN(len(bag))], at)
		for range r.IntN(3) {
			kind := troubleKinds[r.IntN(len(troubleKinds))]
			f := p.add(kind, max(0, at+between(r, -p.trip, 2*p.trip)))
			if f.mortal() {
				f.At = max(0, at-p.trip)
			}
			if p.replicas < 3 && kind == Star {
				p.faults = p.faults[:len(p.faults)-1]
			}
		}
	}
	if r.IntN(4) == 0 {
		p.add(CrashAll, between(r, 0, p.end*9/10))
	}
}

// lieInWait lets a fault of a host hear of the moments at which it may strike.
func (w *world) lieInWait(i int) {
	h := w.hosts[i]
	h.disk.ambush = func(at moment) bool {
		t := h.ambush
		if t == nil || !w.faults || t.Kind == CrashSource {
			return false
		}
		wanted := moment(t.Type) % beforeStage //nolint:gosec // small
		if t.Kind == CrashInstall {
			wanted = moment(t.Type) % moments //nolint:gosec // small
			if h.votes() {
				return false
			}
		}
		if at != wanted {
			return false
		}
		h.dying = t
		return true
	}
}

// handsOver reports whether some message is a part of a state.
func handsOver(messages []epaxos.Envelope) bool {
	return slices.ContainsFunc(messages, func(e epaxos.Envelope) bool {
		_, part := e.Message.(epaxos.StateChunk)
		return part
	})
}

// crashAll crashes every replica. They come back one after the other.
func (w *world) crashAll(t *trouble) {
	w.happened(t)
	for i, h := range w.hosts {
		if h.node != nil {
			w.crash(i, death{keepBegun: t.Set>>i&1 == 1, back: t.For * time.Duration(1+i%4) / 4})
		}
	}
}

// wipe empties the disk of a replica that has not voted, while it is down.
func (w *world) wipe(t *trouble) {
	for i, h := range w.hosts {
		if h.node == nil || h.votes() || i < w.members.N() || h.core != nil || !w.mayLose(i) {
			continue
		}
		w.happened(t)
		w.crash(i, death{back: t.For})
		h.wiped = t
		h.disk = newDisk(storage.NewMemory(storage.MemoryOptions{}))
		w.check.wiped(i, h.disk)
		return
	}
}
