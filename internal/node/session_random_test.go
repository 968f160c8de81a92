package node_test

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Customers count in sessions of their own, while everything that turmoil does happens. They send copies of requests to any
// replica at any time, also of those that were answered long ago, give requests up and settle them, and make
// checkpoints, more than once too.

// customer is one of them. Each has a counter.
type customer struct {
	key     string
	session epaxos.InstanceID
	next    uint64
	floor   uint64 // the highest that it has asked for
	fates   map[uint64]*fate
	open    []uint64 // not known yet
	given   map[uint64]bool
}

// fate is what became of a request, as its customer was told.
type fate struct {
	outcome wire.Outcome // 0 while nobody has told
	answer  string
}

// errand is what a proposal was for.
type errand struct {
	id     epaxos.ProposalID
	of     *customer
	op     wire.SessionKind // 0 is a request
	number uint64
}

// bank is the customers and the cluster.
type bank struct {
	*turmoil
	customers []*customer
	sent      []errand
	applied   int
	never     int
	repeated  int // answers to copies
}

// windowOfCustomer is how far from its floor a customer counts: small, so that checkpoints are many.
const windowOfCustomer = 24

func newBank(t *testing.T, seed uint64) *bank {
	b := &bank{turmoil: newTurmoil(t, seed)}
	for i := range 3 {
		b.customers = append(b.customers, &customer{
			key: fmt.Sprintf("n%d", i), next: 1, floor: 1, fates: map[uint64]*fate{}, given: map[uint64]bool{},
		})
	}
	return b
}

// send proposes at a replica, if it takes it.
func (b *bank) send(e errand, request epaxos.Request, own epaxos.Footprint) {
	if !request.Opens() {
		own = execution.SessionFootprint(&request, own)
	}
	i := b.rand.IntN(len(b.nodes))
	b.last++
	b.asked[b.last] = call{control: true} // its answer is ours to judge
	e.id = b.last
	if b.nodes[i].Propose(b.now, b.last, request, own) != nil {
		delete(b.asked, b.last)
		return
	}
	b.sent = append(b.sent, e)
}

func (b *bank) operate(c *customer, op wire.SessionOp) {
	request := epaxos.Request{Session: c.session, Payload: wire.AppendSessionOp(nil, &op)}
	if op.Kind == wire.SessionOpen {
		request.Number = epaxos.OpenSession
	}
	b.send(errand{of: c, op: op.Kind, number: op.Number}, request, nil)
}

// count sends a copy of a request.
func (b *bank) count(c *customer, number uint64) {
	op := wire.Op{Kind: wire.OpIncrement, Key: []byte(c.key), Delta: 1}
	request := epaxos.Request{Session: c.session, Number: number, Payload: wire.AppendOp(nil, &op)}
	own, err := execution.KV{}.Footprint(request.Payload)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(errand{of: c, number: number}, request, own)
}

// act lets one customer do something.
func (b *bank) act() {
	c := b.customers[b.rand.IntN(len(b.customers))]
	if c.session.IsZero() {
		if b.chance(10) {
			b.operate(c, wire.SessionOp{Kind: wire.SessionOpen, TTL: uint64(time.Hour.Milliseconds())})
		}
		return
	}
	switch k := b.rand.IntN(100); {
	case k < 40 && c.next < c.floor+windowOfCustomer:
		c.fates[c.next] = &fate{}
		c.open = append(c.open, c.next)
		b.count(c, c.next)
		c.next++
	case k < 70 && len(c.open) > 0:
		b.count(c, c.open[b.rand.IntN(len(c.open))])
	case k < 78 && c.next > 1:
		b.count(c, 1+b.rand.Uint64N(c.next-1)) // a copy that nobody expects any more
	case k < 86 && len(c.open) > 0:
		b.settleOne(c, c.open[b.rand.IntN(len(c.open))])
	case k < 96:
		c.floor = max(c.floor, c.low())
		b.operate(c, wire.SessionOp{Kind: wire.SessionCheckpoint, Number: c.floor})
	default:
		b.operate(c, wire.SessionOp{Kind: wire.SessionKeep})
	}
}

func (b *bank) settleOne(c *customer, number uint64) {
	c.given[number] = true
	b.operate(c, wire.SessionOp{Kind: wire.SessionSettle, Number: number})
}

// low is the first number whose fate is not known.
func (c *customer) low() uint64 {
	low := c.next
	for _, number := range c.open {
		low = min(low, number)
	}
	return low
}

// judge takes in the answers that have come.
func (b *bank) judge() {
	waiting := b.sent[:0]
	for _, e := range b.sent {
		a, answered := b.answers[e.id]
		switch {
		case !answered:
			waiting = append(waiting, e)
		case a.Void || a.Unknown:
		case e.op == 0:
			b.judgeRequest(e, a.Verdict, string(a.Result))
		default:
			b.judgeOperation(e, a.Result)
		}
	}
	b.sent = waiting
}

