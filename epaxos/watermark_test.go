package epaxos_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// trio is three replicas whose messages arrive at once, unless they are held, and that execute durably what
// is decided. It is about watermarks alone, so it asks nothing of disks.
type trio struct {
	t        *testing.T
	members  epaxos.Membership
	replicas []*epaxos.Replica
	graphs   []*execution.Graph
	records  [][]epaxos.Record
	now      time.Duration
	hold     func(epaxos.Envelope) bool
	held     []epaxos.Envelope
	sent     []epaxos.Envelope
	fast     map[epaxos.InstanceID]bool
	next     epaxos.ProposalID
}

func newTrio(t *testing.T) *trio {
	tr := &trio{
		t: t, members: shape{3, 1, 1}.membership(), replicas: make([]*epaxos.Replica, 3),
		graphs: make([]*execution.Graph, 3), records: make([][]epaxos.Record, 3),
		hold: func(epaxos.Envelope) bool { return false }, fast: map[epaxos.InstanceID]bool{},
	}
	for i := range tr.replicas {
		tr.boot(i, nil)
	}
	return tr
}

// boot begins a life on the records saved, with everything that was executed, and truncated at a floor.
func (tr *trio) boot(i int, floor epaxos.Dependencies) {
	tr.t.Helper()
	var err error
	tr.replicas[i], err = epaxos.New(epaxos.Config{
		ID: tr.members.Voters[i], Membership: tr.members, Index: deps.New(3), Limits: epaxos.DefaultLimits(),
		Rand: seeded(uint64(i)), Timing: epaxos.DefaultTiming(), //nolint:gosec // small
	})
	if err != nil {
		tr.t.Fatal(err)
	}
	r := tr.replicas[i]
	executed := epaxos.Dependencies(nil)
	if tr.graphs[i] != nil {
		executed = tr.graphs[i].Executed()
	}
	tr.graphs[i] = execution.NewGraph(tr.members)
	tr.graphs[i].RestorePrefix(executed)
	if floor != nil {
		if err := r.RestoreTruncated(floor); err != nil {
			tr.t.Fatal(err)
		}
	}
	for _, record := range tr.records[i] {
		if err := r.Restore(record); err != nil {
			tr.t.Fatal(err)
		}
	}
	if err := r.Restored(tr.now); err != nil {
		tr.t.Fatal(err)
	}
	r.ExecutedDurably(tr.graphs[i].Executed())
	tr.settle(i)
}

func (tr *trio) settle(i int) {
	r, g := tr.replicas[i], tr.graphs[i]
	for r.HasReady() {
		ready := r.Ready()
		tr.records[i] = append(tr.records[i], ready.Records...)
		messages := slices.Clone(ready.Messages)
		for _, l := range ready.Learned {
			g.Learn(l.ID, l.Command)
		}
		for _, d := range ready.Committed {
			g.Commit(d.ID, d.Command, d.Deps)
		}
		for _, l := range ready.Led {
			tr.fast[l.ID] = l.Fast
		}
		for g.Next() != nil { //nolint:revive // nothing is applied
		}
		r.Executed(tr.now, g.TakeExecuted())
		r.ExecutedDurably(g.Executed())
		for _, e := range messages {
			tr.sent = append(tr.sent, e)
			if tr.hold(e) {
				tr.held = append(tr.held, e)
				continue
			}
			tr.deliver(e)
		}
	}
}

func (tr *trio) deliver(e epaxos.Envelope) {
	column, _ := tr.members.Column(e.To)
	tr.replicas[column].Step(tr.now, e)
	tr.settle(column)
}

// put has a replica lead a write, and returns the instance.
func (tr *trio) put(i int, key string) epaxos.InstanceID {
	tr.t.Helper()
	tr.next++
	slot := tr.replicas[i].Tops()[i] + 1
	if err := tr.replicas[i].Propose(tr.now, tr.next, epaxos.Request{}, write(key)); err != nil {
		tr.t.Fatal(err)
	}
	tr.settle(i)
	return tr.members.ID(i, slot)
}

