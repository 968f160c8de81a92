package sim

import (
	"errors"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
)

// turn runs the turns of a host until it has nothing more to do. It may crash on the way, and a slow
// one comes to it later.
func (w *world) turn(i int) {
	h := w.hosts[i]
	if h.slow == nil {
		w.runTurns(i)
		return
	}
	if h.turnDue {
		return
	}
	w.happened(h.slow)
	h.turnDue = true
	life := h.life
	var due func()
	due = func() {
		if w.awake(i, life, due) {
			h.turnDue = false
			w.runTurns(i)
		}
	}
	w.after(time.Duration((0.01+h.slow.Level)*float64(300*time.Millisecond)), due)
}

// turnsMax is more turns than any input takes.
const turnsMax = 10000

func (w *world) runTurns(i int) {
	h := w.hosts[i]
	for turns := 0; h.node != nil && !h.held && w.err == nil; turns++ {
		if turns == turnsMax {
			w.violated("progress", "r%d is busy for %d turns without any input: %+v", replicaOf(i), turns,
				h.node.Status())
			return
		}
		w.runTurn(i)
		if h.node == nil || !h.node.Busy() || h.node.NoRoom() != nil {
			return
		}
	}
}

// runTurn is one turn: save, send, execute, answer, with whatever is planned to go wrong between
// any two of these.
func (w *world) runTurn(i int) {
	h := w.hosts[i]
	w.spoil(h)
	saves := h.disk.saves
	messages, err := h.node.Save(w.local(i))
	if err != nil {
		w.stopped(i, err)
		return
	}
	h.disk.spoiled = false // this turn had nothing to save
	if h.full != nil && h.node.NoRoom() != nil {
		w.happened(h.full)
	}
	w.check.sent(i, messages)
	if h.slowSync != nil && h.disk.saves > saves {
		w.hold(i, messages)
		return
	}
	w.finish(i, messages)
}

// spoil makes the save of this turn fail if that is planned.
func (w *world) spoil(h *host) {
	if t := h.armed; t != nil && w.faults {
		switch t.Kind {
		case CrashBeforeSave, CrashUnsynced, FailedWrite, FailedSync:
			h.disk.spoil(t.Kind)
		}
	}
}

// hold lets what a turn wants to say wait for a slow disk.
func (w *world) hold(i int, messages []epaxos.Envelope) {
	h := w.hosts[i]
	w.happened(h.slowSync)
	h.held = true
	life := h.life
	w.after(time.Duration((0.02+h.slowSync.Level)*float64(500*time.Millisecond)), func() {
		if h.node == nil || h.life != life {
			return
		}
		h.held = false
		w.finish(i, messages)
		backlog := h.backlog
		h.backlog = nil
		for _, input := range backlog {
			w.after(0, input)
		}
	})
}

// finish is a turn from its save on.
func (w *world) finish(i int, messages []epaxos.Envelope) {
	h := w.hosts[i]
	group := h.disk.LastGroup()
	dies, sent := w.diesSaved(i, messages)
	w.network.send(i, group, messages[:sent])
	if dies {
		t := h.armed
		if h.dying != nil {
			t = h.dying
		}
		w.crash(i, death{back: t.For})
		w.happened(t)
		return
	}
	answers, err := h.node.Execute(w.local(i))
	if t := h.armed; err == nil && t != nil && t.Kind == CrashAnswered && w.pounces(t, anyFast(answers)) {
		w.answer(i, answers)
		w.crash(i, death{back: t.For})
		w.happened(t)
		return
	}
	w.network.send(i, group, messages[sent:])
	w.answer(i, answers)
	if err != nil {
		w.stopped(i, err)
		return
	}
	w.check.turned(i)
}

// diesSaved tells whether a host dies between its save and its execution, and how many messages leave
// before either. One that is to die answered tells nobody else before that.
func (w *world) diesSaved(i int, messages []epaxos.Envelope) (dies bool, sent int) {
	h := w.hosts[i]
	if w.faults && w.ambushed(i, messages) {
		return true, int(h.dying.Level * float64(len(messages)))
	}
	t := h.armed
	if t == nil || !w.faults {
		return false, len(messages)
	}
	switch t.Kind {
	case CrashAnswered:
		return false, 0
	case CrashSaved:
		if w.pounces(t, len(messages) > 0) {
			return true, 0
		}
	case CrashBetween:
		if w.pounces(t, len(messages) > 1) {
			return true, 1 + int(t.Level*float64(len(messages)-1))
		}
	}
	return false, len(messages)
}

// pounces reports whether a fault takes a chance. It lets some pass, so that not always the first one
// is it.
func (w *world) pounces(t *trouble, chance bool) bool {
	if !chance || !w.faults {
		return false
	}
	t.skip--
	return t.skip < 0
}

func anyFast(answers []node.Answer) bool {
	for _, a := range answers {
		if a.Fast {
			return true
		}
	}
	return false
}

// stopped ends a life that a node has ended itself. It must be for a fault of its disk, and the node
// must never go on.
func (w *world) stopped(i int, err error) {
	h, id := w.hosts[i], replicaOf(i)
	if h.wiped != nil && errors.Is(err, node.ErrForgot) {
		w.crash(i, death{back: -1})
		w.bury(i, err.Error())
		return
	}
	t := h.armed
	if h.dying != nil {
		t = h.dying
	}
	if t == nil || !errors.Is(err, errCrash) && !errors.Is(err, errDisk) {
		w.violated("integrity", "r%d stops: %v", id, err)
		return
	}
	if errors.Is(err, errDisk) {
		if messages, again := h.node.Save(w.local(i)); again == nil || len(messages) > 0 {
			w.violated("durability", "r%d goes on after its disk failed", id)
			return
		}
	}
	w.crash(i, death{keepBegun: t.Level > 0.5, back: t.For})
	w.happened(t)
}

// death is how a life ends.
type death struct {
	keepBegun bool          // what was written and not synced is there afterwards
	back      time.Duration // until the next life; less than zero is never
}

// crash ends a life. Every unsynced byte is lost, but that a save that was under way may have
// reached the disk.
func (w *world) crash(i int, d death) {
	h := w.hosts[i]
	w.report.Crashes++
	w.note(noteCrash, i, nil)
	w.tracef("crash of r%d", replicaOf(i))
	w.tally(h)
	h.node, h.core, h.armed = nil, nil, nil
	h.dying = nil
	h.disk = newDisk(h.disk.memory.Crash(d.keepBegun))
	w.check.crashed(i, h.disk)
	w.left += len(h.calls) // clients ask as much again, so that a run has its answers
	w.lose(h)
	if d.back < 0 {
		return
	}
	w.after(d.back, func() {
		if h.node == nil && !h.gone && w.faults {
			w.start(i)
		}
	})
}
