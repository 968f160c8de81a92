package recipes

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// process is a client process in a world: what clients.Client does for the recipes, as far as they can tell. It
// sends copies of a named request to one replica after the other, and tells of unknown outcomes; it can be
// paused, cut off and killed.
type process struct {
	w    *world
	seed uint64
	dead chan struct{}

	// Under w.mu.
	home        int
	cut         bool
	pausedUntil time.Duration
	unnamed     bool // it has no session at the cluster
	session     epaxos.InstanceID
	next        uint64
	open        map[uint64]bool // numbers whose outcome is not known
	floor       uint64
	unknowns    int
	pauses      int
	// tamper, if set, decides what happens to the next copy of a request.
	tamper func(op *wire.Op) fate
}

type fate uint8

const (
	arrives fate = iota
	requestLost
	answerLost
	late // by lateBy
)

// lateBy is longer than anybody waits for one answer.
const lateBy = 20 * time.Second

func (w *world) process(seed uint64) *process {
	return &process{
		w: w, seed: seed, dead: make(chan struct{}),
		home: int(seed % uint64(len(w.hosts))), next: 1, floor: 1, open: map[uint64]bool{}, //nolint:gosec // few
	}
}

const (
	callTimeout = 3100 * time.Millisecond // no multiple of the next, or chance would decide which comes first
	copyEvery   = 500 * time.Millisecond
	namesTTL    = 5 * time.Second // of the session that names requests
)

// chance is what becomes of one message, which its content and the instant decide: goroutines of the process that send at
// one instant do not disturb each other.
func (p *process) chance(message []byte) *rand.Rand {
	digest := fnv.New64a()
	_, _ = digest.Write(message)
	return rand.New(rand.NewPCG(p.seed^digest.Sum64(), uint64(p.w.now()))) //nolint:gosec // reproducible
}

// gate keeps a paused process from going on. Its goroutines wake up one after the other, in an order that what they
// are about decides.
func (p *process) gate(about []byte) {
	for {
		p.w.mu.Lock()
		left := p.pausedUntil - p.w.now()
		if left > 0 {
			left += time.Duration(p.chance(about).IntN(int(time.Millisecond)))
		}
		p.w.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(left)
	}
}

func (p *process) pause(d time.Duration) {
	p.pausedUntil = p.w.now() + d
	p.pauses++
}

func (p *process) killed() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// end is how a call ended that has no answer.
type end struct {
	cause     error
	uncertain bool // a copy may have been executed, or may yet be
}

var (
	errRefused = errors.New("a replica refused it")
	errSilent  = errors.New("no answer yet")
)

// call sends a request until there is an answer, or copies of it where it may be repeated.
func (p *process) call(ctx context.Context, request epaxos.Request, repeats bool) (node.Answer, *end) {
	p.gate(request.Payload)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answers, refusals := make(chan node.Answer, 1), make(chan error, 1)
	for sent, refused := 0, 0; ; {
		switch {
		case p.killed():
			return node.Answer{}, &end{cause: clients.ErrClosed, uncertain: sent > refused}
		case ctx.Err() != nil:
			return node.Answer{}, &end{cause: ctx.Err(), uncertain: sent > refused}
		}
		if sent == refused || repeats {
			p.send(request, answers, refusals)
			sent++
		}
		a, err := p.hear(ctx, answers, refusals)
		p.gate(request.Payload)
		switch err {
		case nil:
			return a, nil
		case errRefused:
			refused++
		case errSilent:
		default:
			return node.Answer{}, &end{cause: err, uncertain: sent > refused}
		}
		p.moveOn()
	}
}

// hear waits for one of the answers.
func (p *process) hear(ctx context.Context, answers <-chan node.Answer, refusals <-chan error) (node.Answer, error) {
	again := time.NewTimer(copyEvery)
	defer again.Stop()
	select {
	case a := <-answers:
		switch {
		case a.Void:
			return a, errRefused
		case a.Unknown:
			return a, errSilent
		}
		return a, nil
	case <-refusals:
		time.Sleep(copyEvery / 10)
		return node.Answer{}, errRefused
	case <-again.C:
		return node.Answer{}, errSilent
	case <-ctx.Done():
		return node.Answer{}, ctx.Err()
	case <-p.dead:
		return node.Answer{}, clients.ErrClosed
	}
}

// moveOn takes the next replica.
func (p *process) moveOn() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.home = (p.home + 1) % len(p.w.hosts)
}

