package wire

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func drawAny(t *rapid.T) uint64 { return drawNumber(t, 0, math.MaxUint64) }

func drawKept(t *rapid.T) Session {
	return Session{Floor: drawAny(t), Version: drawAny(t), TTL: drawAny(t)}
}

// drawSaved is a session as it is saved: it may be a lease.
func drawSaved(t *rapid.T) Session {
	s := drawKept(t)
	if rapid.Bool().Draw(t, "leased") {
		s.Keys, s.KeyBytes = drawNumber(t, 1, LeaseKeysMax), drawNumber(t, 1, LeaseBytesMax)
	}
	return s
}

var sessionOpCodec = codec[SessionOp]{
	name: "session_op", fixed: true,
	samples: []sample[SessionOp]{
		{"open", SessionOp{Kind: SessionOpen, TTL: 30000}},
		{"expire", SessionOp{Kind: SessionExpire, Version: 300}},
		{"inspect", SessionOp{Kind: SessionInspect}},
		{"checkpoint", SessionOp{Kind: SessionCheckpoint, Number: 70000}},
	},
	generate: func(t *rapid.T) SessionOp {
		return SessionOp{
			Kind:   SessionKind(rapid.IntRange(int(SessionOpen), int(sessionLast)).Draw(t, "kind")),
			Number: drawAny(t), TTL: drawAny(t), Version: drawAny(t),
		}
	},
	encode: func(dst []byte, op SessionOp) []byte { return AppendSessionOp(dst, &op) }, decode: DecodeSessionOp,
}

var sessionCodec = codec[Session]{
	name: "session", fixed: true, generate: drawSaved,
	samples: []sample[Session]{
		{"some", Session{Floor: 70, Version: 3, TTL: 30000}},
		{"lease", Session{Floor: 1, Version: 3, TTL: 30000, Keys: 2, KeyBytes: 300}},
	},
	encode: func(dst []byte, s Session) []byte { return AppendSession(dst, &s) }, decode: DecodeSession,
}

var sessionResultCodec = codec[SessionResult]{
	name: "session_result", fixed: true,
	samples: []sample[SessionResult]{
		{"gone", SessionResult{Gone: true}},
		{"opened", SessionResult{ID: id(2, 300), Session: Session{Floor: 1, TTL: 30000}}},
		{"settled", SessionResult{Session: Session{Floor: 1}, Outcome: OutcomeApplied, Result: []byte("x")}},
		{"inspected", SessionResult{Session: Session{Floor: 1}, Keys: []string{"a", "\xff"}}},
		{"covered", SessionResult{Session: Session{Floor: 9}, Missing: []uint64{3, 400}}},
	},
	generate: func(t *rapid.T) SessionResult {
		return SessionResult{
			Gone: rapid.Bool().Draw(t, "gone"), ID: drawSession(t), Session: drawKept(t),
			Outcome: Outcome(rapid.IntRange(0, int(OutcomeUnknown)).Draw(t, "outcome")), Result: drawBytes(t),
			Missing: drawList(t, 9, drawAny),
			Keys:    drawList(t, 9, func(t *rapid.T) string { return string(drawBytes(t)) }),
		}
	},
	encode: func(dst []byte, r SessionResult) []byte { return AppendSessionResult(dst, &r) }, decode: DecodeSessionResult,
}

var sessionRecordCodec = codec[SessionRecord]{
	name: "session_record", fixed: true,
	samples: []sample[SessionRecord]{{"executed", SessionRecord{Executed: true, Result: []byte("x")}}},
	generate: func(t *rapid.T) SessionRecord {
		return SessionRecord{Executed: rapid.Bool().Draw(t, "executed"), Result: drawBytes(t)}
	},
	encode: func(dst []byte, r SessionRecord) []byte { return AppendSessionRecord(dst, &r) }, decode: DecodeSessionRecord,
}

func TestSessionOp(t *testing.T)           { sessionOpCodec.test(t) }
func TestSession(t *testing.T)             { sessionCodec.test(t) }
func TestSessionResult(t *testing.T)       { sessionResultCodec.test(t) }
func TestSessionRecord(t *testing.T)       { sessionRecordCodec.test(t) }
func FuzzDecodeSessionOp(f *testing.F)     { sessionOpCodec.fuzz(f) }
func FuzzDecodeSession(f *testing.F)       { sessionCodec.fuzz(f) }
func FuzzDecodeSessionResult(f *testing.F) { sessionResultCodec.fuzz(f) }
func FuzzDecodeSessionRecord(f *testing.F) { sessionRecordCodec.fuzz(f) }
