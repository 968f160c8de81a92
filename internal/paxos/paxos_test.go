package paxos

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// cluster is some cores whose messages wait until a test delivers them.
type cluster struct {
	t        *testing.T
	now      time.Duration
	cores    []Core
	down     []bool
	waiting  []Envelope
	log      [][]string // commands executed, by replica
	chosen   map[epaxos.ProposalID]bool
	fast     map[epaxos.ProposalID]bool
	answered map[epaxos.ProposalID]bool
}

func config(kind Kind, q Quorums, id, n int) Config {
	members := epaxos.Membership{Epoch: 1, F: (n - 1) / 2}
	var succession []epaxos.ReplicaID
	for i := range n {
		members.Voters = append(members.Voters, epaxos.ReplicaID(i+1))
		succession = append(succession, epaxos.ReplicaID(i+1))
	}
	return Config{
		Kind: kind, ID: epaxos.ReplicaID(id), Membership: members, Life: 1, Succession: succession, Quorums: q,
		Rand: rand.New(rand.NewPCG(1, uint64(id))), Limits: DefaultLimits(), Timing: DefaultTiming(),
	}
}

func newCluster(t *testing.T, kind Kind, q Quorums, n int) *cluster {
	t.Helper()
	c := &cluster{
		t: t, down: make([]bool, n), log: make([][]string, n), chosen: map[epaxos.ProposalID]bool{},
		fast: map[epaxos.ProposalID]bool{}, answered: map[epaxos.ProposalID]bool{},
	}
	for i := range n {
		core, err := New(config(kind, q, i+1, n))
		if err != nil {
			t.Fatal(err)
		}
		core.Restored(0)
		c.cores = append(c.cores, core)
	}
	c.tick(time.Millisecond)
	c.settle()
	return c
}

func (c *cluster) flush(i int) {
	ready := c.cores[i].Ready()
	c.waiting = append(c.waiting, ready.Messages...)
	for _, chosen := range ready.Chosen {
		for _, p := range chosen.Proposals {
			c.chosen[p], c.fast[p] = true, chosen.Fast
		}
	}
	for _, x := range ready.Execute {
		c.log[i] = append(c.log[i], string(x.Value.Command.Requests[0].Payload))
		for _, p := range x.Proposals {
			c.answered[p] = true
		}
	}
}

func (c *cluster) tick(d time.Duration) {
	c.now += d
	for i := range c.cores {
		if !c.down[i] {
			c.cores[i].Tick(c.now)
			c.flush(i)
		}
	}
}

// round delivers what waits now, each message at its own turn; what that causes waits for the next round.
func (c *cluster) round() {
	now := c.waiting
	c.waiting = nil
	for _, e := range now {
		i := int(e.To) - 1
		if !c.down[i] {
			c.cores[i].Step(c.now, e)
			c.flush(i)
		}
	}
}

func (c *cluster) settle() {
	for range 50 {
		if len(c.waiting) == 0 {
			return
		}
		c.round()
	}
	c.t.Fatal("the cluster does not come to rest")
}

func (c *cluster) propose(i int, id epaxos.ProposalID, text string) {
	c.t.Helper()
	err := c.cores[i].Propose(c.now, id, epaxos.Request{Payload: []byte(text)}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
}

// equalLogs wants all that live to have executed the same, so many commands.
func (c *cluster) equalLogs(commands int) {
	c.t.Helper()
	first := -1
	for i := range c.cores {
		switch {
		case c.down[i]:
		case len(c.log[i]) != commands:
			c.t.Errorf("replica %d has executed %v, want %d commands", i+1, c.log[i], commands)
		case first < 0:
			first = i
		case fmt.Sprint(c.log[i]) != fmt.Sprint(c.log[first]):
			c.t.Errorf("replicas %d and %d have executed %v and %v", first+1, i+1, c.log[first], c.log[i])
		}
	}
}

// TestDelays: how many one-way delays it takes until the replica of the client knows the outcome.
func TestDelays(t *testing.T) {
	cases := []struct {
		name string
		kind Kind
		q    Quorums
		at   int
		want int
	}{
		{"basic", KindBasic, Majority(5), 3, 4},
		{"multi at the leader", KindMulti, Majority(5), 0, 2},
		{"multi elsewhere", KindMulti, Majority(5), 3, 4},
		{"flexible elsewhere", KindMulti, Flexible(5, 2), 3, 4},
		{"fast", KindFast, FastQuorums(5), 3, 2},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, tc.kind, tc.q, 5)
			c.propose(tc.at, 1, "x")
			c.flush(tc.at)
			delays := 0
			for !c.chosen[1] && delays < 20 {
				c.round()
				delays++
			}
			if delays != tc.want || !c.answered[1] {
				t.Errorf("known after %d delays, want %d; answered: %v", delays, tc.want, c.answered[1])
			}
			if c.fast[1] != (tc.kind == KindFast) {
				t.Errorf("fast: %v", c.fast[1])
			}
			c.settle()
			c.equalLogs(1)
		})
	}
}