// send lets one copy travel, and its answer back.
func (p *process) send(request epaxos.Request, answers chan<- node.Answer, refusals chan<- error) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[p.home]
	fate := arrives
	if p.tamper != nil && (request.Number > 0 || request.Session.IsZero()) && !request.Opens() {
		if op, err := wire.DecodeOp(request.Payload); err == nil {
			fate = p.tamper(&op)
		}
	}
	r := p.chance(request.Payload)
	if p.cut || w.loses(r) || fate == requestLost {
		return
	}
	delay := w.delay(r)
	if fate == late {
		delay += lateBy
	}
	w.afterBy(r, delay, func() {
		if p.cut || h.cut {
			return
		}
		err := w.propose(h, request, func(a node.Answer) {
			if fate == answerLost {
				return
			}
			w.back(p, h, func() {
				select {
				case answers <- a:
				default: // another copy was faster
				}
			})
		})
		if err != nil {
			w.back(p, h, func() {
				select {
				case refusals <- err:
				default:
				}
			})
		}
	})
}

// back lets an answer travel.
func (w *world) back(p *process, h *host, arrives func()) {
	if w.loses(w.rand) {
		return
	}
	w.after(w.delay(w.rand), func() {
		if !p.cut && !h.cut {
			arrives()
		}
	})
}

// encoder makes payloads; nothing else is done with it.
var encoder *clients.Client

func (p *process) commit(ctx context.Context, t txn) (clients.TxnResult, error) {
	payload := encoder.Txn(ctx).If(t.when...).Then(t.then...).Else(t.other...).Payload()
	reads := readsOnly(payload)
	request := epaxos.Request{Payload: payload}
	if !reads {
		if err := p.address(ctx, &request); err != nil {
			return clients.TxnResult{}, err
		}
	}
	a, end := p.call(ctx, request, reads || request.Number > 0)
	if end != nil {
		if reads || !end.uncertain {
			p.over(request.Number)
			return clients.TxnResult{}, failure(clients.CodeTimeout, clients.NotApplied, request, end.cause)
		}
		return clients.TxnResult{}, p.unknown(clients.CodeTimeout, request, end.cause)
	}
	if a.Verdict != execution.Executed {
		if a.Verdict == execution.SessionGone {
			p.forgetSession(request.Session)
		}
		return clients.TxnResult{}, p.unknown(clients.CodeSessionGone, request, errors.New("not executed"))
	}
	p.over(request.Number)
	return publicTxn(a.Result)
}

func readsOnly(payload []byte) bool {
	op, err := wire.DecodeOp(payload)
	if err != nil {
		panic(err)
	}
	for _, ops := range [][]wire.Op{op.Then, op.Else} {
		for i := range ops {
			if ops[i].Kind != wire.OpGet && ops[i].Kind != wire.OpRange {
				return false
			}
		}
	}
	return true
}

func (p *process) unknown(code clients.Code, request epaxos.Request, cause error) error {
	p.w.mu.Lock()
	p.unknowns++
	p.w.mu.Unlock()
	return failure(code, clients.Unknown, request, cause)
}

func failure(code clients.Code, outcome clients.Outcome, request epaxos.Request, cause error) error {
	if errors.Is(cause, clients.ErrClosed) {
		code = clients.CodeClosed
	}
	return &clients.Error{
		Code: code, Outcome: outcome, Detail: cause.Error(),
		Retryable: outcome == clients.NotApplied && code != clients.CodeClosed,
		Request:   clients.RequestID{Session: request.Session, Number: request.Number},
	}
}

// publicTxn is what Txn.Commit makes of an answer.
func publicTxn(body []byte) (clients.TxnResult, error) {
	result, err := wire.DecodeResult(body)
	if err != nil {
		return clients.TxnResult{}, err
	}
	txn := clients.TxnResult{Succeeded: result.Succeeded}
	for i := range result.Results {
		one, err := clients.Resolution{Result: wire.AppendResult(nil, &result.Results[i])}.Value()
		if err != nil {
			return clients.TxnResult{}, err
		}
		txn.Results = append(txn.Results, one)
	}
	return txn, nil
}

