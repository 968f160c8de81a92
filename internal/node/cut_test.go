package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

func (c *company) cut(i int, ttl time.Duration) epaxos.ProposalID {
	control := wire.Control{Kind: wire.ControlCut, TTL: uint64(ttl.Milliseconds())} //nolint:gosec // positive
	return c.propose(i, epaxos.Request{Payload: wire.AppendControl(nil, &control)}, control.Footprint())
}

// cutID is what an answered cut is called.
func (c *company) cutID(id epaxos.ProposalID) epaxos.InstanceID {
	c.t.Helper()
	cut, err := wire.DecodeInstanceID(c.want(id).Result)
	if err != nil || cut.IsZero() {
		c.t.Fatalf("cut %v, %v", cut, err)
	}
	return cut
}

func (c *company) readCut(i int, cut epaxos.InstanceID) epaxos.ProposalID {
	c.t.Helper()
	c.last++
	if err := c.nodes[i].Read(c.now, node.Read{Proposal: c.last, Consistency: node.AtCut, Cut: cut}); err != nil {
		c.t.Fatal(err)
	}
	return c.last
}

// wholeState reads all that there is of a state, and closes it.
func wholeState(t *testing.T, past storage.Past) string {
	t.Helper()
	defer past.Close()
	var all strings.Builder
	err := past.Scan(nil, nil, func(key, value []byte) error {
		fmt.Fprintf(&all, "%q=%q;", key, value)
		return nil
	})
	if err != nil {
		t.Fatalf("violation of durability: the state at a cut: %v", err)
	}
	return all.String()
}

// shownAt is the state at a cut as a replica shows it, or why it does not.
func (c *company) shownAt(i int, cut epaxos.InstanceID) (string, error) {
	c.t.Helper()
	id := c.readCut(i, cut)
	c.settle(0)
	a := c.want(id)
	if a.Gone != nil {
		return "", a.Gone
	}
	return wholeState(c.t, a.Past), nil
}

func (c *company) wantGone(i int, cut epaxos.InstanceID, why string) {
	c.t.Helper()
	shown, err := c.shownAt(i, cut)
	if !errors.Is(err, node.ErrCutGone) || !strings.Contains(err.Error(), why) {
		c.t.Errorf("replica %d shows %q, %v; want it gone: %s", i+1, shown, err, why)
	}
}

// A cut shows what was answered before it and nothing of what was asked after it, at every replica that has executed it,
// until its time is up there.
func TestCut(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "before")
	c.settle(time.Second)
	asked := c.cut(1, 10*time.Second)
	c.settle(0)
	cut := c.cutID(asked)
	c.put(2, "a", "after")
	c.put(2, "b", "after")
	c.settle(2 * time.Second)
	first, err := c.shownAt(0, cut)
	if err != nil || !strings.Contains(first, "before") || strings.Contains(first, "after") {
		t.Fatalf("violation of linearizability: the cut shows %s, %v", first, err)
	}
	for i := range c.nodes {
		if shown, err := c.shownAt(i, cut); err != nil || shown != first {
			t.Errorf("violation of agreement: replica %d shows %s, %v", i+1, shown, err)
		}
		if s := c.nodes[i].Status().Cuts; len(s) != 1 || s[0].ID != cut || s[0].Left <= 0 || s[0].Bytes == 0 {
			t.Errorf("replica %d tells %+v", i+1, s)
		}
	}
	c.nodes[2].ReleaseCut(cut)
	c.nodes[2].ReleaseCut(cut)
	c.wantGone(2, cut, "released")
	c.crash(0)
	c.meet()
	c.settle(time.Second)
	c.wantGone(0, cut, "last started")
	if shown, err := c.shownAt(1, cut); err != nil || shown != first {
		t.Errorf("violation of durability: it shows %s, %v", shown, err)
	}
	c.settle(10 * time.Second)
	c.wantGone(1, cut, "time is up")
	c.wantGone(1, epaxos.InstanceID{Epoch: 1, Replica: 9, Slot: 1}, "is none")
}

