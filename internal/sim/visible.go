package sim

import (
	"fmt"

	"github.com/264bc8cf/epaxos/epaxos"
)

// found is an invariant that a checker saw broken.
func found(invariant, format string, args ...any) *Violation {
	return &Violation{Invariant: invariant, Text: fmt.Sprintf(format, args...)}
}

// stop ends the run if a checker has found something.
func (w *world) stop(v *Violation) {
	if v != nil {
		w.violated(v.Invariant, "%s", v.Text)
	}
}

// pointKey names a key of a point access.
type pointKey struct {
	space epaxos.Space
	key   string
}

// isWide reports whether an access reaches more than one key.
func isWide(a *epaxos.Access) bool { return a.Range || a.Mode == epaxos.Everything }

// visibility checks that of two decided commands that interfere one depends on the other. Each new
// decision is compared with those it shares a key with; commands with ranges, which are few, with all.
type visibility struct {
	members epaxos.Membership
	keys    map[pointKey][]*epaxos.Decision
	wide    []*epaxos.Decision
	all     []*epaxos.Decision
	excused func(epaxos.InstanceID) bool // below the watermark, where a command may be missed
}

func newVisibility(m epaxos.Membership) *visibility {
	return &visibility{
		members: m, keys: map[pointKey][]*epaxos.Decision{},
		excused: func(epaxos.InstanceID) bool { return false },
	}
}

// decided takes a decision, once. No-ops execute nothing and need no order.
func (v *visibility) decided(d *epaxos.Decision) *Violation {
	if d.Command == nil {
		return nil
	}
	wide := false
	broken := v.against(d, v.wide)
	for i := range d.Command.Footprint {
		access := &d.Command.Footprint[i]
		if isWide(access) {
			wide = true
			continue
		}
		key := pointKey{access.Space, access.Key}
		if broken == nil {
			broken = v.against(d, v.keys[key])
		}
		v.keys[key] = append(v.keys[key], d)
	}
	if wide {
		v.wide = append(v.wide, d)
		if broken == nil {
			broken = v.against(d, v.all)
		}
	}
	v.all = append(v.all, d)
	return broken
}

func (v *visibility) against(d *epaxos.Decision, others []*epaxos.Decision) *Violation {
	for _, other := range others {
		if other == d || v.depends(d, other) || v.depends(other, d) ||
			!d.Command.Footprint.Interferes(other.Command.Footprint) || v.excused(other.ID) {
			continue
		}
		return found("visibility", "%v deps=%s %v and %v deps=%s %v interfere, and neither depends on the other",
			d.ID, v.members.FormatDeps(d.Deps), d.Command,
			other.ID, v.members.FormatDeps(other.Deps), other.Command)
	}
	return nil
}

func (v *visibility) depends(d, on *epaxos.Decision) bool {
	column, votes := v.members.Column(on.ID.Replica)
	return votes && d.Deps.Covers(column, on.ID.Slot)
}