// pass lets everybody gossip and forget, so many times.
func (tr *trio) pass(rounds int) {
	for range rounds {
		tr.now += 300 * time.Millisecond
		for i := range tr.replicas {
			tr.replicas[i].Tick(tr.now)
			tr.settle(i)
		}
	}
}

func (tr *trio) wantTruncated(i int, want ...epaxos.Slot) {
	tr.t.Helper()
	w := tr.replicas[i].Watermarks()
	if !w.Truncated.Equal(want) {
		tr.t.Fatalf("r%d has executed %v, stable %v, truncated %v, not %v", i+1, w.Executed, w.Stable, w.Truncated, want)
	}
}

func (tr *trio) wantFast(id epaxos.InstanceID, want bool) {
	tr.t.Helper()
	if got, led := tr.fast[id]; !led || got != want {
		tr.t.Fatalf("%v is decided fast: %v, want %v", id, got, want)
	}
}

func gossipFrom(from int) func(epaxos.Envelope) bool {
	return func(e epaxos.Envelope) bool {
		_, gossip := e.Message.(epaxos.Gossip)
		return gossip && e.From == epaxos.ReplicaID(from) //nolint:gosec // small
	}
}

// Rules K3 and K5: everything goes, once all have executed it and know that all have; not before.
func TestK3ForgetsWhatAllHaveExecuted(t *testing.T) {
	tr := newTrio(t)
	tr.hold = gossipFrom(3)
	for i := range 200 {
		tr.put(i%2, fmt.Sprint("k", i%7))
	}
	tr.pass(4)
	for i := range tr.replicas {
		tr.wantTruncated(i, 0, 0, 0)
	}
	if lags := tr.replicas[0].Watermarks().Lags; lags[1].Replica != 3 || lags[1].Instances != 200 || lags[1].For == 0 {
		t.Fatalf("nobody says that r3 is what all wait for: %+v", lags)
	}
	tr.hold = func(epaxos.Envelope) bool { return false }
	tr.pass(12) // r3 takes its time to repeat what it thinks it has told
	for i, r := range tr.replicas {
		tr.wantTruncated(i, 100, 100, 0)
		if s := r.Stats(); s.Forgotten != 200 {
			t.Errorf("r%d has dropped %d instances of 200", i+1, s.Forgotten)
		}
		if !r.Quiet() {
			t.Errorf("r%d still has something to do", i+1)
		}
	}
	for _, e := range tr.held { // what comes late tells less, and changes nothing
		tr.deliver(e)
	}
	tr.wantTruncated(0, 100, 100, 0)
}

// Rule K1: the fast path survives, for a key whose history some have forgotten and some have not.
func TestK1FastPathSurvives(t *testing.T) {
	tr := newTrio(t)
	for i := range 30 {
		tr.put(i%3, "x")
	}
	tr.hold = func(e epaxos.Envelope) bool { // r2 hears nothing, so that its S is lower than the others'
		_, gossip := e.Message.(epaxos.Gossip)
		return gossip && e.To == 2
	}
	tr.pass(3)
	if tr.replicas[0].Watermarks().Stable.Equal(tr.replicas[1].Watermarks().Stable) {
		t.Fatal("r2 knows what r1 knows")
	}
	for i := range 3 {
		tr.wantFast(tr.put(i, "x"), true)
		tr.wantFast(tr.put(i, fmt.Sprint("never used before ", i)), true)
	}
	tr.hold = func(epaxos.Envelope) bool { return false }
	tr.pass(12)
	tr.wantTruncated(0, 12, 12, 12)
	for i := range 3 {
		tr.wantFast(tr.put(i, "x"), true)
	}
}