// Who has yet to execute a cut lets its reads wait, and then sends them elsewhere.
func TestCutIsAwaited(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "before")
	c.settle(time.Second)
	c.lost = func(e epaxos.Envelope) bool {
		_, commit := e.Message.(epaxos.Commit)
		_, gossip := e.Message.(epaxos.Gossip)
		return (commit || gossip) && e.To == 3
	}
	asked := c.cut(0, time.Minute)
	c.settle(0)
	cut := c.cutID(asked)
	read := c.readCut(2, cut)
	c.settle(0)
	if a, early := c.answers[read]; early {
		t.Fatalf("replica 3 answers %+v before it has executed the cut", a)
	}
	c.lost = nil
	c.settle(time.Second / 2)
	c.lost = func(e epaxos.Envelope) bool { return e.To == 3 }
	if a, answered := c.answers[read]; !answered {
		c.settle(2 * time.Second)
		if a = c.want(read); !errors.Is(a.Gone, node.ErrCutAwaited) {
			t.Errorf("it is answered with %+v", a)
		}
	} else if a.Past != nil {
		a.Past.Close()
	}
	again := c.cut(1, time.Minute)
	c.settle(0)
	read = c.readCut(2, c.cutID(again))
	c.settle(3 * time.Second)
	if a := c.want(read); !errors.Is(a.Gone, node.ErrCutAwaited) {
		t.Errorf("replica 3 cannot know of the cut, and answers %+v", a)
	}
	if err := c.nodes[2].Read(c.now, node.Read{
		Proposal: 1 << 40, Consistency: node.AtCut, Cut: epaxos.InstanceID{Epoch: 2, Replica: 1, Slot: 1},
	}); !errors.Is(err, node.ErrBehind) {
		t.Errorf("a cut of an epoch to come: %v", err)
	}
}

// atOnce has two replicas lead what they were asked for before either hears of the other's.
func (c *company) atOnce(one, other int) {
	c.t.Helper()
	var sent []epaxos.Envelope
	for _, i := range []int{one, other} {
		messages, err := c.nodes[i].Save(c.now)
		if err != nil {
			c.t.Fatal(err)
		}
		sent = append(sent, slices.Clone(messages)...)
	}
	for _, e := range sent {
		if !c.lost(e) {
			header := wire.FrameHeader{Group: c.stores[e.From-1].LastGroup()}
			c.nodes[e.To-1].Deliver(c.now, e.From, header, []epaxos.Message{e.Message})
		}
	}
}

// Cuts and barriers that come before a Reconfigure in one component keep the state that the epoch ends with.
func TestCutBeforeTheEndOfAnEpoch(t *testing.T) {
	c := newCompany(t, 3)
	for range 5 { // the order within a component begins with the lowest slots
		c.put(1, "a", "before")
		c.settle(0)
	}
	c.settle(time.Second)
	c.lost = func(e epaxos.Envelope) bool { // so that no fast quorum leaves out who knows the other
		_, asks := e.Message.(epaxos.PreAccept)
		return asks && e.To == 3
	}
	cut := c.cut(0, time.Minute)
	barrier := wire.Control{Kind: wire.ControlBarrier}
	snapshot := c.propose(0, epaxos.Request{Payload: wire.AppendControl(nil, &barrier)}, barrier.Footprint())
	end := c.reconfigure(1, func(m *wire.Members) { m.E = 0 })
	c.atOnce(0, 1)
	c.settle(time.Second)
	c.lost = nil
	late := c.cut(2, time.Minute)
	c.settle(2 * time.Second)
	c.want(end)
	if got := c.epochs(); got[0] != 2 {
		t.Fatalf("epochs %v", got)
	}
	first, second := c.cutID(cut), c.cutID(late)
	if first.Epoch != 1 || second.Epoch != 2 {
		t.Fatalf("the cuts are %v and %v: the test shows nothing", first, second)
	}
	group := c.want(snapshot).Cut
	if group == 0 {
		t.Fatal("the barrier before the end of the epoch keeps no state")
	}
	c.put(0, "a", "after")
	c.settle(time.Second)
	past, err := c.stores[0].At(group)
	if err != nil {
		t.Fatal(err)
	}
	want := wholeState(t, past)
	if !strings.Contains(want, "members") {
		t.Fatal("the end of the epoch is in another component: the test shows nothing")
	}
	for i := range c.nodes {
		for _, cut := range []epaxos.InstanceID{first, second} {
			if shown, err := c.shownAt(i, cut); err != nil || shown != want {
				t.Errorf("violation of agreement: at %v replica %d shows %s, %v, want %s", cut, i+1, shown, err, want)
			}
		}
	}
}

