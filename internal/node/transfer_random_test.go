package node_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

var (
	upheavalSeed = flag.Uint64("upheaval-seed", 0, "run this schedule of memberships only")
	upheavalRuns = flag.Uint64("upheaval-runs", 25, "how many schedules of memberships")
)

// upheaval is a company whose members change while messages are lost, repeated and late, and replicas crash.
type upheaval struct {
	*company
	rand    *rand.Rand
	bad     int // of a hundred messages so many are lost, and as many late
	late    []epaxos.Envelope
	down    []bool
	retired []bool // removed and switched off
	sent    map[epaxos.ProposalID]string
}

// TestUpheaval: whatever order epochs end in, who is down, learns, joins or is removed meanwhile, the
// states of all that are left are one, and each request happened as its answer says.
func TestUpheaval(t *testing.T) {
	for seed := range *upheavalRuns {
		if *upheavalSeed != 0 {
			seed = *upheavalSeed - 1
		}
		t.Run(fmt.Sprint(seed+1), func(t *testing.T) {
			c := newCompany(t, 3)
			m := &upheaval{
				company: c, rand: rand.New(rand.NewPCG(seed, 1)), bad: int(seed % 4 * 3), //nolint:gosec // reproducible
				down: make([]bool, 3), retired: make([]bool, 3), sent: map[epaxos.ProposalID]string{},
			}
			c.lost = m.loses
			if seed%3 > 0 {
				c.rate = node.Transfer{ChunkBytes: 100, BytesPerSecond: int(seed%5) * 1500} //nolint:gosec // small
			}
			m.append(0)
			for i := range c.nodes {
				c.crash(i)
			}
			m.run()
		})
		if *upheavalSeed != 0 {
			return
		}
	}
}

func (m *upheaval) loses(e epaxos.Envelope) bool {
	switch dice := m.rand.IntN(100); {
	case dice < m.bad:
		return true
	case dice < 2*m.bad:
		m.late = append(m.late, e)
		return true
	case dice < 3*m.bad:
		m.late = append(m.late, e) // twice
	}
	return false
}

func (m *upheaval) run() {
	for range 60 {
		m.step()
	}
	m.calm()
	m.check()
}

// step is a moment: some requests, some messages that come late, perhaps a crash or a change of members.
func (m *upheaval) step() {
	for range 3 {
		m.append(m.rand.IntN(len(m.nodes)))
		m.write(m.rand.IntN(len(m.nodes)))
	}
	late := m.late
	m.late = nil
	for _, e := range late {
		if to := m.nodes[e.To-1]; to != nil {
			to.Deliver(m.now, e.From, wire.FrameHeader{}, []epaxos.Message{e.Message})
		}
	}
	i := m.rand.IntN(len(m.nodes))
	switch dice := m.rand.IntN(100); {
	case m.retired[i]:
	case dice < 50 && m.nodes[i] != nil && m.role(i) == node.Removed:
		m.retired[i], m.nodes[i] = true, nil
	case dice < 6 && !m.down[i] && !slices.Contains(m.down, true):
		m.down[i], m.nodes[i] = true, nil
	case dice < 30 && m.down[i]:
		m.down[i] = false
		m.crash(i)
	case dice < 36 && !m.down[i]:
		m.crash(i)
	case dice < 50:
		m.change()
	}
	if m.rand.IntN(3) == 0 {
		m.meet()
	}
	if m.rand.IntN(30) == 0 {
		m.settle(70 * time.Second) // the decisions of the epoch before are no longer told
	}
	m.settle(time.Duration(m.rand.IntN(8)) * 100 * time.Millisecond)
}

// write fills the state.
func (m *upheaval) write(i int) {
	if m.nodes[i] == nil {
		return
	}
	op := wire.Op{Kind: wire.OpPut, Key: fmt.Appendf(nil, "fill%d", m.rand.IntN(60)), Value: make([]byte, m.rand.IntN(60))}
	if m.rand.IntN(4) == 0 {
		op = wire.Op{Kind: wire.OpDelete, Key: op.Key}
	}
	payload := wire.AppendOp(nil, &op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		m.t.Fatal(err)
	}
	m.last++
	_ = m.nodes[i].Propose(m.now, m.last, epaxos.Request{Payload: payload}, footprint)
}

// append asks for one more word behind a value, where a replica takes it.
func (m *upheaval) append(i int) {
	if m.nodes[i] == nil {
		return
	}
	m.last++
	word := fmt.Sprintf("%d;", m.last)
	op := wire.Op{Kind: wire.OpAppend, Key: fmt.Appendf(nil, "k%d", m.rand.IntN(3)), Value: []byte(word)}
	payload := wire.AppendOp(nil, &op)
	footprint, err := execution.KV{}.Footprint(payload)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.nodes[i].Propose(m.now, m.last, epaxos.Request{Payload: payload}, footprint) == nil {
		m.sent[m.last] = word
	}
}

