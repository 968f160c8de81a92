package execution

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Sessions (docs/protocol.md, O): a request that carries a session and a number takes effect once, however many
// copies of it replicas lead. What a session remembers is applied state like any other: it is saved with the
// effects, goes into every snapshot and outlives every epoch.

// SessionWindow is how many numbers from its floor on a session takes. It bounds what is remembered of it.
const SessionWindow = wire.SessionWindow

// Verdict says what became of a request at its place in the order.
type Verdict uint8

const (
	// Executed: the result is that of the first copy that was executed, be it this one or an earlier.
	Executed Verdict = iota
	// SessionGone: there is no such session (any more). Whether another copy was executed is not known.
	SessionGone
	// BelowFloor: a checkpoint covers the number. Whether another copy was executed is not known.
	BelowFloor
	// BeyondWindow: the number is too far from the floor, so this copy was not executed.
	BeyondWindow
	// NeverApplied: it was settled that no copy is executed, before any was.
	NeverApplied
)

// Result is the end of one request.
type Result struct {
	Value   []byte
	Verdict Verdict
}

// SessionFootprint is what a request of a session touches, with what its payload does: of an operation on the session
// that is BooksFootprint (rule O1).
func SessionFootprint(request *epaxos.Request, own epaxos.Footprint) epaxos.Footprint {
	session := epaxos.Access{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: request.Session.Key()}
	if request.Number == 0 {
		return append(epaxos.Footprint{session}, own...)
	}
	session.Mode = epaxos.Read
	record := session
	record.Mode, record.Key = epaxos.Write, recordKey(request.Session, request.Number)
	return append(append(make(epaxos.Footprint, 0, len(own)+2), own...), session, record)
}

// recordKey is where the applied state holds what a request of a session was answered.
func recordKey(session epaxos.InstanceID, number uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(session.Key()), number))
}

// Perform carries out a command at its place in the order, and returns one result for each request. The error is a
// fault of this replica.
func (s *State) Perform(m StateMachine, v *Vertex) ([]Result, error) {
	results := make([]Result, len(v.Command.Requests))
	for i := range v.Command.Requests {
		request := &v.Command.Requests[i]
		var err error
		switch {
		case request.Opens():
			results[i].Value, err = s.openSession(v.ID, request.Payload)
		case request.Session.IsZero():
			results[i].Value, err = s.Run(m, v.Command.Footprint, request.Payload)
		case request.Number == 0:
			results[i].Value, err = s.changeSession(m, v.Command.Footprint, request)
		default:
			results[i], err = s.once(m, v.Command.Footprint, request)
		}
		if err != nil {
			return nil, fmt.Errorf("apply request %d of %d: %w", i+1, len(results), err)
		}
	}
	return results, nil
}

// once executes a request unless a copy of it was, or may have been (rule O2).
func (s *State) once(m StateMachine, footprint epaxos.Footprint, request *epaxos.Request) (Result, error) {
	session, found, err := s.Session(request.Session)
	if err != nil {
		return Result{}, err
	}
	switch {
	case !found:
		return Result{Verdict: SessionGone}, nil
	case request.Number < session.Floor:
		return Result{Verdict: BelowFloor}, nil
	case request.Number-session.Floor >= SessionWindow:
		return Result{Verdict: BeyondWindow}, nil
	}
	record, found, err := s.record(request.Session, request.Number)
	switch {
	case err != nil:
		return Result{}, err
	case found && !record.Executed:
		return Result{Verdict: NeverApplied}, nil
	case found:
		return Result{Value: record.Result}, nil
	}
	value, err := s.Run(m, footprint, request.Payload)
	if err != nil {
		return Result{}, err
	}
	// Failures too: a copy that came later could succeed after the client was told of the failure.
	err = s.putRecord(request, wire.SessionRecord{Executed: true, Result: value})
	return Result{Value: value}, err
}

func (s *State) openSession(id epaxos.InstanceID, payload []byte) ([]byte, error) {
	op, err := wire.DecodeSessionOp(payload)
	if err != nil || op.Kind != wire.SessionOpen {
		return wire.AppendSessionResult(nil, &wire.SessionResult{Gone: true}), nil
	}
	session := wire.Session{Floor: 1, TTL: op.TTL}
	s.putSession(id, &session)
	return wire.AppendSessionResult(nil, &wire.SessionResult{ID: id, Session: session}), nil
}

// changeSession carries out an operation on a session, which all its requests are ordered with.
func (s *State) changeSession(m StateMachine, footprint epaxos.Footprint, request *epaxos.Request) ([]byte, error) {
	session, found, err := s.Session(request.Session)
	if err != nil {
		return nil, err
	}
	op, malformed := wire.DecodeSessionOp(request.Payload)
	result := wire.SessionResult{Gone: !found}
	if found && malformed == nil {
		change := operation{State: s, machine: m, footprint: footprint, id: request.Session, session: &session}
		if result, err = change.perform(&op); err != nil {
			return nil, err
		}
		result.Session = session
	}
	return wire.AppendSessionResult(nil, &result), nil
}

