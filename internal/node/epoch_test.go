package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// company is a few nodes with a network in memory, whose order is that of a list.
type company struct {
	t       *testing.T
	now     time.Duration
	nodes   []*node.Node // by replica id - 1; nil while it is down
	stores  []*storage.Memory
	configs []node.Config
	answers map[epaxos.ProposalID]node.Answer
	last    epaxos.ProposalID
	lost    func(e epaxos.Envelope) bool // nil loses nothing
	rate    node.Transfer
}

func newCompany(t *testing.T, replicas int) *company {
	c := &company{t: t, now: time.Second, answers: map[epaxos.ProposalID]node.Answer{}}
	for i := range replicas {
		store := storage.NewMemory(storage.MemoryOptions{})
		config := configOf(epaxos.ReplicaID(i+1), store, replicas) //nolint:gosec // few
		config.WriteBack = 100 * time.Millisecond
		c.stores, c.configs, c.nodes = append(c.stores, store), append(c.configs, config), append(c.nodes, nil)
		c.start(i)
	}
	c.meet()
	return c
}

func (c *company) start(i int) {
	c.configs[i].Transfer = c.rate
	n, err := node.New(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[i] = n
}

// crash loses what was not saved, and starts again.
func (c *company) crash(i int) {
	c.stores[i] = c.stores[i].Crash(false)
	c.configs[i].Store = c.stores[i]
	c.start(i)
}

// meet lets all greet each other; who does not know another refuses it.
func (c *company) meet() {
	for i, a := range c.nodes {
		for j, b := range c.nodes {
			if i != j && a != nil && b != nil {
				_ = b.Greet(c.now, a.Hello(epaxos.ReplicaID(j+1))) //nolint:gosec // few
			}
		}
	}
}

func (c *company) propose(i int, request epaxos.Request, footprint epaxos.Footprint) epaxos.ProposalID {
	c.t.Helper()
	c.last++
	if err := c.nodes[i].Propose(c.now, c.last, request, footprint); err != nil {
		c.t.Fatalf("propose at %d: %v", i+1, err)
	}
	return c.last
}

func (c *company) put(i int, key, value string) epaxos.ProposalID {
	payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: []byte(value)})
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.propose(i, epaxos.Request{Payload: payload}, footprint)
}

func (c *company) reconfigure(i int, change func(m *wire.Members)) epaxos.ProposalID {
	members, _ := c.nodes[i].Members()
	next := members.Clone()
	next.Epoch++
	change(&next)
	control := wire.Control{Kind: wire.ControlReconfigure, Members: &next}
	return c.propose(i, epaxos.Request{Payload: wire.AppendControl(nil, &control)}, control.Footprint())
}

// turn is one turn of one node.
func (c *company) turn(i int) (busy bool) {
	c.t.Helper()
	n := c.nodes[i]
	messages, err := n.Save(c.now)
	if err != nil {
		c.t.Fatalf("violation of integrity: replica %d: %v", i+1, err)
	}
	messages = slices.Clone(messages)
	answers, err := n.Execute(c.now)
	if err != nil {
		c.t.Fatalf("violation of integrity: replica %d: %v", i+1, err)
	}
	for _, a := range answers {
		if _, twice := c.answers[a.Proposal]; twice {
			c.t.Fatalf("violation of once: proposal %d is answered twice", a.Proposal)
		}
		c.answers[a.Proposal] = a
	}
	for _, e := range messages {
		if to := c.nodes[e.To-1]; to != nil && (c.lost == nil || !c.lost(e)) {
			to.Deliver(c.now, e.From, wire.FrameHeader{Group: c.stores[i].LastGroup()}, []epaxos.Message{e.Message})
		}
	}
	return len(messages) > 0 || len(answers) > 0
}

// settle runs turns until nobody has anything to say, then lets so much time pass.
func (c *company) settle(d time.Duration) {
	c.t.Helper()
	for end := c.now + d; ; c.now += 50 * time.Millisecond {
		for busy := true; busy; {
			busy = false
			for i := range c.nodes {
				busy = c.nodes[i] != nil && c.turn(i) || busy
			}
		}
		if c.now >= end {
			return
		}
		for _, n := range c.nodes {
			if n != nil {
				n.Tick(c.now)
			}
		}
	}
}

