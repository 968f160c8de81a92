package sim

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// fate is what the faults of the moment do to a parcel.
type fate struct {
	lost, twice bool
	late        time.Duration
	reorders    *trouble
}

// fate asks every fault of the network, and notes which of them did something. luck is a number in
// [0, 1) for the chances of all.
func (w *world) fate(p parcel, luck float64) fate {
	var f fate
	for _, t := range w.weather {
		before := f
		switch t.Kind {
		case CutOneWay, CutBothWays, Star, Partition, Evict:
			f.lost = f.lost || t.cuts(p.from, p.to)
		case Loss:
			f.lost = f.lost || luck < 0.02+0.5*t.Level*t.Level
		case Duplication:
			f.twice = f.twice || luck > 0.95-0.4*t.Level
		case Reordering:
			f.reorders = t
			f.late += time.Duration(luck * t.Level * float64(400*time.Millisecond))
			continue // it happened once a frame overtakes another
		case SlowLink:
			if t.A == p.from && t.B == p.to {
				f.late += time.Duration((0.05 + t.Level) * float64(2*time.Second))
			}
		case SlowType, SplitKnowledge:
			if p.message != nil {
				f.late += w.lateness(t, p.from, p.to, p.message)
			}
		case LostType:
			f.lost = f.lost || p.message != nil && t.loses(p.message) && luck < 0.2+0.8*t.Level
		}
		if f != before {
			w.happened(t)
		}
	}
	return f
}

// cuts reports whether a fault parts two replicas.
func (t *trouble) cuts(from, to int) bool {
	in := func(column int) bool { return t.Set>>column&1 == 1 }
	switch t.Kind {
	case Evict:
		return from == t.A || to == t.A
	case CutOneWay:
		return from == t.A && to == t.B
	case CutBothWays:
		return from == t.A && to == t.B || from == t.B && to == t.A
	case Star: // A hears all; of the others only those outside the set hear each other
		return from != t.A && to != t.A && (in(from) || in(to))
	default:
		return in(from) != in(to)
	}
}

// lostTypes are those whose loss an epoch's end has to bear.
var lostTypes = [...]messageType{typeEnded, typeCommit, typeStateRequest, typeStateChunk, typeGossip}

func (t *trouble) loses(m epaxos.Message) bool { return typeOf(m) == lostTypes[t.Type%len(lostTypes)] }

// delays reports whether a fault of the moment makes this message late.
func (w *world) delays(from, to int, m epaxos.Message) bool {
	for _, t := range w.weather {
		if (t.Kind == SlowType || t.Kind == SplitKnowledge) && w.lateness(t, from, to, m) > 0 ||
			t.Kind == LostType && t.loses(m) {
			return true
		}
	}
	return false
}

// lateness is the delay of a message by its type, or by its type, instance and link: with the second
// the replicas know different instances, and no repetition evens it out.
func (w *world) lateness(t *trouble, from, to int, m epaxos.Message) time.Duration {
	kind := w.kindOf(m)
	if kind != messageType(t.Type) {
		return 0
	}
	if t.Kind == SlowType {
		if t.Set&1 == 0 && to != t.A {
			return 0
		}
		return time.Duration((0.02 + t.Level) * float64(3*time.Second))
	}
	id := epaxos.InstanceOf(m)
	draw := fingerprint(w.options.Seed)
	draw.add(uint64(kind)<<32 | uint64(from)<<16 | uint64(to)) //nolint:gosec // small
	draw.add(uint64(id.Replica)<<48 | uint64(id.Slot))
	draw.add(uint64(t.index)) //nolint:gosec // small
	if w.options.other != nil {
		draw.addBytes(opaque(m))
	}
	if float64(draw>>40)/(1<<24) >= t.Level {
		return 0
	}
	return 200*time.Millisecond + time.Duration(draw&(1<<32-1)) // up to 4.5 s
}