// Rules K2 and K5: one that has restarted does not know what the others have forgotten. Its commands take the
// slow path until it has heard of it, and lack no dependency.
func TestK2VotersReportWhatTheyForgot(t *testing.T) {
	tr := newTrio(t)
	tr.put(1, "x")
	tr.put(2, "x")
	tr.pass(3)
	tr.wantTruncated(0, 0, 1, 1)
	tr.boot(0, nil)
	tr.wantFast(tr.put(0, "y"), false)
	tr.pass(2)
	tr.wantFast(tr.put(0, "y"), true)

	// A vote of one that has forgotten names everything that it may have forgotten.
	late := epaxos.PreAccept{
		ID: tr.members.ID(0, 9), Command: &epaxos.Command{Footprint: write("x")}, Initial: epaxos.Dependencies{2, 0, 0},
	}
	tr.sent = nil
	tr.deliver(epaxos.Envelope{From: 1, To: 2, Message: late})
	vote, ok := tr.sent[0].Message.(epaxos.PreAcceptReply)
	if !ok || !vote.Deps.Equal(epaxos.Dependencies{2, 1, 1}) {
		t.Fatalf("r2 answers %+v", tr.sent[0])
	}
}

// Rule K4: what all have executed stands against nothing, whether a validator reports it or not.
func TestK4StableIsHarmless(t *testing.T) {
	tr := newTrio(t)
	tr.put(1, "x")
	tr.pass(1) // r2's instance is stable, and nobody has forgotten it
	if w := tr.replicas[2].Watermarks(); w.Stable[1] != 1 || w.Truncated[1] != 0 {
		t.Fatalf("stable %v, truncated %v", w.Stable, w.Truncated)
	}
	ballot := epaxos.Ballot{Number: 1, Replica: 2}
	id, command := tr.members.ID(0, 1), &epaxos.Command{Footprint: write("x")}
	tr.sent = nil
	tr.deliver(epaxos.Envelope{From: 2, To: 3, Message: epaxos.Recover{ID: id, Ballot: ballot}})
	tr.deliver(epaxos.Envelope{From: 2, To: 3, Message: epaxos.Validate{
		ID: id, Ballot: ballot, Command: command, Initial: epaxos.Dependencies{0, 0, 0},
	}})
	reply, ok := tr.sent[len(tr.sent)-1].Message.(epaxos.ValidateReply)
	if !ok || len(reply.Conflicts) > 0 {
		t.Fatalf("r3 answers %+v", tr.sent[len(tr.sent)-1])
	}
}

// Rule K4: a recoverer strikes off what is stable, be it so long ago that it has forgotten it.
func TestK4RecovererStrikesOffTheStable(t *testing.T) {
	tr := newTrio(t)
	x := tr.put(1, "x")
	tr.pass(3)
	tr.hold = func(e epaxos.Envelope) bool {
		_, reply := e.Message.(epaxos.ValidateReply)
		return e.From == 1 || e.To == 1 || reply
	}
	a := tr.put(0, "y") // of which r3 alone hears, before its leader dies
	for _, e := range slices.Clone(tr.held) {
		if _, isPreAccept := e.Message.(epaxos.PreAccept); isPreAccept && e.To == 3 {
			tr.deliver(e)
		}
	}
	tr.replicas[2].Suspect(tr.now, 1, true)
	tr.now += 5 * time.Second
	tr.replicas[2].Tick(tr.now)
	tr.held = nil
	tr.settle(2)
	var reply epaxos.ValidateReply
	for _, e := range tr.held {
		if m, is := e.Message.(epaxos.ValidateReply); is {
			reply = m
		}
	}
	if reply.ID != a {
		t.Fatalf("r3 does not validate %v: %+v", a, tr.held)
	}
	reply.Conflicts = []epaxos.Conflict{{ID: x}}
	tr.sent = nil
	tr.deliver(epaxos.Envelope{From: 2, To: 3, Message: reply})
	accept, is := tr.sent[0].Message.(epaxos.Accept)
	if !is || accept.Value.Kind != epaxos.Full {
		t.Fatalf("r3 sends %+v", tr.sent[0])
	}
}

