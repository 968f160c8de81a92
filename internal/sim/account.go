package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Clients with a session (docs/protocol.md, O): they name their requests, ask again elsewhere under the same name when
// no answer comes, give requests up and find out what became of them, lose their memory, and let sessions end.

// account is a client's session, as far as the client knows.
type account struct {
	c       *client
	rand    *rand.Rand
	id      epaxos.InstanceID // zero: none is open
	ttl     uint64
	window  uint64 // it has so many numbers at most that a checkpoint could cover
	next    uint64
	floor   uint64
	kept    time.Duration
	opening bool
	open    []*operation // whose outcomes it waits for
	passing int          // checkpoints without an answer
	parted  bool
}

// name is that of a request, and how far its client is with it.
type name struct {
	session   epaxos.InstanceID
	number    uint64
	footprint epaxos.Footprint // without the session's
	settling  bool             // the client has given it up
	over      bool             // the client has an answer, or has forgotten it
	resolved  bool             // the client has found out that it was applied
}

// errand is what a client has asked a replica for, and waits for.
type errand struct {
	of      *account
	session epaxos.InstanceID
	o       *operation     // of which a copy is to be executed
	op      wire.SessionOp // where o is nil
	alone   bool           // no other checkpoint was under way
}

// newAccount gives a client a session, if it is to have one.
func (c *client) newAccount() {
	s := &c.w.setup
	r := stream(c.w.options.Seed, streamSessions, c.number+1)
	a := &account{c: c, rand: r, window: 4 + r.Uint64N(20), ttl: uint64(time.Hour / time.Millisecond)}
	if r.IntN(3) == 0 && !a.exact() {
		a.ttl = 400 + r.Uint64N(briefTTL-400)
	}
	if r.Float64() < s.named || c.number == 0 {
		c.account = a
	}
}

// names reports whether a request is to have a name.
func (a *account) names(op *wire.Op) bool {
	return a != nil && !readsOnly(op) && (a.rand.IntN(8) > 0 || tallied(string(op.Key)))
}

// request sends a request under the next number, and reports whether it did.
func (a *account) request(i int, o *operation, footprint epaxos.Footprint) bool {
	w := a.c.w
	if a.id.IsZero() {
		a.begin(i)
		return false
	}
	if a.c.open == 0 && a.rand.IntN(40) == 0 {
		a.part(i)
		return false
	}
	if a.next-a.floor >= a.window || a.rand.IntN(16) == 0 {
		a.checkpoint(i, a.low())
	}
	if w.now-a.kept > time.Duration(a.ttl)*time.Millisecond/3 { //nolint:gosec // small
		a.kept = w.now
		a.send(i, &errand{of: a, session: a.id, op: wire.SessionOp{Kind: wire.SessionKeep}})
	}
	if a.next-a.floor >= a.window {
		return false
	}
	number := a.next
	if a.rand.IntN(200) == 0 && !a.exact() {
		number += wire.SessionWindow // which no session takes
	}
	o.name = &name{session: a.id, number: number, footprint: footprint}
	if !a.send(i, &errand{of: a, session: a.id, o: o}) {
		return false // it was never proposed, so the number is still free
	}
	if number == a.next {
		a.next++
	}
	a.open = append(a.open, o)
	trip := 2*(w.setup.far+w.setup.jitter) + 20*time.Millisecond
	a.chase(o, between(a.rand, trip, 3*trip+500*time.Millisecond))
	return true
}

// send proposes a copy of a request, or an operation on the session, and reports whether it was taken.
func (a *account) send(i int, e *errand) bool {
	w := a.c.w
	request := epaxos.Request{Session: e.session}
	var own epaxos.Footprint
	if e.o != nil {
		request.Number, request.Payload, own = e.o.name.number, e.o.payload, e.o.name.footprint
	} else {
		request.Payload = wire.AppendSessionOp(nil, &e.op)
	}
	if e.op.Kind == wire.SessionOpen {
		request.Number = epaxos.OpenSession // its leader makes the footprint
	} else {
		own = execution.SessionFootprint(&request, own)
	}
	w.seq++
	id := epaxos.ProposalID(w.seq) //nolint:gosec // small
	if w.hosts[i].node.Propose(w.local(i), id, request, own) != nil {
		w.report.Refused++
		return false
	}
	if e.op.Kind == wire.SessionCheckpoint {
		e.alone = a.passing == 0
		a.passing++
	}
	w.hosts[i].errands[id] = e
	return true
}

