package watch

import (
	"sort"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Journal is what was executed last, instance by instance, with the changes that each has made. It is bounded in
// bytes, and forgets its beginning.
//
// Invariant: segments are neighbours, there is at least one, and each begins with what was executed before it.
type Journal struct {
	bytesMax int
	tokenMax int
	executed wire.InstanceSet
	segments []segment
	bytes    int
	next     uint64 // number of the next step
}

// segment is a run of steps of one epoch. It is what is forgotten at once, and where a search may begin.
type segment struct {
	before  wire.InstanceSet // executed before its first step
	first   uint64           // number of its first step
	steps   []step
	changes []execution.Change // of all steps
	bytes   int
}

// step is one instance that was executed. Few fields in few pieces of memory: there is one for each command.
type step struct {
	slot    epaxos.Slot
	replica epaxos.ReplicaID
	end     uint32 // of its changes among those of the segment; they begin where those before end
}

// changesOf is what a step has changed.
func (s *segment) changesOf(i int) []execution.Change {
	begin := uint32(0)
	if i > 0 {
		begin = s.steps[i-1].end
	}
	return s.changes[begin:s.steps[i].end]
}

const (
	segmentSteps = 256
	segmentShare = 16 // a segment has at most this part of the bytes, or one step
	stepBytes    = 24
	changeBytes  = 96 // beside key and value
	runBytes     = 16
)

func newJournal(bytesMax int) Journal {
	j := Journal{bytesMax: bytesMax, tokenMax: tokenMax, next: 1}
	j.open()
	return j
}

// restart forgets everything: what was executed so far is all that is known of it.
func (j *Journal) restart(executed wire.InstanceSet) {
	j.segments, j.bytes, j.executed = nil, 0, executed
	j.open()
}

// begin starts the next epoch, in which nothing is executed yet.
func (j *Journal) begin(epoch epaxos.Epoch) {
	j.executed = wire.InstanceSet{Epoch: epoch}
	j.open()
	j.forget()
}

// open starts a segment. An empty one stays: it is where those begin who were told all of an epoch.
func (j *Journal) open() {
	s := segment{before: j.executed.Clone(), first: j.next}
	if last := len(j.segments) - 1; last >= 0 { // the next is mostly like the last
		s.steps = make([]step, 0, len(j.segments[last].steps))
		s.changes = make([]execution.Change, 0, len(j.segments[last].changes))
	}
	for i := range s.before.Columns {
		s.bytes += runBytes * (2 + len(s.before.Columns[i].Above))
	}
	j.bytes += s.bytes
	j.segments = append(j.segments, s)
}

// add appends an instance that was executed now, and reports whether it was not known to be.
func (j *Journal) add(replica epaxos.ReplicaID, slot epaxos.Slot, changes []execution.Change) bool {
	s := &j.segments[len(j.segments)-1]
	if len(s.steps) >= segmentSteps || s.bytes >= j.bytesMax/segmentShare && len(s.steps) > 0 {
		j.open()
		s = &j.segments[len(j.segments)-1]
	}
	if !j.executed.Add(replica, slot) {
		return false
	}
	bytes := stepBytes
	for i := range changes {
		bytes += changeBytes + changes[i].Size()
	}
	s.changes = append(s.changes, changes...)
	//nolint:gosec // a segment has no so many changes
	s.steps = append(s.steps, step{slot: slot, replica: replica, end: uint32(len(s.changes))})
	s.bytes += bytes
	j.bytes += bytes
	j.next++
	j.forget()
	return true
}

// forget drops the oldest segments until the rest is within the bound.
func (j *Journal) forget() {
	for j.bytes > j.bytesMax {
		if len(j.segments) == 1 {
			if len(j.segments[0].steps) == 0 {
				return
			}
			j.open()
		}
		j.bytes -= j.segments[0].bytes
		j.segments[0] = segment{}
		j.segments = j.segments[1:]
	}
}

// locate finds where to begin to look for what a set does not hold; false if it may lie before the journal begins.
// What was executed before a segment only grows from one to the next, so the last one that the set covers is found
// by halving.
func (j *Journal) locate(told *wire.InstanceSet) (position uint64, ok bool) {
	beyond := sort.Search(len(j.segments), func(i int) bool { return !told.Covers(&j.segments[i].before) })
	if beyond == 0 {
		return 0, false
	}
	return j.segments[beyond-1].first, true
}

// holds reports whether the journal still has a position, or ends there.
func (j *Journal) holds(position uint64) bool { return position >= j.segments[0].first }

// segmentOf is the index of the segment that a position lies in; the last one for the end of the journal.
func (j *Journal) segmentOf(position uint64) int {
	return sort.Search(len(j.segments), func(i int) bool { return j.segments[i].first > position }) - 1
}

// executedBefore is what was executed before a position, in memory of its own.
func (j *Journal) executedBefore(position uint64) wire.InstanceSet {
	if position >= j.next {
		return j.executed.Clone()
	}
	s := &j.segments[j.segmentOf(position)]
	set := s.before.Clone()
	for i := range position - s.first {
		set.Add(s.steps[i].replica, s.steps[i].slot)
	}
	return set
}

// visitor is shown a step, and says whether to go on.
type visitor func(position uint64, id epaxos.InstanceID, changes []execution.Change) bool

// visit shows the steps in [from, to).
func (j *Journal) visit(from, to uint64, f visitor) {
	for i := j.segmentOf(from); i < len(j.segments); i++ {
		s := &j.segments[i]
		for k := max(from, s.first) - s.first; k < uint64(len(s.steps)); k++ {
			if s.first+k >= to {
				return
			}
			one := &s.steps[k]
			id := epaxos.InstanceID{Epoch: s.before.Epoch, Replica: one.replica, Slot: one.slot}
			if !f(s.first+k, id, s.changesOf(int(k))) { //nolint:gosec // an index
				return
			}
		}
	}
}