// newest is the members of the newest epoch that anybody runs.
func (m *upheaval) newest() (members wire.Members) {
	for _, n := range m.nodes {
		if n == nil {
			continue
		}
		if mm, role := n.Members(); role != node.Joining && mm.Epoch > members.Epoch {
			members = mm
		}
	}
	return members
}

// change asks one replica for other members.
func (m *upheaval) change() {
	newest := m.newest()
	next := newest.Clone()
	next.Epoch++
	switch dice := m.rand.IntN(10); {
	case dice < 3 && len(m.nodes) < 8:
		learn(&next, m.hire())
	case dice < 4 && len(m.nodes) < 8:
		grow(&next, m.hire())
	case dice < 7 && len(next.Learners) > 0 && len(next.Voters) < 5:
		grow(&next, next.Learners[m.rand.IntN(len(next.Learners))])
	case len(next.Voters) > 3:
		next.Voters = slices.Clone(next.Voters)
		i := m.rand.IntN(len(next.Voters))
		gone := next.Voters[i]
		next.Voters = slices.Delete(next.Voters, i, i+1)
		next.F = (len(next.Voters) - 1) / 2
		next.E = epaxos.LargestE(len(next.Voters), next.F)
		if m.rand.IntN(2) == 0 {
			next.Learners = append(slices.Clone(next.Learners), gone)
			slices.SortFunc(next.Learners, func(a, b wire.Member) int { return int(a.Replica) - int(b.Replica) })
		}
	}
	slices.SortFunc(next.Voters, func(a, b wire.Member) int { return int(a.Replica) - int(b.Replica) })
	i := m.rand.IntN(len(m.nodes))
	if m.nodes[i] == nil {
		return
	}
	control := wire.Control{Kind: wire.ControlReconfigure, Members: &next}
	m.last++
	_ = m.nodes[i].Propose(m.now, m.last, epaxos.Request{Payload: wire.AppendControl(nil, &control)}, control.Footprint())
}

func (m *upheaval) hire() wire.Member {
	from := slices.IndexFunc(m.nodes, func(n *node.Node) bool { return n != nil })
	if from != 0 && m.nodes[0] == nil {
		m.nodes[0] = m.nodes[from]
		defer func() { m.nodes[0] = nil }()
	}
	one := m.company.hire()
	m.down, m.retired = append(m.down, false), append(m.retired, false)
	return one
}

// calm lets everybody come back, and everything end.
func (m *upheaval) calm() {
	m.bad = 0
	for i := range m.nodes {
		if m.down[i] {
			m.down[i] = false
			m.crash(i)
		}
	}
	for range 20 {
		m.meet()
		m.settle(3 * time.Second)
	}
}

func (m *upheaval) check() {
	m.t.Helper()
	members := m.newest()
	var left []int
	for _, one := range members.All() {
		i := int(one.Replica) - 1
		left = append(left, i)
		own, role := m.nodes[i].Members()
		if own.Epoch != members.Epoch {
			m.t.Fatalf("violation of progress: replica %d is in epoch %d of %d, a %v, admitted: %v; %+v", i+1, own.Epoch,
				members.Epoch, role, m.nodes[i].Admitted(), m.nodes[i].Status().Transfer)
		}
	}
	m.same(left...)
	var rounds uint64
	for _, n := range m.nodes {
		if n == nil {
			continue
		}
		rounds += n.Status().Transfer.Rounds
	}
	m.t.Logf("epoch %d, %d replicas, %d learners, %d rounds", members.Epoch, len(m.nodes), len(members.Learners), rounds)
	words := map[string]int{}
	for k := range 3 {
		id := m.read(left[0], fmt.Sprintf("k%d", k), node.Stale, node.Token{})
		m.settle(0)
		for _, word := range strings.SplitAfter(m.shows(id), ";") {
			words[word]++
		}
	}
	for id, word := range m.sent {
		a, answered := m.answers[id]
		count := words[word]
		switch {
		case count > 1:
			m.t.Errorf("violation of once: request %d happened %d times", id, count)
		case answered && a.Void && count > 0:
			m.t.Errorf("violation of once: request %d is void and happened", id)
		case answered && !a.Void && !a.Unknown && count != 1:
			m.t.Errorf("violation of durability: request %d was answered and is not there", id)
		}
	}
	for i := range members.Voters {
		if held := m.stores[members.Voters[i].Replica-1].Held(); held > 0 {
			m.t.Errorf("violation of boundedness: replica %d holds group %d for ever", members.Voters[i].Replica, held)
		}
	}
}
