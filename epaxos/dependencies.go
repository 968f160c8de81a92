package epaxos

import "slices"

// Dependencies is a vector with one slot for each voter, in the order of Membership.Voters. The
// value s in column r stands for every instance of that voter with a slot of at most s whose
// initial command interferes with the command that carries the vector (docs/protocol.md, rule D1).
// The vector names one exact set on every replica, whatever each has seen.
type Dependencies []Slot

// Raise makes d the union of d and other, column by column. Both have the same length.
func (d Dependencies) Raise(other Dependencies) {
	for i, s := range other {
		d[i] = max(d[i], s)
	}
}

// Covers reports whether a slot of a column lies at or below the vector. An unknown vector (nil)
// covers nothing.
func (d Dependencies) Covers(column int, slot Slot) bool {
	return column < len(d) && slot <= d[column]
}

// CoversAll reports whether d is at least other in every column.
func (d Dependencies) CoversAll(other Dependencies) bool {
	for i, s := range other {
		if !d.Covers(i, s) {
			return false
		}
	}
	return true
}

// Equal reports whether both vectors name the same set.
func (d Dependencies) Equal(other Dependencies) bool { return slices.Equal(d, other) }

// Clone copies the vector; nil stays nil.
func (d Dependencies) Clone() Dependencies { return slices.Clone(d) }
