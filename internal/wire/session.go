package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// SessionKind says what an operation on a session asks for.
type SessionKind uint8

const (
	// SessionOpen makes a session, whose id is that of the instance.
	SessionOpen SessionKind = iota + 1
	// SessionKeep tells that the client lives.
	SessionKeep
	// SessionCheckpoint drops the records below Number: the client has all answers below it, or wants none.
	SessionCheckpoint
	// SessionSettle asks what became of the request Number. If it was not executed by now it never will be.
	SessionSettle
	// SessionExpire ends the session unless its version has changed from Version.
	SessionExpire
	// SessionClose ends the session.
	SessionClose
)

// SessionOp is an operation on a session.
type SessionOp struct {
	Kind    SessionKind
	Number  uint64 // with SessionCheckpoint and SessionSettle
	TTL     uint64 // with SessionOpen: milliseconds of silence after which the session may expire
	Version uint64 // with SessionExpire
}

// Session is what the applied state holds of a session.
type Session struct {
	Floor   uint64 // requests with numbers below it have no record any more
	Version uint64 // how often the client told that it lives
	TTL     uint64 // milliseconds
}

// SessionResult is the answer to an operation on a session.
type SessionResult struct {
	Gone    bool              // there is no such session: it expired, was closed, or never was
	ID      epaxos.InstanceID // with SessionOpen
	Session Session           // after the operation, where it is not gone
	Outcome Outcome           // with SessionSettle, if the number is not out of the session's bounds: for ever
	Result  []byte            // where Outcome is OutcomeApplied
	Missing []uint64          // with SessionCheckpoint: the numbers that it covers and that were never applied
}

// AppendSessionOp appends [kind, number, ttl, version].
func AppendSessionOp(dst []byte, op *SessionOp) []byte {
	e := appendTo(dst)
	e.array(4)
	e.uint(uint64(op.Kind))
	e.uint(op.Number)
	e.uint(op.TTL)
	e.uint(op.Version)
	return e.done()
}

// DecodeSessionOp reads what AppendSessionOp wrote.
func DecodeSessionOp(body []byte) (SessionOp, error) {
	return decode("SessionOp", body, func(d *decoder) SessionOp {
		d.exactly("array", 4)
		return SessionOp{
			Kind:   SessionKind(d.uint("kind", uint64(SessionOpen), uint64(SessionClose))),
			Number: d.uint64("number"), TTL: d.uint64("ttl"), Version: d.uint64("version"),
		}
	})
}

// AppendSession appends [floor, version, ttl].
func AppendSession(dst []byte, s *Session) []byte {
	e := appendTo(dst)
	e.session(s)
	return e.done()
}

// DecodeSession reads what AppendSession wrote.
func DecodeSession(body []byte) (Session, error) { return decode("Session", body, (*decoder).session) }

func (e *encoder) session(s *Session) {
	e.array(3)
	e.uint(s.Floor)
	e.uint(s.Version)
	e.uint(s.TTL)
}

func (d *decoder) session() Session {
	d.exactly("session", 3)
	return Session{Floor: d.uint64("floor"), Version: d.uint64("version"), TTL: d.uint64("ttl")}
}

// AppendSessionResult appends [gone, id or nil, session, outcome, result, [missing...]].
func AppendSessionResult(dst []byte, r *SessionResult) []byte {
	e := appendTo(dst)
	e.array(6)
	e.bool(r.Gone)
	e.instance(r.ID)
	e.session(&r.Session)
	e.uint(uint64(r.Outcome))
	e.bytes(r.Result)
	e.array(len(r.Missing))
	for _, n := range r.Missing {
		e.uint(n)
	}
	return e.done()
}

// DecodeSessionResult reads what AppendSessionResult wrote.
func DecodeSessionResult(body []byte) (SessionResult, error) {
	return decode("SessionResult", body, func(d *decoder) SessionResult {
		d.exactly("array", 6)
		r := SessionResult{
			Gone: d.bool("gone"), ID: d.instanceOrNone("id"), Session: d.session(),
			Outcome: Outcome(d.uint("outcome", 0, uint64(OutcomeUnknown))), Result: d.bytes("result", ClientFrameMax),
		}
		if n := d.array("missing", 1, math.MaxInt); n > 0 {
			r.Missing = make([]uint64, 0, n)
			for i := 0; i < n && d.ok(); i++ {
				r.Missing = append(r.Missing, d.uint64("missing"))
			}
		}
		return r
	})
}

// SessionRecord is what is kept of a request of a session.
type SessionRecord struct {
	Executed bool // else it was settled as never executed
	Result   []byte
}

// AppendSessionRecord appends [executed, result].
func AppendSessionRecord(dst []byte, r *SessionRecord) []byte {
	e := appendTo(dst)
	e.array(2)
	e.bool(r.Executed)
	e.bytes(r.Result)
	return e.done()
}

// DecodeSessionRecord reads what AppendSessionRecord wrote.
func DecodeSessionRecord(body []byte) (SessionRecord, error) {
	return decode("SessionRecord", body, func(d *decoder) SessionRecord {
		d.exactly("array", 2)
		return SessionRecord{Executed: d.bool("executed"), Result: d.bytes("result", ClientFrameMax)}
	})
}