// Rule K6: nothing makes a forgotten instance known again, and who asks for it hears so.
func TestK6ForgottenStaysForgotten(t *testing.T) {
	tr := newTrio(t)
	a := tr.put(0, "x")
	tr.pass(3)
	tr.wantTruncated(2, 1, 0, 0)
	ballot := epaxos.Ballot{Number: 5, Replica: 2}
	full := epaxos.Value{Kind: epaxos.Full, Command: &epaxos.Command{Footprint: write("x")}}
	zero := make(epaxos.Dependencies, 3)
	ids := []epaxos.InstanceID{a}
	for _, test := range []struct {
		message  epaxos.Message
		from     epaxos.ReplicaID
		answered bool
	}{
		{epaxos.PreAccept{ID: a, Command: full.Command, Initial: zero}, 1, true},
		{epaxos.PreAcceptReply{ID: a, Deps: zero}, 1, false},
		{epaxos.Accept{ID: a, Ballot: ballot, Value: full, Deps: zero}, 2, true},
		{epaxos.AcceptReply{ID: a, Ballot: ballot}, 2, false},
		{epaxos.Commit{ID: a, Value: full, Deps: zero}, 2, false},
		{epaxos.Recover{ID: a, Ballot: ballot}, 2, true},
		{epaxos.RecoverReply{ID: a, Ballot: ballot}, 2, false},
		{epaxos.Validate{ID: a, Ballot: ballot, Command: full.Command, Initial: zero}, 2, true},
		{epaxos.ValidateReply{ID: a, Ballot: ballot}, 2, false},
		{epaxos.Waiting{ID: a, Count: 1}, 2, false},
		{epaxos.Refusal{ID: a, Promised: ballot}, 2, false},
		{epaxos.TryRecover{IDs: ids}, 2, true},
		{epaxos.Fetch{IDs: ids}, 2, true},
		{epaxos.Truncated{ID: a}, 2, false},
	} {
		t.Run(fmt.Sprintf("%T", test.message), func(t *testing.T) {
			tr.sent = nil
			saved := len(tr.records[2])
			tr.deliver(epaxos.Envelope{From: test.from, To: 3, Message: test.message})
			answered := len(tr.sent) == 1 && tr.sent[0].Message == epaxos.Message(epaxos.Truncated{ID: a})
			if answered != test.answered || !answered && len(tr.sent) > 0 || len(tr.records[2]) > saved {
				t.Errorf("sends %+v and saves %d records", tr.sent, len(tr.records[2])-saved)
			}
			if tr.replicas[2].Rewrite(a) || tr.replicas[2].Stats().Malformed > 0 {
				t.Error("it is known again, or the message was called malformed")
			}
			if _, forgot := tr.replicas[2].Forgotten(); forgot {
				t.Error("a replica that has executed it is told off")
			}
		})
	}
}

// Rules K6 and S8: a replica that asks for what all have executed has lost what it told before.
func TestK6LostWhatItExecuted(t *testing.T) {
	tr := newTrio(t)
	none := make(epaxos.Dependencies, 3)
	told := epaxos.Gossip{Epoch: 1, Executed: none, Stable: none, Tops: epaxos.Dependencies{0, 4, 0}}
	tr.deliver(epaxos.Envelope{From: 2, To: 1, Message: told})
	tr.deliver(epaxos.Envelope{From: 2, To: 1, Message: epaxos.Truncated{ID: tr.members.ID(1, 4)}})
	if id, forgot := tr.replicas[0].Forgotten(); !forgot || id != tr.members.ID(1, 4) {
		t.Fatalf("r1 does not notice: %v", id)
	}
}

