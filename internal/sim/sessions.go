package sim

import (
	"bytes"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// sessions is the rules O once more, as the checkers understand them: which requests of sessions take effect, and what
// may be said of them.
//
// One model does for all replicas. All that changes a session is ordered the same everywhere, and so is each of
// its requests against that and against its own copies; hence whoever is the first anywhere to execute one of
// them does so when the model stands where the rules want it to.
type sessions struct {
	known    map[epaxos.InstanceID]*session
	opened   []epaxos.InstanceID
	verdicts map[place]bool // requests with a session: whether they are applied
	given    map[epaxos.InstanceID]bool
}

// session is one of them.
type session struct {
	floor, version uint64
	brief          bool // it is to be gone at the end
	gone           bool
	ends           map[uint64]outcome
}

// outcome is what has become of a request for ever.
type outcome struct {
	at      place // of the copy that was applied
	applied bool  // else it was settled that none is
}

// briefTTL is the longest time of silence, in milliseconds, after which a session must have ended in the end.
const briefTTL = 3000

func newSessions() *sessions {
	return &sessions{
		known: map[epaxos.InstanceID]*session{}, given: map[epaxos.InstanceID]bool{}, verdicts: map[place]bool{},
	}
}

// applies reports whether a request that is being executed is applied, rather than passed over.
func (s *sessions) applies(v *execution.Vertex, i int) bool {
	request := &v.Command.Requests[i]
	if request.Session.IsZero() && !request.Opens() {
		return true
	}
	at := place{v.ID, i}
	applied, judged := s.verdicts[at]
	if !judged {
		applied = s.judge(at, request)
		s.verdicts[at] = applied
	}
	return applied
}

// judge takes the first execution of a request.
func (s *sessions) judge(at place, request *epaxos.Request) (applied bool) {
	if request.Opens() {
		if op, err := wire.DecodeSessionOp(request.Payload); err == nil && op.Kind == wire.SessionOpen {
			s.known[at.id] = &session{floor: 1, brief: op.TTL <= briefTTL, ends: map[uint64]outcome{}}
			s.opened = append(s.opened, at.id)
		}
		return false
	}
	of := s.known[request.Session]
	switch {
	case of == nil || of.gone:
		return false
	case request.Number == 0:
		if op, err := wire.DecodeSessionOp(request.Payload); err == nil {
			of.change(&op)
		}
		return false
	case !of.takes(request.Number):
		return false
	}
	if _, known := of.ends[request.Number]; known {
		return false
	}
	of.ends[request.Number] = outcome{at: at, applied: true}
	return true
}

// takes reports whether a number is within the bounds of a session (rule O6).
func (s *session) takes(number uint64) bool {
	return number >= s.floor && number < s.floor+wire.SessionWindow
}

func (s *session) change(op *wire.SessionOp) {
	switch op.Kind {
	case wire.SessionKeep:
		s.version++
	case wire.SessionCheckpoint:
		s.floor = max(s.floor, min(op.Number, s.floor+wire.SessionWindow))
	case wire.SessionSettle:
		if _, known := s.ends[op.Number]; !known && s.takes(op.Number) {
			s.ends[op.Number] = outcome{}
		}
	case wire.SessionExpire:
		s.gone = op.Version == s.version
	case wire.SessionClose:
		s.gone = true
	default:
	}
}

// answered takes what a replica says of a copy of a request.
func (c *checker) answered(host int, id epaxos.InstanceID, number uint64, a *node.Answer) {
	of := c.sessions.known[id]
	known, told := of.ends[number]
	fine := false
	switch a.Verdict {
	case execution.Executed:
		fine = known.applied && bytes.Equal(a.Result, c.results[known.at])
	case execution.NeverApplied:
		fine = told && !known.applied
	case execution.SessionGone:
		fine = of.gone
	case execution.BelowFloor:
		fine = number < of.floor
	case execution.BeyondWindow:
		fine = number >= wire.SessionWindow
	}
	if !fine {
		c.w.violated("once", "r%d answers request %d of session %v with verdict %d and %x; floor %d, gone %v, "+
			"applied %v as %v with %x, settled %v", replicaOf(host), number, id, a.Verdict, a.Result, of.floor, of.gone,
			known.applied, known.at.id, c.results[known.at], told && !known.applied)
	}
	if fine && known.applied && a.Verdict == execution.Executed {
		c.stands(known.at.id)
	}
}

// operated takes what a replica says of an operation on a session.
func (c *checker) operated(host int, id epaxos.InstanceID, op *wire.SessionOp, r *wire.SessionResult) {
	of := c.sessions.known[id]
	fine := r.Session.Floor <= of.floor
	switch {
	case r.Gone:
		fine = of.gone
	case op.Kind == wire.SessionCheckpoint:
		applied := func(number uint64) bool { return number >= of.floor || of.ends[number].applied }
		fine = fine && !slices.ContainsFunc(r.Missing, applied) && r.Session.Floor >= op.Number
	case op.Kind == wire.SessionSettle:
		known, told := of.ends[op.Number]
		switch r.Outcome {
		case wire.OutcomeApplied:
			fine = fine && known.applied && bytes.Equal(r.Result, c.results[known.at])
		case wire.OutcomeNotApplied:
			fine = fine && told && !known.applied
		default:
			fine = fine && (op.Number < of.floor || op.Number >= wire.SessionWindow)
		}
	}
	if !fine {
		c.w.violated("once", "r%d answers %+v on session %v with %+v; floor %d, version %d, gone %v, outcome %+v",
			replicaOf(host), *op, id, *r, of.floor, of.version, of.gone, of.ends[op.Number])
	}
}

// tells takes what the only checkpoint that can have covered some numbers, from one on, says of them: those that were
// not applied, and no others.
func (c *checker) tells(id epaxos.InstanceID, from uint64, r *wire.SessionResult) {
	for number := from; number < r.Session.Floor; number++ {
		applied := c.sessions.known[id].ends[number].applied
		if missing := slices.Contains(r.Missing, number); missing == applied {
			c.w.violated("once", "a checkpoint of session %v to %d says %v of request %d not having been applied; it was: %v",
				id, r.Session.Floor, missing, number, applied)
			return
		}
	}
}

// opens takes the answer to who asked for a session: it is his alone.
func (c *checker) opens(host int, r *wire.SessionResult) {
	s := c.sessions
	if s.known[r.ID] == nil || s.given[r.ID] || r.Gone || r.Session.Floor != 1 {
		c.w.violated("once", "r%d gives a session to who asked for one: %+v; given before: %v", replicaOf(host), *r,
			s.given[r.ID])
	}
	s.given[r.ID] = true
}

// lingering names a session that should have ended by now, if there is one.
func (s *sessions) lingering() (epaxos.InstanceID, bool) {
	for _, id := range s.opened {
		if of := s.known[id]; of.brief && !of.gone {
			return id, true
		}
	}
	return epaxos.InstanceID{}, false
}
