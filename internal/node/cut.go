package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// Cuts (docs/protocol.md, Q5 to Q7): a command that interferes with everything names one state, and whoever executes
// it keeps that state readable for a while.

// Cuts bounds what a replica keeps for reads of earlier states. Zero values are defaults.
type Cuts struct {
	Max int // states at a time; default CutsMax
	// Bytes is how much may be saved after a state until it is given up. As long as it is kept nothing of that is
	// ever given back, be it overwritten or dropped. Default CutBytesMax.
	Bytes uint64
}

const (
	// CutsMax is how many cuts a replica holds at a time.
	CutsMax = 16
	// CutBytesMax is how much a replica saves after a cut until it gives it up: 1 GiB.
	CutBytesMax = 1 << 30
	// cutPatience is how long a read waits at a replica that has yet to execute the cut.
	cutPatience = time.Second
	// cutsGoneMax is of how many cuts a replica remembers why it does not hold them.
	cutsGoneMax = 64
)

func (c Cuts) withDefaults() Cuts {
	return Cuts{Max: cmp.Or(c.Max, CutsMax), Bytes: cmp.Or(c.Bytes, CutBytesMax)}
}

var (
	// ErrCuts: no more states can be kept.
	ErrCuts = errors.New("the replica keeps as many cuts as it may; release some, or wait until they end")
	// ErrCutGone: the state at a cut is not kept here. Others may have it.
	ErrCutGone = errors.New("the replica does not hold this cut")
	// ErrCutAwaited: the replica cannot tell yet.
	ErrCutAwaited = errors.New("the replica has not executed this cut yet, if it is one")
)

// Why a cut is not held.
var (
	errCutUnknown  = fmt.Errorf("%w: it is none, or was executed before the replica last started", ErrCutGone)
	errCutOver     = fmt.Errorf("%w: its time is up", ErrCutGone)
	errCutReleased = fmt.Errorf("%w: it was released", ErrCutGone)
	errCutNoRoom   = fmt.Errorf("%w: the disk is too full to keep it", ErrCutGone)
	errCutWritten  = fmt.Errorf("%w: too much has been written since", ErrCutGone)
	errCutAdopted  = fmt.Errorf("%w: the replica has taken over the state of another", ErrCutGone)
	errCutFull     = fmt.Errorf("%w: it keeps as many others as it may", ErrCutGone)
	errCutStart    = fmt.Errorf("%w: it was executed while the replica started", ErrCutGone)
)

// cuts is what a replica knows of them.
//
// Invariant: the group of every kept one is pinned once for it.
type cuts struct {
	config Cuts
	kept   []cut
	owed   []cut // executed in the running component, whose state is not saved yet
	gone   []goneCut
	saved  uint64 // bytes so far
}

// cut is a state that is kept.
type cut struct {
	id    epaxos.InstanceID
	group uint64
	ttl   time.Duration
	until time.Duration
	saved uint64 // bytes before it
}

type goneCut struct {
	id  epaxos.InstanceID
	why error
}

func (c *cuts) find(id epaxos.InstanceID) int {
	return slices.IndexFunc(c.kept, func(one cut) bool { return one.id == id })
}

// why tells why a cut is not held.
func (c *cuts) why(id epaxos.InstanceID) error {
	for _, g := range slices.Backward(c.gone) {
		if g.id == id {
			return g.why
		}
	}
	return errCutUnknown
}

func (c *cuts) remember(id epaxos.InstanceID, why error) {
	if len(c.gone) == cutsGoneMax {
		c.gone = slices.Delete(c.gone, 0, 1)
	}
	c.gone = append(c.gone, goneCut{id, why})
}

// owe notes that a cut was executed.
func (c *cuts) owe(id epaxos.InstanceID, ttl uint64) {
	one := cut{id: id, ttl: time.Duration(min(ttl, wire.CutTTLMax)) * time.Millisecond} //nolint:gosec // an hour
	if n := len(c.owed); n > 0 && c.owed[n-1].id == id {                                // one command may hold several
		c.owed[n-1].ttl = max(c.owed[n-1].ttl, one.ttl)
		return
	}
	c.owed = append(c.owed, one)
}

// refuseOwed gives up what was executed and is not kept yet.
func (c *cuts) refuseOwed(why error) {
	for _, one := range c.owed {
		c.remember(one.id, why)
	}
	c.owed = c.owed[:0]
}