// Rule K7: a replica comes back on what is above the truncation vector, with its slots above its old ones.
func TestK7RestartOnWhatIsKept(t *testing.T) {
	tr := newTrio(t)
	for i := range 9 {
		tr.put(i%3, "x")
	}
	tr.pass(3)
	floor := tr.replicas[0].Watermarks().Truncated
	tr.put(0, "x")
	tr.put(1, "x")
	for i := range tr.replicas {
		tr.records[i] = slices.DeleteFunc(tr.records[i], func(r epaxos.Record) bool {
			column, _ := tr.members.Column(r.ID.Replica)
			return floor.Covers(column, r.ID.Slot)
		})
		tr.boot(i, floor)
		tr.wantTruncated(i, floor...)
	}
	if id := tr.put(0, "x"); id.Slot != 5 {
		t.Fatalf("r1 leads on with %v, want slot 5", id)
	}
	if id := tr.put(2, "x"); id.Slot != 4 { // of whose column no record is kept
		t.Fatalf("r3 leads on with %v, want slot 4", id)
	}
	tr.pass(8)
	for i, r := range tr.replicas {
		tr.wantTruncated(i, 5, 4, 4)
		if !r.Decided().Equal(r.Tops()) {
			t.Errorf("r%d has decided %v of %v", i+1, r.Decided(), r.Tops())
		}
	}
	if err := tr.replicas[0].RestoreTruncated(epaxos.Dependencies{1}); err == nil {
		t.Error("a vector of one voter is restored among three")
	}
}

// Rule K7: a record that is saved once more is whole, and stands for all before it.
func TestK7RewrittenRecordIsWhole(t *testing.T) {
	tr := newTrio(t)
	tr.hold = func(e epaxos.Envelope) bool { return e.To == 3 }
	a := tr.put(0, "x")
	r := tr.replicas[0]
	if !r.Rewrite(a) {
		t.Fatal("an instance that is known is not rewritten")
	}
	old := len(tr.records[0])
	tr.settle(0)
	rewritten := tr.records[0][old:]
	if len(rewritten) != 1 || rewritten[0].Command == nil || rewritten[0].Phase != epaxos.Committed || rewritten[0].Initial == nil {
		t.Fatalf("saved %+v", rewritten)
	}
	// Its first record, with the command, is gone; one without comes before the whole one.
	tr.records[0] = tr.records[0][old-1:]
	tr.boot(0, nil)
	tr.records[0] = tr.records[0][:1]
	replica, err := epaxos.New(epaxos.Config{
		ID: 1, Membership: tr.members, Index: deps.New(3), Limits: epaxos.DefaultLimits(), Rand: seeded(1),
		Timing: epaxos.DefaultTiming(),
	})
	if err == nil {
		err = replica.Restore(tr.records[0][0])
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.Restored(0); err == nil {
		t.Error("a decision without its command is taken")
	}
}

// A replica that restarts while another is down has the fast path again: what all have executed it learns
// from those that live (rule K5).
func TestK5RestartWhileAnotherIsDown(t *testing.T) {
	tr := newTrio(t)
	for i := range 20 {
		tr.put(i%3, fmt.Sprint(i))
	}
	tr.pass(6)
	floor := tr.replicas[0].Watermarks().Truncated
	for i := range 20 {
		tr.put(i%3, fmt.Sprint("later", i))
	}
	tr.pass(6)
	tr.hold = func(e epaxos.Envelope) bool { return e.To == 3 || e.From == 3 }
	tr.replicas[0].Suspect(tr.now, 3, true)
	tr.replicas[1].Suspect(tr.now, 3, true)
	tr.boot(0, floor)
	tr.replicas[0].Suspect(tr.now, 3, true)
	tr.pass(20)
	id := tr.put(0, "x")
	tr.pass(20)
	if !tr.fast[id] {
		t.Fatalf("%v took the slow path: r1 has %+v, r2 %+v", id,
			tr.replicas[0].Watermarks(), tr.replicas[1].Watermarks())
	}
}

// One peer's word about an instance that nobody has told of condemns no disk.
func TestK6TruncatedBeyondWhatIsKnown(t *testing.T) {
	tr := newTrio(t)
	unknown := epaxos.Truncated{ID: epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 77}}
	tr.replicas[0].Step(tr.now, epaxos.Envelope{From: 2, To: 1, Message: unknown})
	if id, forgot := tr.replicas[0].Forgotten(); forgot {
		t.Fatalf("believes that it has forgotten %v", id)
	}
}