// begin asks for a session.
func (a *account) begin(i int) {
	if !a.opening {
		a.opening = a.send(i, &errand{of: a, op: wire.SessionOp{Kind: wire.SessionOpen, TTL: a.ttl}})
		a.parted = false
	}
}

// part ends the session.
func (a *account) part(i int) {
	a.send(i, &errand{of: a, session: a.id, op: wire.SessionOp{Kind: wire.SessionClose}})
	a.forget()
}

// forget leaves the session to its fate.
func (a *account) forget() {
	a.id, a.next, a.floor, a.passing = epaxos.InstanceID{}, 0, 0, 0
}

// farewell is the last that a client does: half of them leave the session to expire.
func (a *account) farewell() {
	if a == nil || a.parted || a.id.IsZero() {
		return
	}
	a.parted = true
	if i, ok := a.c.anybody(a.rand); ok && a.rand.IntN(2) == 0 {
		a.part(i)
		a.c.w.turn(i)
	}
}

// low is the first number whose request is under way.
func (a *account) low() uint64 {
	low := a.next
	for _, o := range a.open {
		if o.name.session == a.id {
			low = min(low, o.name.number)
		}
	}
	return low
}

func (a *account) checkpoint(i int, to uint64) {
	a.send(i, &errand{of: a, session: a.id, op: wire.SessionOp{Kind: wire.SessionCheckpoint, Number: to}})
}

func (a *account) settle(i int, o *operation) {
	op := wire.SessionOp{Kind: wire.SessionSettle, Number: o.name.number}
	a.send(i, &errand{of: a, session: o.name.session, op: op})
}

// anybody is a replica that takes requests now.
func (c *client) anybody(r *rand.Rand) (host int, ok bool) {
	for i, n := r.IntN(len(c.w.hosts)), 0; n < len(c.w.hosts); n++ {
		if at := (i + n) % len(c.w.hosts); c.w.asks(at) {
			return at, true
		}
	}
	return 0, false
}

// patienceMax is the longest that a client waits before it asks again.
const patienceMax = 2 * time.Second

// chase asks for the outcome of a request again and again until it is known.
func (a *account) chase(o *operation, patience time.Duration) {
	w := a.c.w
	w.after(patience, func() {
		if o.name.over {
			return
		}
		if i, ok := a.c.anybody(a.rand); ok {
			a.again(i, o)
		}
		a.chase(o, min(2*patience, patienceMax))
	})
}

func (a *account) again(i int, o *operation) {
	switch draw := a.rand.IntN(100); {
	case draw < 4 && a.c.w.faults:
		a.restart()
		return
	case draw < 9 && !a.exact() && o.name.session == a.id && o.name.number < a.next: // all up to it is given up
		a.checkpoint(i, o.name.number+1)
	case o.name.settling || draw < 25:
		o.name.settling = true
		a.settle(i, o)
	default:
		a.send(i, &errand{of: a, session: o.name.session, o: o})
	}
	a.c.w.turn(i)
}

// restart is a client that dies and comes back. It has written down what it has asked for, or has not.
func (a *account) restart() {
	a.c.w.report.Restarts++
	if a.rand.IntN(2) == 0 || a.exact() {
		for _, o := range a.open {
			o.name.settling = true
		}
		return
	}
	a.forget()
	for _, o := range slices.Clone(a.open) {
		a.unknown(o)
	}
}

// repeat has a copy of a request arrive that nobody expects any more.
func (a *account) repeat(o *operation) {
	w := a.c.w
	if a.rand.IntN(5) > 0 {
		return
	}
	w.after(between(a.rand, 0, 3*time.Second), func() {
		if i, ok := a.c.anybody(a.rand); ok && w.faults {
			a.send(i, &errand{of: a, session: o.name.session, o: o})
			w.turn(i)
		}
	})
}

// end closes the wait for a request.
func (a *account) end(o *operation, rest time.Duration) {
	o.name.over = true
	a.open = slices.DeleteFunc(a.open, func(other *operation) bool { return other == o })
	a.repeat(o)
	a.c.close(o, rest)
}

