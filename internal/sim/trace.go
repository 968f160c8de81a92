package sim

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// fingerprint is what a run comes to: a hash of everything that left a replica or reached a disk, and of
// the instant it did. Two runs with one fingerprint are the same run, with or without a trace.
type fingerprint uint64

// add mixes a number in. Multiplying by an odd constant loses nothing; the rotation carries high
// bits down.
func (f *fingerprint) add(v uint64) {
	*f = fingerprint(bits.RotateLeft64((uint64(*f)^v)*0x9e3779b97f4a7c15, 29))
}

// addBytes mixes a body in, eight bytes at a time, and its length, so that two bodies never read like
// one.
func (f *fingerprint) addBytes(body []byte) {
	f.add(uint64(len(body)))
	for ; len(body) >= 8; body = body[8:] {
		f.add(binary.LittleEndian.Uint64(body))
	}
	var rest [8]byte
	copy(rest[:], body)
	f.add(binary.LittleEndian.Uint64(rest[:]))
}

// noteKind is what a note of the fingerprint is about.
type noteKind uint64

const (
	noteFrame noteKind = iota + 1
	noteSave
	noteAnswer
	noteFault
	noteStart
	noteCrash
	noteHeal
)

// note takes something that happened at or between replicas into the fingerprint.
func (w *world) note(kind noteKind, where int, body []byte) {
	w.hash.add(uint64(kind)<<32 | uint64(where)) //nolint:gosec // columns
	w.hash.add(uint64(w.now))                    //nolint:gosec // time does not go below zero
	w.hash.addBytes(body)
}

// tracer is the trace of a node, or nil where nobody reads it.
func (w *world) tracer() func(string) {
	if !w.options.Log {
		return nil
	}
	return func(line string) { w.tracef("%s", line) }
}

// tracef adds a line to the trace, if there is one.
func (w *world) tracef(format string, args ...any) {
	if w.options.Log {
		at := float64(w.now.Microseconds()) / 1000
		w.lines = append(w.lines, fmt.Sprintf("%9.1f ", at)+fmt.Sprintf(format, args...))
	}
}
