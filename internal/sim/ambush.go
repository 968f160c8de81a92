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
	AddVoter: 2, AddLearner: 3, Promote: 3, Remove: 3, Replace: 2, Requorum: 2, Race: 4, Row: 3, Evict: 2,
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
	CrashSwitch, CrashSwitch, CrashSwitch, CrashInstall, CrashInstall, CrashSource, CrashSource, LostType, LostType, Wipe,
	Crash, CrashBetween, CrashForever, Partition, CutBothWays, CutOneWay, Star, Pause, ClockJump, WrongSuspicion, Loss,
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
	count := 2 + r.IntN(8)
	if r.IntN(8) == 0 {
		count += 12 // hardly an epoch comes to rest
	}
	for range count {
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
		if r.IntN(3) == 0 {
			p.add(Promote, at+between(r, p.trip, 2*time.Second))
		}
	}
	if r.IntN(4) == 0 {
		p.add(CrashAll, between(r, 0, p.end*9/10))
	}
}

// lieInWait lets faults hear of the moments at which they may strike a host.
func (w *world) lieInWait(i int) {
	h := w.hosts[i]
	h.disk.ambush = func(at moment) error {
		for _, t := range w.ambushes {
			if w.faults && h.dying == nil && t.ambushes(h, i, at) && w.pounces(t, true) {
				h.dying, t.struck = t, t.struck|1<<i
			}
		}
		switch {
		case h.dying == nil:
			return nil
		case h.dying.Level*4 < 1:
			return errDisk
		default:
			return errCrash
		}
	}
}

// ambushes reports whether a fault means this moment of a host.
func (t *trouble) ambushes(h *host, i int, at moment) bool {
	switch t.Kind {
	case CrashSwitch: // of some replicas, each once
		return at == moment(t.Type)%beforeStage && (t.Set&^t.struck)>>i&1 == 1 //nolint:gosec // small
	case CrashInstall: // of one
		return at == moment(t.Type)%moments && t.struck == 0 && !h.votes() //nolint:gosec // small
	default:
		return false
	}
}

// ambushed reports whether a host dies as it hands a part of its state over.
func (w *world) ambushed(i int, messages []epaxos.Envelope) bool {
	for _, t := range w.ambushes {
		if t.Kind == CrashSource && t.struck == 0 && handsOver(messages) && w.pounces(t, true) {
			w.hosts[i].dying, t.struck = t, 1
			return true
		}
	}
	return false
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