func (c *company) want(id epaxos.ProposalID) node.Answer {
	c.t.Helper()
	a, answered := c.answers[id]
	if !answered {
		c.t.Fatalf("proposal %d is not answered", id)
	}
	return a
}

func (c *company) epochs() (epochs []epaxos.Epoch) {
	for _, n := range c.nodes {
		if n == nil {
			epochs = append(epochs, 0)
			continue
		}
		m, _ := n.Members()
		epochs = append(epochs, m.Epoch)
	}
	return epochs
}

func (c *company) value(i int, key string) string {
	c.t.Helper()
	payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: []byte(key)})
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	id := c.propose(i, epaxos.Request{Payload: payload}, footprint)
	c.settle(2 * time.Second)
	return fmt.Sprintf("%q", c.want(id).Result)
}

// All go into the next epoch, with what they had, and go on.
func TestEpochEnds(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "before")
	c.settle(time.Second)
	id := c.reconfigure(1, func(m *wire.Members) { m.F, m.E = 0, 0 })
	c.settle(2 * time.Second)
	result, err := wire.DecodeControlResult(c.want(id).Result)
	if err != nil || result.Refused != "" || result.Members.Epoch != 2 {
		t.Fatalf("%+v, %v", result, err)
	}
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2}) {
		t.Fatalf("epochs %v", got)
	}
	before := c.value(0, "a")
	after := c.put(2, "a", "after")
	c.settle(time.Second)
	c.want(after)
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2}) {
		t.Fatalf("after a crash of all: epochs %v", got)
	}
	if after := c.value(1, "a"); after == before {
		t.Errorf("the write of the second epoch is lost: %s", after)
	}
}

// What is under way when the epoch ends is proposed again where its leader is a member, and void where not;
// and it happens once (rule M6).
func TestUnfinishedIsProposedAgain(t *testing.T) {
	c := newCompany(t, 3)
	change := c.reconfigure(0, func(m *wire.Members) { m.Voters, m.F, m.E = m.Voters[:2], 0, 0 })
	var kept, left []epaxos.ProposalID
	for k := range 5 {
		kept = append(kept, c.put(1, "k", fmt.Sprint(k)))
		left = append(left, c.put(2, "k", fmt.Sprint(10+k)))
	}
	c.settle(5 * time.Second)
	c.want(change)
	void := 0
	for i := range kept {
		if c.want(kept[i]).Void {
			t.Errorf("void at a member")
		}
		if c.want(left[i]).Void {
			void++
		}
	}
	t.Logf("%d void", void)
	if _, role := c.nodes[2].Members(); role != node.Removed {
		t.Errorf("the third is %v", role)
	}
	if err := c.nodes[2].Propose(c.now, 1000, epaxos.Request{}, nil); err == nil {
		t.Error("one that was removed proposes")
	}
}

// Of two that race one wins everywhere, and the other is told so.
func TestRacingReconfigures(t *testing.T) {
	c := newCompany(t, 3)
	a := c.reconfigure(0, func(m *wire.Members) { m.Voters, m.F, m.E = m.Voters[:2], 0, 0 })
	b := c.reconfigure(1, func(m *wire.Members) { m.F, m.E = 0, 0 })
	c.settle(5 * time.Second)
	won := 0
	for _, id := range []epaxos.ProposalID{a, b} {
		answer := c.want(id)
		if answer.Void {
			continue
		}
		result, err := wire.DecodeControlResult(answer.Result)
		if err != nil {
			t.Fatal(err)
		}
		if result.Refused == "" {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d of two won", won)
	}
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2}) {
		t.Fatalf("epochs %v", got)
	}
}

// One that was down when the epoch ended hears so, and takes the decisions from those who still have them.
func TestLateExecutesTheEndItself(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	c.lost = func(e epaxos.Envelope) bool { return e.To == 3 || e.From == 3 }
	c.put(0, "a", "2")
	c.settle(time.Second)
	change := c.reconfigure(1, func(m *wire.Members) { m.E = 0 })
	c.settle(time.Second)
	c.want(change)
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 1}) {
		t.Fatalf("epochs %v", got)
	}
	c.lost = nil
	c.settle(10 * time.Second)
	if got := c.epochs(); !slices.Equal(got, []epaxos.Epoch{2, 2, 2}) {
		t.Fatalf("epochs %v", got)
	}
	if got := c.value(2, "a"); got == "" {
		t.Error(got)
	}
}