func (b *bank) judgeRequest(e errand, verdict execution.Verdict, answer string) {
	switch verdict {
	case execution.Executed:
		b.told(e.of, e.number, wire.OutcomeApplied, answer)
	case execution.NeverApplied:
		b.told(e.of, e.number, wire.OutcomeNotApplied, "")
	case execution.BelowFloor:
		if e.number >= e.of.floor {
			b.t.Fatalf("violation of once: request %d is below a floor that was never asked for, %d", e.number, e.of.floor)
		}
	default:
		b.t.Fatalf("violation of once: verdict %d on request %d of a session that lasts", verdict, e.number)
	}
}

func (b *bank) judgeOperation(e errand, body []byte) {
	result, err := wire.DecodeSessionResult(body)
	if err != nil {
		b.t.Fatal(err)
	}
	switch {
	case result.Gone:
		b.t.Fatalf("violation of once: session %v is gone, and lasts", e.of.session)
	case e.op == wire.SessionOpen && e.of.session.IsZero():
		e.of.session = result.ID
	case e.op == wire.SessionSettle && result.Outcome != wire.OutcomeUnknown:
		b.told(e.of, e.number, result.Outcome, string(result.Result))
	case e.op == wire.SessionSettle && e.number >= e.of.floor:
		b.t.Fatalf("violation of once: request %d cannot be settled, and is not covered by %d", e.number, e.of.floor)
	case e.op == wire.SessionCheckpoint:
		for _, number := range result.Missing {
			b.told(e.of, number, wire.OutcomeNotApplied, "")
		}
	}
}

// told checks that all that is ever said of a request agrees.
func (b *bank) told(c *customer, number uint64, outcome wire.Outcome, answer string) {
	f := c.fates[number]
	if f.outcome == 0 {
		f.outcome, f.answer = outcome, answer
		for i, open := range c.open {
			if open == number {
				c.open = append(c.open[:i], c.open[i+1:]...)
				break
			}
		}
		if outcome == wire.OutcomeApplied {
			b.applied++
		} else {
			b.never++
		}
		return
	}
	b.repeated++
	if f.outcome != outcome || f.answer != answer {
		b.t.Fatalf("violation of once: request %d of %v is answered %d %q, and before %d %q",
			number, c.session, outcome, answer, f.outcome, f.answer)
	}
	if outcome == wire.OutcomeNotApplied && !c.given[number] {
		b.t.Fatalf("violation of once: request %d of %v was never given up, and is said not to be applied", number, c.session)
	}
}

func (b *bank) undecided() bool {
	for _, c := range b.customers {
		if len(c.open) > 0 {
			return true
		}
	}
	return false
}

// close finds out what became of everything, and compares the counters with that.
func (b *bank) close() {
	b.heal()
	b.judge()
	for rounds := 0; rounds < 20 && b.undecided(); rounds++ {
		for _, c := range b.customers {
			for _, number := range c.open {
				b.settleOne(c, number)
			}
		}
		b.heal()
		b.judge()
	}
	voter := int(b.newest().Voters[0].Replica) - 1
	for _, c := range b.customers {
		if len(c.open) > 0 {
			b.t.Fatalf("violation of progress: requests %v of %v have no outcome", c.open, c.session)
		}
		want := 0
		for _, f := range c.fates {
			if f.outcome == wire.OutcomeApplied {
				want++
			}
		}
		value, _, err := b.nodes[voter].State().Get(epaxos.SpaceState, c.key)
		if err != nil {
			b.t.Fatal(err)
		}
		if got := counterOf(value); got != want {
			b.t.Fatalf("violation of once: the counter of %v is %d, and %d of its requests were applied", c.session, got, want)
		}
	}
}

// counterOf is the number in the saved form of a key, behind its version.
func counterOf(saved []byte) int {
	if len(saved) <= 8 {
		return 0
	}
	n, err := strconv.Atoi(string(saved[8:]))
	if err != nil {
		return -1
	}
	return n
}

// TestCounting: in the end each counter is what was acknowledged, and what was unknown and settled as applied. COUNTING
// is how many seeds.
func TestCounting(t *testing.T) {
	seeds, err := strconv.Atoi(cmp.Or(os.Getenv("COUNTING"), "2"))
	if err != nil {
		t.Fatal(err)
	}
	applied, never, repeated := 0, 0, 0
	for seed := range uint64(seeds) { //nolint:gosec // few
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBank(t, seed+1)
			for i := range 16000 {
				if i%6 == 0 {
					b.act()
				}
				b.step()
				if i%20 == 0 {
					b.judge()
				}
			}
			b.close()
			applied, never, repeated = applied+b.applied, never+b.never, repeated+b.repeated
		})
	}
	if applied == 0 || never == 0 || repeated == 0 {
		t.Errorf("%d increments, %d never applied, %d answers to copies: the test shows nothing", applied, never, repeated)
	}
	t.Logf("%d increments, %d settled as never applied, %d further answers to copies", applied, never, repeated)
}