// unknown ends the wait for a request of which the client will never hear.
func (a *account) unknown(o *operation) {
	w := a.c.w
	w.report.Unknown++
	w.left++
	a.end(o, w.setup.pace)
}

// never ends the wait for a request that is known to have no effect.
func (a *account) never(o *operation) {
	w := a.c.w
	w.report.Never++
	w.left++
	if tallied(string(o.op.Key)) {
		w.report.Tally.Refuted++
	}
	a.c.forget(o)
	a.end(o, 0)
}

// known ends the wait for a request with its result.
func (a *account) known(i int, o *operation, body []byte, token node.Token) {
	w := a.c.w
	result, err := wire.DecodeResult(body)
	if err != nil {
		w.violated("integrity", "a result does not decode: %v", err)
		return
	}
	o.result, o.known, o.ended = result, true, w.now
	w.report.Answered++
	w.report.Named++
	a.c.saw(i, o, &result, token)
	a.c.learn(&o.op, &result)
	a.end(o, w.setup.pace)
}

// ran takes the answer to an errand.
func (w *world) ran(i int, e *errand, answer *node.Answer) {
	a := e.of
	if answer.Void || answer.Unknown {
		a.opening = a.opening && e.op.Kind != wire.SessionOpen
		return
	}
	w.note(noteAnswer, i, answer.Result)
	if e.o != nil {
		a.copied(i, e.o, answer)
		return
	}
	result, err := wire.DecodeSessionResult(answer.Result)
	if err != nil {
		w.violated("integrity", "the result of %+v does not decode: %v", e.op, err)
		return
	}
	if e.op.Kind == wire.SessionOpen {
		w.check.opens(i, &result)
	} else {
		w.check.operated(i, e.session, &e.op, &result)
	}
	a.operated(i, e, &result, answer.Token)
}

// copied takes what became of a copy of a request.
func (a *account) copied(i int, o *operation, answer *node.Answer) {
	w := a.c.w
	w.check.answered(i, o.name.session, o.name.number, answer)
	if answer.Verdict == execution.SessionGone {
		a.lost(o.name.session)
	}
	if o.name.over {
		w.report.Repeated++
		return
	}
	switch answer.Verdict {
	case execution.Executed:
		a.known(i, o, answer.Result, answer.Token)
	case execution.NeverApplied:
		a.never(o)
	default:
		a.unknown(o)
	}
}

// lost notes that a session has ended.
func (a *account) lost(id epaxos.InstanceID) {
	if a.id == id {
		a.forget()
	}
}

// operated takes what an operation has come to.
func (a *account) operated(i int, e *errand, r *wire.SessionResult, token node.Token) {
	switch {
	case e.op.Kind == wire.SessionOpen:
		a.opening = false
		if a.id.IsZero() {
			a.id, a.next, a.floor, a.kept = r.ID, r.Session.Floor, r.Session.Floor, a.c.w.now
		}
		return
	case e.op.Kind == wire.SessionSettle:
		a.settled(i, e, r, token)
	case e.op.Kind == wire.SessionCheckpoint && e.session == a.id && !r.Gone:
		a.covered(r, e.alone && a.passing == 1)
	}
	if r.Gone {
		a.lost(e.session)
	}
}

// settled takes in what has become of a request that was given up.
func (a *account) settled(i int, e *errand, r *wire.SessionResult, token node.Token) {
	for _, o := range slices.Clone(a.open) {
		if o.name.session != e.session || o.name.number != e.op.Number {
			continue
		}
		switch r.Outcome {
		case wire.OutcomeApplied:
			a.c.w.report.Settled++
			o.name.resolved = true
			a.known(i, o, r.Result, token)
		case wire.OutcomeNotApplied:
			a.never(o)
		default:
			a.unknown(o)
		}
	}
}

// covered takes in that numbers are forgotten, and what that says of requests that were given up. A checkpoint that
// was made twice may have told the first time.
func (a *account) covered(r *wire.SessionResult, telling bool) {
	w := a.c.w
	a.passing--
	if telling {
		w.check.tells(a.id, a.floor, r)
	}
	a.floor = max(a.floor, r.Session.Floor)
	for _, o := range slices.Clone(a.open) {
		if o.name.session != a.id || o.name.number >= a.floor {
			continue
		}
		if slices.Contains(r.Missing, o.name.number) {
			a.never(o)
		} else {
			a.unknown(o)
		}
	}
}