// TestCollision: two commands that reach the replicas in different orders are settled by the coordinator, and
// both get through without being sent again.
func TestCollision(t *testing.T) {
	c := newCluster(t, KindFast, FastQuorums(3), 3)
	c.propose(1, 1, "a")
	c.flush(1)
	c.propose(2, 2, "b")
	c.flush(2)
	c.settle()
	if !c.answered[1] || !c.answered[2] {
		t.Fatalf("answered: %v", c.answered)
	}
	if c.fast[1] && c.fast[2] {
		t.Error("both commands count as fast, though they collided")
	}
	if got := c.cores[0].Stats().Collisions; got == 0 {
		t.Error("the coordinator has settled no collision")
	}
	c.equalLogs(2)
}

// TestDuel: two proposers of Basic Paxos that start together both get through in the end.
func TestDuel(t *testing.T) {
	c := newCluster(t, KindBasic, Majority(3), 3)
	c.propose(0, 1, "a")
	c.propose(2, 2, "b")
	c.flush(0)
	c.flush(2)
	refusals := uint64(0)
	for range 200 {
		c.round()
		c.tick(10 * time.Millisecond)
		if c.answered[1] && c.answered[2] {
			break
		}
	}
	for i := range c.cores {
		refusals += c.cores[i].Stats().Refusals
	}
	if !c.answered[1] || !c.answered[2] || refusals == 0 {
		t.Fatalf("answered: %v, after %d refusals", c.answered, refusals)
	}
	c.settle()
	for range 20 {
		c.tick(100 * time.Millisecond)
		c.settle()
	}
	c.equalLogs(2)
}

// TestSuccession: when the leader dies the next one in line takes over, once it is suspected.
func TestSuccession(t *testing.T) {
	for _, kind := range []Kind{KindMulti, KindFast} {
		q := Majority(5)
		if kind == KindFast {
			q = FastQuorums(5)
		}
		c := newCluster(t, kind, q, 5)
		c.propose(0, 1, "before")
		c.flush(0)
		c.settle()
		c.down[0] = true
		for i := 1; i < 5; i++ {
			c.cores[i].Suspect(c.now, 1, true)
			c.flush(i)
		}
		c.settle()
		if !c.cores[1].Leads() {
			t.Fatalf("protocol %d: replica 2 does not lead", kind)
		}
		c.propose(3, 2, "after")
		c.flush(3)
		c.settle()
		c.tick(time.Second)
		c.settle()
		if !c.answered[2] {
			t.Errorf("protocol %d: no answer under the new leader", kind)
		}
		c.equalLogs(2)
	}
}

// TestRestart: a core that has replayed its records goes on where it was.
func TestRestart(t *testing.T) {
	c := newCluster(t, KindMulti, Majority(3), 3)
	fresh, err := New(config(KindMulti, Majority(3), 3, 3))
	if err != nil {
		t.Fatal(err)
	}
	v := Value{ID: CommandID{Replica: 1, Life: 1, Number: 1}, Command: &epaxos.Command{
		Requests: []epaxos.Request{{Payload: []byte("x")}},
	}}
	promise := Ballot{Number: 7, Replica: 2}
	fresh.Restore(Record{Promised: promise})
	fresh.Restore(Record{Slot: 1, Voted: true, Round: Round{promise, true}, Entry: Entry{v}, Decided: true})
	fresh.Restored(0)
	if ready := fresh.Ready(); len(ready.Execute) != 1 || ready.Execute[0].Value.ID != v.ID {
		t.Fatalf("executes %+v after the restart", ready.Execute)
	}
	fresh.Step(c.now, Envelope{From: 1, To: 3, Message: Prepare{Ballot: Ballot{Number: 6, Replica: 1}, From: 1}})
	ready := fresh.Ready()
	if len(ready.Messages) != 1 || ready.Messages[0].Message != (Refusal{Promised: promise}) {
		t.Fatalf("answers %+v to a ballot below its promise", ready.Messages)
	}
}

// TestVotesAreSavedFirst: whatever message counts in a quorum comes in a turn that saves it.
func TestVotesAreSavedFirst(t *testing.T) {
	for _, kind := range []Kind{KindBasic, KindMulti, KindFast} {
		q := Majority(3)
		if kind == KindFast {
			q = FastQuorums(3)
		}
		core, err := New(config(kind, q, 3, 3))
		if err != nil {
			t.Fatal(err)
		}
		core.Restored(0)
		ballot := Ballot{Number: 1, Replica: 1}
		prepare := Prepare{Ballot: ballot, From: 1, One: kind == KindBasic}
		core.Step(0, Envelope{From: 1, To: 3, Message: prepare})
		if ready := core.Ready(); !ready.MustSync || len(ready.Messages) != 1 {
			t.Errorf("protocol %d promises without a sync: %+v", kind, ready)
		}
		core.Step(0, Envelope{From: 1, To: 3, Message: Accept{Round: Round{ballot, true}, Slot: 1}})
		if ready := core.Ready(); !ready.MustSync || len(ready.Messages) != 1 {
			t.Errorf("protocol %d votes without a sync: %+v", kind, ready)
		}
	}
}