func (o *operation) perform(op *wire.SessionOp) (r wire.SessionResult, err error) {
	s, id, session := o.State, o.id, o.session
	switch op.Kind {
	case wire.SessionKeep:
		session.Version++
		s.putSession(id, session)
	case wire.SessionCheckpoint:
		r.Missing, err = s.checkpoint(id, session, op.Number)
		s.putSession(id, session)
	case wire.SessionSettle:
		r.Outcome, r.Result, err = s.settle(id, session, op.Number)
	case wire.SessionExpire:
		if op.Version == session.Version {
			r.Gone, err = o.end()
		}
	case wire.SessionClose:
		r.Gone, err = o.end()
	case wire.SessionInspect:
		r.Keys, err = o.inspect()
	default:
	}
	return r, err
}

// checkpoint raises the floor and drops the records below it (rule O3). The numbers that it passes without a
// record were not executed, and no copy of them ever will be.
func (s *State) checkpoint(id epaxos.InstanceID, session *wire.Session, floor uint64) (missing []uint64, err error) {
	floor = min(floor, session.Floor+SessionWindow) // no number beyond it was ever taken
	w, err := s.window(id)
	if err != nil || w == nil {
		return nil, err
	}
	before := session.Floor
	for ; session.Floor < floor; session.Floor++ {
		record, found := w.recorded(session.Floor)
		if !found || !record.Executed {
			missing = append(missing, session.Floor)
		}
		if w.apart.has(session.Floor) {
			s.Delete(epaxos.SpaceSession, recordKey(id, session.Floor))
		}
	}
	s.dropPacks(id, w, before, session.Floor)
	return missing, nil
}

// settle tells whether a request was executed, and sees to it that it never will be if it was not (rule O5).
func (s *State) settle(id epaxos.InstanceID, session *wire.Session, number uint64) (wire.Outcome, []byte, error) {
	if number < session.Floor || number-session.Floor >= SessionWindow {
		return wire.OutcomeUnknown, nil, nil
	}
	record, found, err := s.record(id, number)
	switch {
	case err != nil:
		return wire.OutcomeUnknown, nil, err
	case !found:
		err := s.putRecord(&epaxos.Request{Session: id, Number: number}, wire.SessionRecord{})
		return wire.OutcomeNotApplied, nil, err
	case record.Executed:
		return wire.OutcomeApplied, record.Result, nil
	default:
		return wire.OutcomeNotApplied, nil, nil
	}
}

// dropSession forgets a session and all that it remembers, which is a few keys that stand side by side: to ask for each
// number of its window would be a thousand reads.
func (s *State) dropSession(id epaxos.InstanceID) error {
	var keys []string
	behind := recordKey(id, math.MaxUint64) + "\x00"
	err := s.Scan(epaxos.SpaceSession, id.Key(), behind, func(key string, _ []byte) bool {
		keys = append(keys, key)
		return true
	})
	for _, key := range keys {
		s.Delete(epaxos.SpaceSession, key)
	}
	return err
}

// Session returns what the state holds of a session, and whether there is such a one.
func (s *State) Session(id epaxos.InstanceID) (session wire.Session, found bool, err error) {
	if w := s.windows[id]; w != nil {
		return w.session, true, nil
	}
	body, found, err := s.Get(epaxos.SpaceSession, id.Key())
	if err != nil || !found {
		return session, false, err
	}
	if session, err = wire.DecodeSession(body); err != nil { // its checksum is right: so it was written
		return session, false, fmt.Errorf("saved session %v: %w", id, err)
	}
	return session, true, nil
}

func (s *State) putSession(id epaxos.InstanceID, session *wire.Session) {
	s.Put(epaxos.SpaceSession, id.Key(), wire.AppendSession(nil, session))
}

// record returns what was recorded of a request within the window of a session.
func (s *State) record(id epaxos.InstanceID, number uint64) (record wire.SessionRecord, found bool, err error) {
	w, err := s.window(id)
	if err != nil || w == nil || !w.covers(number) {
		return record, false, err
	}
	switch {
	case w.packed.has(number):
		record, found, err = s.packed(id, number)
	case w.apart.has(number):
		record, found, err = s.apart(id, number)
	default:
		return record, false, nil
	}
	if err == nil && !found { // to go on would be to execute it again
		err = errPack
	}
	if err != nil {
		return record, false, fmt.Errorf("saved record %d of session %v: %w", number, id, err)
	}
	return record, true, nil
}

// apart returns a record from a key of its own.
func (s *State) apart(id epaxos.InstanceID, number uint64) (record wire.SessionRecord, found bool, err error) {
	body, found, err := s.Get(epaxos.SpaceSession, recordKey(id, number))
	if err != nil || !found {
		return record, false, err
	}
	record, err = wire.DecodeSessionRecord(body)
	return record, err == nil, err
}

func (s *State) putRecord(request *epaxos.Request, record wire.SessionRecord) error {
	if s.packs && len(record.Result) <= packedResultMax {
		return s.pack(request.Session, request.Number, record)
	}
	s.Put(epaxos.SpaceSession, recordKey(request.Session, request.Number), wire.AppendSessionRecord(nil, &record))
	return nil
}