// address gives a request a name, if the process names its requests.
func (p *process) address(ctx context.Context, request *epaxos.Request) error {
	if p.unnamed {
		return nil
	}
	p.w.mu.Lock()
	session, covered := p.session, p.next-p.floor > 200
	p.w.mu.Unlock()
	if session.IsZero() {
		r, err := p.operate(ctx, session, wire.SessionOp{Kind: wire.SessionOpen, TTL: uint64(namesTTL.Milliseconds())})
		if err != nil {
			return err
		}
		p.w.mu.Lock()
		if p.session.IsZero() {
			p.session, p.next, p.floor, p.open = r.ID, 1, 1, map[uint64]bool{}
		}
		p.w.mu.Unlock()
	} else if covered {
		p.checkpoint(ctx, session)
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	request.Session, request.Number = p.session, p.next
	p.open[p.next] = true
	p.next++
	if request.Session.IsZero() { // it was lost meanwhile
		return failure(clients.CodeUnavailable, clients.NotApplied, *request, errors.New("no session"))
	}
	return nil
}

func (p *process) checkpoint(ctx context.Context, session epaxos.InstanceID) {
	p.w.mu.Lock()
	floor := p.next
	for number := range p.open {
		floor = min(floor, number)
	}
	p.w.mu.Unlock()
	_, err := p.operate(ctx, session, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: floor})
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if err == nil && p.session == session {
		p.floor = floor
	}
}

func (p *process) over(number uint64) {
	p.w.mu.Lock()
	delete(p.open, number)
	p.w.mu.Unlock()
}

func (p *process) forgetSession(id epaxos.InstanceID) {
	p.w.mu.Lock()
	if p.session == id {
		p.session = epaxos.InstanceID{}
	}
	p.w.mu.Unlock()
}

// operate carries out an operation on a session, more than once if need be.
func (p *process) operate(
	ctx context.Context, id epaxos.InstanceID, op wire.SessionOp,
) (wire.SessionResult, error) {
	request := epaxos.Request{Session: id, Payload: wire.AppendSessionOp(nil, &op)}
	if op.Kind == wire.SessionOpen {
		request.Number = epaxos.OpenSession
	}
	a, end := p.call(ctx, request, true)
	if end != nil {
		return wire.SessionResult{}, failure(clients.CodeTimeout, clients.NotApplied, epaxos.Request{}, end.cause)
	}
	return wire.DecodeSessionResult(a.Result)
}

func (p *process) settle(ctx context.Context, id clients.RequestID) (clients.Outcome, error) {
	r, err := p.operate(ctx, id.Session, wire.SessionOp{Kind: wire.SessionSettle, Number: id.Number})
	switch {
	case err != nil:
		return clients.Unknown, err
	case r.Gone:
		p.forgetSession(id.Session)
		return clients.Unknown, nil
	}
	p.w.mu.Lock()
	if p.session == id.Session {
		delete(p.open, id.Number)
	}
	p.w.mu.Unlock()
	if r.Outcome == wire.OutcomeApplied || r.Outcome == wire.OutcomeNotApplied {
		return clients.Outcome(r.Outcome), nil
	}
	return clients.Unknown, nil
}

func (p *process) forget(ctx context.Context, span clients.Span) error {
	op := wire.Op{Kind: wire.OpForgetRange, Key: []byte(span.From), End: []byte(span.End)}
	_, end := p.call(ctx, epaxos.Request{Payload: wire.AppendOp(nil, &op)}, false)
	if end != nil {
		return end.cause
	}
	return nil
}

// changed asks one replica after the other whether a key shows another version.
func (p *process) changed(ctx context.Context, key string, version uint64) error {
	for {
		p.gate([]byte(key))
		told := make(chan struct{}, 1)
		p.w.mu.Lock()
		p.subscribe(key, version, told)
		p.w.mu.Unlock()
		again := time.NewTimer(2 * time.Second)
		select {
		case <-told:
			again.Stop()
			p.gate([]byte(key))
			return nil
		case <-again.C:
			p.moveOn()
		case <-ctx.Done():
			again.Stop()
			return failure(clients.CodeCanceled, clients.NotApplied, epaxos.Request{}, ctx.Err())
		case <-p.dead:
			again.Stop()
			return failure(clients.CodeClosed, clients.NotApplied, epaxos.Request{}, clients.ErrClosed)
		}
	}
}

func (p *process) subscribe(key string, version uint64, told chan<- struct{}) {
	w, h := p.w, p.w.hosts[p.home]
	r := p.chance([]byte(key))
	if p.cut || w.loses(r) {
		return
	}
	w.afterBy(r, w.delay(r), func() {
		if p.cut || h.cut || h.node == nil {
			return
		}
		tell := func() {
			w.back(p, h, func() {
				select {
				case told <- struct{}{}:
				default:
				}
			})
		}
		if w.version(h, key) != version {
			tell()
			return
		}
		h.waits = append(h.waits, &waiting{key: key, version: version, told: tell})
	})
}
