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
	// SessionInspect tells which keys are attached to the session, and takes those off its books that are not any more.
	SessionInspect

	sessionLast = SessionInspect
)

// Format is the level from which on an operation of this kind may be proposed.
func (k SessionKind) Format() uint32 {
	if k == SessionInspect {
		return FormatLeases
	}
	return FormatMin
}

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
	// Of a session that is a lease: how many keys are on its books, and how many bytes their names have.
	Keys     uint64
	KeyBytes uint64
}

// SessionResult is the answer to an operation on a session.
type SessionResult struct {
	Gone    bool              // there is no such session: it expired, was closed, or never was
	ID      epaxos.InstanceID // with SessionOpen
	Session Session           // after the operation, where it is not gone
	Outcome Outcome           // with SessionSettle, if the number is not out of the session's bounds: for ever
	Result  []byte            // where Outcome is OutcomeApplied
	Missing []uint64          // with SessionCheckpoint: the numbers that it covers and that were never applied
	Keys    []string          // with SessionInspect: those attached to it, ascending
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
			Kind:   SessionKind(d.uint("kind", uint64(SessionOpen), uint64(sessionLast))),
			Number: d.uint64("number"), TTL: d.uint64("ttl"), Version: d.uint64("version"),
		}
	})
}

// AppendSession appends [floor, version, ttl], and behind it keys and their bytes where there are any.
func AppendSession(dst []byte, s *Session) []byte {
	e := appendTo(dst)
	if s.Keys == 0 {
		e.session(s)
		return e.done()
	}
	e.array(leaseFields)
	e.uint(s.Floor)
	e.uint(s.Version)
	e.uint(s.TTL)
	e.uint(s.Keys)
	e.uint(s.KeyBytes)
	return e.done()
}

const (
	sessionFields = 3
	leaseFields   = 5

	sessionResultFields = 6
)

// DecodeSession reads what AppendSession wrote.
func DecodeSession(body []byte) (Session, error) {
	return decode("Session", body, func(d *decoder) Session {
		n := d.array("session", 1, leaseFields)
		s := Session{Floor: d.uint64("floor"), Version: d.uint64("version"), TTL: d.uint64("ttl")}
		switch n {
		case sessionFields:
		case leaseFields:
			s.Keys, s.KeyBytes = d.uint("keys", 1, LeaseKeysMax), d.uint("key bytes", 1, LeaseBytesMax)
		default:
			d.fail("session", "%d fields instead of %d or %d", n, sessionFields, leaseFields)
		}
		return s
	})
}

// session writes what clients are told of a session.
func (e *encoder) session(s *Session) {
	e.array(sessionFields)
	e.uint(s.Floor)
	e.uint(s.Version)
	e.uint(s.TTL)
}

func (d *decoder) session() Session {
	d.exactly("session", sessionFields)
	return Session{Floor: d.uint64("floor"), Version: d.uint64("version"), TTL: d.uint64("ttl")}
}

// AppendSessionResult appends [gone, id or nil, session, outcome, result, [missing...]], and [key...] behind it where
// there are keys. How many the session has on its books is not written.
func AppendSessionResult(dst []byte, r *SessionResult) []byte {
	e := appendTo(dst)
	e.array(sessionResultFields + min(1, len(r.Keys)))
	e.bool(r.Gone)
	e.instance(r.ID)
	e.session(&r.Session)
	e.uint(uint64(r.Outcome))
	e.bytes(r.Result)
	e.array(len(r.Missing))
	for _, n := range r.Missing {
		e.uint(n)
	}
	if len(r.Keys) > 0 {
		e.array(len(r.Keys))
		for _, key := range r.Keys {
			e.blob(key)
		}
	}
	return e.done()
}

// DecodeSessionResult reads what AppendSessionResult wrote.
func DecodeSessionResult(body []byte) (SessionResult, error) {
	return decode("SessionResult", body, func(d *decoder) SessionResult {
		n := d.array("array", 1, sessionResultFields+1)
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
		switch n {
		case sessionResultFields:
		case sessionResultFields + 1:
			r.Keys = d.keys("keys")
		default:
			d.fail("array", "%d fields instead of %d or one more", n, sessionResultFields)
		}
		return r
	})
}

func (d *decoder) keys(field string) []string {
	n := d.array(field, 1, LeaseKeysMax)
	if n == 0 {
		return nil
	}
	keys := make([]string, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		keys = append(keys, d.text(field, KeyMax))
	}
	return keys
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

// SessionRecordExecuted reads of what AppendSessionRecord wrote whether the request was executed.
func SessionRecordExecuted(body []byte) (bool, error) {
	return decode("SessionRecord", body, func(d *decoder) bool {
		d.exactly("array", 2)
		executed := d.bool("executed")
		d.view("result", ClientFrameMax)
		return executed
	})
}

// DecodeSessionRecord reads what AppendSessionRecord wrote.
func DecodeSessionRecord(body []byte) (SessionRecord, error) {
	return decode("SessionRecord", body, func(d *decoder) SessionRecord {
		d.exactly("array", 2)
		return SessionRecord{Executed: d.bool("executed"), Result: d.bytes("result", ClientFrameMax)}
	})
}