// What a replica keeps is bounded by number, by bytes and by the disk.
func TestCutsAreBounded(t *testing.T) {
	c := newCompany(t, 3)
	for i := range c.nodes {
		c.configs[i].Cuts = node.Cuts{Max: 2, Bytes: 200 << 10}
		c.crash(i)
	}
	c.configs[1].Cuts.Max = 1
	c.crash(1)
	c.meet()
	c.settle(time.Second)
	ask := func() epaxos.InstanceID {
		t.Helper()
		asked := c.cut(0, time.Minute)
		c.settle(0)
		return c.cutID(asked)
	}
	first, second := ask(), ask()
	c.wantGone(1, second, "as many")
	for _, i := range []int{0, 2} {
		if _, err := c.shownAt(i, second); err != nil {
			t.Errorf("replica %d: %v", i+1, err)
		}
	}
	control := wire.Control{Kind: wire.ControlCut, TTL: 1000}
	request := epaxos.Request{Payload: wire.AppendControl(nil, &control)}
	if err := c.nodes[0].Propose(c.now, 1<<40, request, control.Footprint()); !errors.Is(err, node.ErrCuts) {
		t.Errorf("a third cut: %v", err)
	}
	c.stores[2].Full(true)
	full := c.put(0, "a", strings.Repeat("x", 60<<10))
	c.settle(time.Second)
	c.want(full)
	if c.nodes[2].NoRoom() == nil {
		t.Fatal("the disk of replica 3 is not full: the test shows nothing")
	}
	if err := c.nodes[2].Read(c.now, node.Read{Consistency: node.AtCut, Cut: first}); !errors.Is(err, node.ErrNoRoom) {
		t.Errorf("a read at a replica with a full disk: %v", err)
	}
	c.stores[2].Full(false)
	c.settle(time.Second)
	c.wantGone(2, first, "disk is too full")
	if _, err := c.shownAt(0, first); err != nil {
		t.Errorf("replica 1: %v", err)
	}
	c.put(0, "a", strings.Repeat("y", 60<<10))
	c.settle(2 * time.Second)
	c.wantGone(0, first, "too much has been written")
}

// A state that is taken over takes the place of all that is kept.
func TestCutsEndWithTheState(t *testing.T) {
	c := newCompany(t, 3)
	c.put(0, "a", "1")
	c.settle(time.Second)
	asked := c.cut(0, time.Hour)
	c.settle(time.Second)
	cut := c.cutID(asked)
	c.apart(3)
	c.reconfigure(0, func(m *wire.Members) { m.E = 0 })
	c.settle(2 * time.Second)
	c.fill(40, "meanwhile")
	c.crash(0) // and the former core that could tell replica 3 what was decided
	c.crash(1)
	c.meet()
	c.settle(2 * time.Minute)
	c.lost = nil
	c.meet()
	c.settle(time.Minute)
	if got := c.epochs(); got[2] != 2 || c.nodes[2].Status().Transfer.Rounds == 0 {
		t.Fatalf("epochs %v, %+v: the test shows nothing", got, c.nodes[2].Status().Transfer)
	}
	c.wantGone(2, cut, "taken over")
}