// drop gives up the cuts that meet a condition.
func (n *Node) dropCuts(why error, meets func(*cut) bool) {
	c := &n.cuts
	c.kept = slices.DeleteFunc(c.kept, func(one cut) bool {
		if !meets(&one) {
			return false
		}
		n.config.Store.Unpin(one.group)
		c.remember(one.id, why)
		return true
	})
}

// giveUpCuts gives up all.
func (n *Node) giveUpCuts(why error) {
	n.cuts.refuseOwed(why)
	n.dropCuts(why, func(*cut) bool { return true })
}

// settleCuts gives up what is over.
func (n *Node) settleCuts() {
	c := &n.cuts
	n.dropCuts(errCutOver, func(one *cut) bool { return n.now >= one.until })
	n.dropCuts(errCutWritten, func(one *cut) bool { return c.saved-one.saved > c.config.Bytes })
}

// ReleaseCut gives up a cut, if it is held here.
func (n *Node) ReleaseCut(id epaxos.InstanceID) {
	n.dropCuts(errCutReleased, func(one *cut) bool { return one.id == id })
}

// asksCut reports whether a request to the service itself is for a cut.
func asksCut(request *epaxos.Request, f epaxos.Footprint) bool {
	return f.Controls() && !f.EndsEpoch() && controlKind(request) == wire.ControlCut
}

func controlKind(request *epaxos.Request) wire.ControlKind {
	c, err := wire.DecodeControl(request.Payload)
	if err != nil {
		return 0
	}
	return c.Kind
}

// pin keeps the state behind a component, which was just saved, for the cuts and barriers in it. It is the same on
// every replica, since whatever else is executed anywhere comes before or after all of the component.
func (n *Node) pin(answers []Answer) {
	for i := range answers {
		if answers[i].barrier && answers[i].Cut == 0 {
			answers[i].Cut = n.config.Store.Pin()
		}
	}
	c := &n.cuts
	for _, one := range c.owed {
		if len(c.kept) >= c.config.Max {
			c.remember(one.id, errCutFull)
			continue
		}
		one.group, one.until, one.saved = n.config.Store.Pin(), n.now+one.ttl, c.saved
		c.kept = append(c.kept, one)
	}
	c.owed = c.owed[:0]
}

// CutStatus is a state that a replica keeps for reads.
type CutStatus struct {
	ID    epaxos.InstanceID
	Left  time.Duration // until its time is up
	Bytes uint64        // saved since, none of which is given back meanwhile
}

func (n *Node) cutStatus() []CutStatus {
	all := make([]CutStatus, 0, len(n.cuts.kept))
	for i := range n.cuts.kept {
		one := &n.cuts.kept[i]
		all = append(all, CutStatus{ID: one.id, Left: one.until - n.now, Bytes: n.cuts.saved - one.saved})
	}
	return all
}

// everything is the footprint that no cut commutes with.
var everything = epaxos.Footprint{{Mode: epaxos.Everything}}

// awaitCut makes a read of a cut wait until this replica has executed it.
func (n *Node) awaitCut(r *reading) error {
	r.point, r.since = true, n.now
	if r.Cut.Epoch > n.members.Epoch {
		return ErrBehind
	}
	column, votes := n.membership.Column(r.Cut.Replica)
	if n.core == nil || !votes || r.Cut.Epoch < n.members.Epoch {
		return nil // nothing is left to wait for
	}
	r.Token = Token{Epoch: r.Cut.Epoch, Deps: make(epaxos.Dependencies, n.membership.N())}
	r.Token.Deps[column] = r.Cut.Slot
	return nil
}

// readsCut reports whether a read of a cut may be answered, and how.
func (n *Node) readsCut(r *reading) (answer Answer, ready bool) {
	answer = Answer{Proposal: r.Proposal}
	at := n.cuts.find(r.Cut)
	switch {
	case at >= 0:
		if answer.Past, answer.Gone = n.config.Store.At(n.cuts.kept[at].group); answer.Gone != nil {
			if !errors.Is(answer.Gone, storage.ErrGone) {
				n.fault = fmt.Errorf("read cut %v: %w", r.Cut, answer.Gone)
			}
			answer.Past, answer.Gone = nil, fmt.Errorf("%w: %w", ErrCutGone, answer.Gone)
		}
	case n.covers(r.Token) || n.orderer.Passed(everything, r.Token.Deps):
		answer.Gone = n.cuts.why(r.Cut)
	case n.now-r.since >= cutPatience:
		answer.Gone = ErrCutAwaited
	default:
		return answer, false
	}
	return answer, true
}
