package wire

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

// plainSet is an InstanceSet without cleverness.
type plainSet struct {
	epoch epaxos.Epoch
	has   map[epaxos.InstanceID]bool
}

const plainSlots = 24

func plainOf(s *InstanceSet) plainSet {
	p := plainSet{epoch: s.Epoch, has: map[epaxos.InstanceID]bool{}}
	for replica := epaxos.ReplicaID(1); replica <= 3; replica++ {
		for slot := epaxos.Slot(1); slot <= plainSlots; slot++ {
			if id := (epaxos.InstanceID{Epoch: s.Epoch, Replica: replica, Slot: slot}); s.Has(id) {
				p.has[id] = true
			}
		}
	}
	return p
}

func (p plainSet) covers(other plainSet) bool {
	if other.epoch != p.epoch {
		return other.epoch < p.epoch
	}
	for id := range other.has {
		if !p.has[id] {
			return false
		}
	}
	return true
}

func (p plainSet) unite(other plainSet) plainSet {
	switch {
	case other.epoch > p.epoch:
		return other
	case other.epoch < p.epoch:
		return p
	}
	both := plainSet{epoch: p.epoch, has: map[epaxos.InstanceID]bool{}}
	for _, one := range []plainSet{p, other} {
		for id := range one.has {
			both.has[id] = true
		}
	}
	return both
}

// checkShape expects the invariant of columns and runs.
func checkShape(t *rapid.T, s *InstanceSet) {
	last := epaxos.ReplicaID(0)
	for _, c := range s.Columns {
		if c.Replica <= last {
			t.Fatalf("columns out of order: %+v", s)
		}
		last = c.Replica
		end := c.Prefix
		for _, run := range c.Above {
			if run.First <= end+1 || run.Last < run.First {
				t.Fatalf("run %v behind %d: %+v", run, end, s)
			}
			end = run.Last
		}
	}
}

func drawSmallSet(t *rapid.T) InstanceSet {
	s := InstanceSet{Epoch: epaxos.Epoch(rapid.IntRange(1, 2).Draw(t, "epoch"))}
	for range rapid.IntRange(0, 12).Draw(t, "runs") {
		first := epaxos.Slot(rapid.IntRange(1, plainSlots).Draw(t, "first"))
		last := min(plainSlots, first+epaxos.Slot(rapid.IntRange(0, 5).Draw(t, "more")))
		s.AddUpTo(epaxos.ReplicaID(rapid.IntRange(1, 3).Draw(t, "replica")), first, last)
		checkShape(t, &s)
	}
	return s
}

func TestInstanceSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawSmallSet(t), drawSmallSet(t)
		pa, pb := plainOf(&a), plainOf(&b)
		if got, want := a.Covers(&b), pa.covers(pb); got != want {
			t.Fatalf("%+v covers %+v: %v", a, b, got)
		}
		if !a.Covers(&a) {
			t.Fatalf("%+v does not cover itself", a)
		}
		id := epaxos.InstanceID{Epoch: a.Epoch, Replica: 2, Slot: epaxos.Slot(rapid.IntRange(1, plainSlots).Draw(t, "slot"))}
		one := a.Clone()
		if isNew := one.Add(id.Replica, id.Slot); isNew == a.Has(id) {
			t.Fatalf("%v is new to %+v: %v", id, a, isNew)
		}
		pa.has[id] = true
		checkShape(t, &one)
		if got := plainOf(&one); !reflect.DeepEqual(got, pa) {
			t.Fatalf("%+v with %v is %+v", a, id, one)
		}
		both := one.Clone()
		both.Unite(&b)
		checkShape(t, &both)
		if got := plainOf(&both); !reflect.DeepEqual(got, pa.unite(pb)) {
			t.Fatalf("%+v united with %+v is %+v", one, b, both)
		}
		if got := plainOf(&one); !reflect.DeepEqual(got, pa) {
			t.Fatal("a clone shares memory")
		}
		prefixes := both.Prefixes()
		if !both.Covers(&prefixes) {
			t.Fatalf("%+v has prefixes %+v", both, prefixes)
		}
		token := WatchToken{Told: both}
		decoded, err := DecodeWatchToken(AppendWatchToken(nil, &token))
		if err != nil || !decoded.Told.Covers(&both) || !both.Covers(&decoded.Told) {
			t.Fatalf("%+v is read as %+v, %v", both, decoded.Told, err)
		}
	})
}

// What a hostile token claims must not be reckoned with beyond the last slot.
func TestSlotsBeyondTheLastAreRefused(t *testing.T) {
	for name, c := range map[string]InstanceColumn{
		"gap":    {Replica: 1, Prefix: slotMax - 1, Above: []InstanceRun{{slotMax + 1, slotMax + 1}}},
		"length": {Replica: 1, Prefix: 1, Above: []InstanceRun{{3, slotMax + 1}}},
		"prefix": {Replica: 1, Prefix: math.MaxUint64},
	} {
		token := WatchToken{Told: InstanceSet{Epoch: 1, Columns: []InstanceColumn{c}}}
		if got, err := DecodeWatchToken(AppendWatchToken(nil, &token)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}