func TestQuorumsMustMeet(t *testing.T) {
	for _, q := range []Quorums{{2, 3, 0}, {6, 1, 0}, {0, 5, 0}, {3, 2, 0}} {
		if _, err := New(config(KindMulti, q, 1, 5)); err == nil {
			t.Errorf("quorums %+v of 5 were taken", q)
		}
	}
	if _, err := New(config(KindFast, Quorums{3, 3, 3}, 1, 5)); err == nil {
		t.Error("fast quorums of 3 among 5 were taken")
	}
	for n := 3; n <= 13; n++ {
		for kind, q := range map[Kind]Quorums{KindBasic: Majority(n), KindMulti: Flexible(n, 2), KindFast: FastQuorums(n)} {
			if _, err := New(config(kind, q, 1, n)); err != nil {
				t.Errorf("protocol %d with %d replicas: %v", kind, n, err)
			}
		}
	}
}

// TestNumbersAreAsLongAsOnTheWire compares with the encodings of internal/wire, in whose style sizes are reckoned.
func TestNumbersAreAsLongAsOnTheWire(t *testing.T) {
	for _, slot := range []epaxos.Slot{1, 127, 128, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32} {
		got := array(3) + number(1) + number(2) + number(uint64(slot))
		want := len(wire.AppendInstanceID(nil, epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: slot}))
		if got != want {
			t.Errorf("slot %d: %d bytes, on the wire %d", slot, got, want)
		}
	}
	ballot := epaxos.Ballot{Number: 300, Replica: 3}
	id := epaxos.InstanceID{Epoch: 1, Replica: 1, Slot: 70000}
	want := len(wire.AppendMessage(nil, epaxos.AcceptReply{ID: id,
		Ballot: ballot})) - 2 // epoch and replica name no slot
	if got := Size(Accepted{Round: Round{ballot, true}, Slot: 70000}); got > want+1 || got < want-2 {
		t.Errorf("Accepted takes %d bytes, a like message of EPaxos %d without its column", got, want)
	}
}

// TestHostile: messages that cannot be true change nothing and take no memory.
func TestHostile(t *testing.T) {
	for _, kind := range []Kind{KindBasic, KindMulti, KindFast} {
		q := Majority(3)
		if kind == KindFast {
			q = FastQuorums(3)
		}
		core, err := New(config(kind, q, 2, 3))
		if err != nil {
			t.Fatal(err)
		}
		core.Restored(0)
		core.Ready()
		far := Slot(1) << 60
		ballot := Ballot{Number: 1, Replica: 1}
		for _, m := range []Message{
			Accept{Round: Round{ballot, true}, Slot: far}, Accept{Round: Round{ballot, true}}, Prepare{Ballot: ballot,
				From: far, One: true},
			Decide{Slot: far, Full: true}, Decide{}, Fetch{From: 1, To: far}, Fetch{From: far, To: 1},
			Vote{Ballot: ballot, Slot: far},
			Vote{}, Fill{Ballot: ballot, Slot: far}, Accepted{Slot: far}, Accepted{}, Promise{}, Refusal{}, Want{}, Propose{},
			Forward{Values: []Value{{}}}, nil,
		} {
			core.Step(0, Envelope{From: 1, To: 2, Message: m})
			core.Step(0, Envelope{From: 2, To: 2, Message: m})
			core.Step(0, Envelope{From: 9, To: 2, Message: m})
			core.Ready()
		}
	}
}

// TestForwardedCommandIsReady: a node asks for Ready only where HasReady says so.
func TestForwardedCommandIsReady(t *testing.T) {
	c := newCluster(t, KindMulti, Majority(3), 3)
	leader := c.cores[0]
	if !leader.Leads() || leader.HasReady() {
		t.Fatalf("leads %v, ready %v before anything is asked", leader.Leads(), leader.HasReady())
	}
	leader.Step(c.now, Envelope{From: 2, To: 1, Message: Forward{Values: []Value{{
		ID: CommandID{Replica: 2, Life: 1, Number: 99}, Command: &epaxos.Command{Requests: []epaxos.Request{{}}},
	}}}})
	if !leader.HasReady() || len(leader.Ready().Messages) != 2 {
		t.Error("the leader does not propose what was forwarded")
	}
}

// TestFetchesFromWhoHasIt: what only one replica has is asked of that one.
func TestFetchesFromWhoHasIt(t *testing.T) {
	for seed := range 20 {
		c := config(KindMulti, Majority(5), 2, 5)
		c.Rand = rand.New(rand.NewPCG(uint64(seed), 1))
		core, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		core.Restored(0)
		core.Step(time.Millisecond, Envelope{From: 3, To: 2, Message: Heartbeat{}})
		core.Step(time.Millisecond, Envelope{From: 4, To: 2, Message: Heartbeat{Decided: 3}})
		core.Tick(time.Second)
		asked := 0
		for _, e := range core.Ready().Messages {
			if m, fetch := e.Message.(Fetch); fetch {
				asked++
				if e.To != 4 || m != (Fetch{From: 1, To: 3}) {
					t.Errorf("replica %d is asked for %+v", e.To, m)
				}
			}
		}
		if asked != 1 {
			t.Errorf("%d are asked", asked)
		}
	}
}
