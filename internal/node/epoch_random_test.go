package node_test

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// turmoil is a company whose messages are lost, repeated and reordered, whose members crash at any boundary of a
// turn, fill their disks, and change who they are all the time.
type turmoil struct {
	*company
	rand    *rand.Rand
	flying  []parcel
	calm    bool
	lives   []int
	asked   map[epaxos.ProposalID]call
	ends    map[epaxos.Epoch]uint64 // digest of the state with which an epoch begins
	changes int
}

type parcel struct {
	from, to epaxos.ReplicaID
	body     []byte
}

// call is an append of its own number to a key.
type call struct {
	host, life  int
	key         string
	reconfigure bool
}

func newTurmoil(t *testing.T, seed uint64) *turmoil {
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // reproducible
	w := &turmoil{
		company: newCompany(t, 3+r.IntN(3)), rand: r, asked: map[epaxos.ProposalID]call{}, ends: map[epaxos.Epoch]uint64{},
	}
	w.lives = make([]int, len(w.nodes))
	for i := range w.configs {
		w.configs[i].WriteBack = time.Duration(r.IntN(300)) * time.Millisecond
		w.configs[i].Compaction = node.Compaction{Groups: 1 + r.IntN(20), Segment: 1 + r.IntN(5)}
		w.restart(i)
	}
	w.meet()
	return w
}

func (w *turmoil) restart(i int) {
	w.lives[i]++
	w.crash(i)
}

func (w *turmoil) chance(percent int) bool { return w.rand.IntN(100) < percent }

// save is the first half of a turn.
func (w *turmoil) save(i int) {
	messages, err := w.nodes[i].Save(w.now)
	if err != nil {
		w.t.Fatalf("violation of integrity: replica %d: %v", i+1, err)
	}
	for _, e := range messages {
		body := wire.AppendFrameHeader(nil, wire.FrameHeader{Group: w.stores[i].LastGroup()})
		w.flying = append(w.flying, parcel{from: e.From, to: e.To, body: wire.AppendMessage(body, e.Message)})
	}
}

// execute is the second.
func (w *turmoil) execute(i int) {
	before, _ := w.nodes[i].Members()
	answers, err := w.nodes[i].Execute(w.now)
	if err != nil {
		w.t.Fatalf("violation of integrity: replica %d: %v", i+1, err)
	}
	for _, a := range answers {
		if _, twice := w.answers[a.Proposal]; twice {
			w.t.Fatalf("violation of once: proposal %d is answered twice", a.Proposal)
		}
		w.answers[a.Proposal] = a
	}
	if after, _ := w.nodes[i].Members(); after.Epoch != before.Epoch {
		w.began(i)
	}
}

// began checks that all have the same state where an epoch begins.
func (w *turmoil) began(i int) {
	m, role := w.nodes[i].Members()
	if role != node.Voter {
		return
	}
	held := w.stores[i].Held()
	if held == 0 {
		w.t.Fatalf("violation of durability: replica %d in epoch %d holds no state", i+1, m.Epoch)
	}
	digest := fnv.New64a()
	err := w.stores[i].Changes(0, held, nil, func(one storage.Write) error {
		fmt.Fprintf(digest, "%q=%q;", one.Key, one.Value)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if first, known := w.ends[m.Epoch]; known && first != digest.Sum64() {
		w.t.Fatalf("violation of agreement: replica %d begins epoch %d with another state", i+1, m.Epoch)
	}
	w.ends[m.Epoch] = digest.Sum64()
}

func (w *turmoil) deliver() {
	if len(w.flying) == 0 {
		return
	}
	at := w.rand.IntN(len(w.flying))
	if w.calm || w.chance(70) {
		at = 0
	}
	p := w.flying[at]
	if !w.calm && w.chance(8) {
		w.flying = append(w.flying, p)
	}
	w.flying = slices.Delete(w.flying, at, at+1)
	if !w.calm && w.chance(8) {
		return
	}
	header, messages, err := wire.DecodeFrame(p.body)
	if err != nil {
		w.t.Fatalf("violation of integrity: %v", err)
	}
	w.nodes[p.to-1].Deliver(w.now, p.from, header, messages)
}

func (w *turmoil) ask(i int) {
	w.last++
	id, key := w.last, string(rune('a'+w.rand.IntN(3)))
	members, role := w.nodes[i].Members()
	one := call{host: i, life: w.lives[i], key: key}
	var request epaxos.Request
	var footprint epaxos.Footprint
	if !w.calm && w.chance(6) && role == node.Voter {
		next := w.change(members)
		control := wire.Control{Kind: wire.ControlReconfigure, Members: &next}
		if w.chance(20) {
			control = wire.Control{Kind: wire.ControlBarrier}
		}
		one.reconfigure = true
		request, footprint = epaxos.Request{Payload: wire.AppendControl(nil, &control)}, control.Footprint()
	} else {
		request.Payload = wire.AppendOp(nil, &wire.Op{
			Kind: wire.OpAppend, Key: []byte(key), Value: []byte(token(id)),
		})
		var err error
		if footprint, err = (execution.KV{}).Footprint(request.Payload); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.nodes[i].Propose(w.now, id, request, footprint) == nil {
		w.asked[id] = one
	}
}

// change is another membership, most of the time one that fits.
func (w *turmoil) change(m wire.Members) wire.Members {
	next := m.Clone()
	next.Epoch++
	if w.chance(10) {
		next.Epoch++
	}
	if len(next.Voters) > 2 && w.chance(15) {
		at := w.rand.IntN(len(next.Voters))
		next.Voters = slices.Delete(next.Voters, at, at+1)
	}
	next.F = w.rand.IntN((len(next.Voters)-1)/2 + 1)
	next.E = min(next.F, w.rand.IntN(2))
	return next
}

func (w *turmoil) step() {
	i := w.rand.IntN(len(w.nodes))
	switch k := w.rand.IntN(1000); {
	case k < 500:
		w.deliver()
	case k < 600:
		w.ask(i)
	case k < 850:
		w.save(i)
		if !w.calm && w.chance(1) {
			w.restart(i)
			return
		}
		w.execute(i)
	case k < 960:
		w.now += time.Duration(w.rand.IntN(60)) * time.Millisecond
		w.nodes[i].Tick(w.now)
	case w.calm:
	case k < 965:
		w.restart(i)
	case k < 985:
		j := w.rand.IntN(len(w.nodes))
		if i != j {
			_ = w.nodes[j].Greet(w.now, w.nodes[i].Hello(epaxos.ReplicaID(j+1))) //nolint:gosec // few
			_ = w.nodes[i].Greet(w.now, w.nodes[j].Hello(epaxos.ReplicaID(i+1))) //nolint:gosec // few
		}
	case k < 990:
		w.stores[i].Full(w.chance(40))
	case k < 992:
		if err := w.nodes[i].Flush(); err != nil {
			w.stores[i].Full(false)
		}
	default:
		w.nodes[i].Suspect(w.now, epaxos.ReplicaID(1+w.rand.IntN(len(w.nodes))), w.chance(50)) //nolint:gosec // few
	}
}

// heal ends all trouble and lets everything come to rest.
func (w *turmoil) heal() {
	w.calm = true
	for i, n := range w.nodes {
		w.stores[i].Full(false)
		for j := range w.nodes {
			n.Suspect(w.now, epaxos.ReplicaID(j+1), false) //nolint:gosec // few
		}
	}
	for range 400 {
		w.meet()
		for range 3 {
			for i := range w.nodes {
				w.save(i)
				w.execute(i)
			}
			for len(w.flying) > 0 {
				w.deliver()
			}
		}
		w.now += 50 * time.Millisecond
		for _, n := range w.nodes {
			n.Tick(w.now)
		}
	}
}

// newest is who is in the newest epoch, and whether they can go on without those who are not.
func (w *turmoil) newest() (voters []int, enough bool) {
	var members wire.Members
	for _, n := range w.nodes {
		if m, _ := n.Members(); m.Epoch > members.Epoch {
			members = m
		}
	}
	for i, n := range w.nodes {
		if m, role := n.Members(); m.Epoch == members.Epoch && role == node.Voter {
			voters = append(voters, i)
		}
	}
	mm := members.Membership()
	return voters, len(voters) >= mm.SlowQuorum()
}

func token(id epaxos.ProposalID) string { return fmt.Sprintf("<%d>", id) }

// check compares all who are in the newest epoch, and looks for what was asked for in their state. It returns how many
// are not in it.
func (w *turmoil) check() (stuck int) {
	voters, enough := w.newest()
	stuck = len(w.nodes) - len(voters)
	if !enough {
		return stuck
	}
	states := map[int]string{}
	for _, i := range voters {
		var b strings.Builder
		for _, key := range []string{"a", "b", "c"} {
			value, _, err := w.nodes[i].State().Get(epaxos.SpaceState, key)
			if err != nil {
				w.t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s=%s;", key, value)
		}
		states[i] = b.String()
		if states[i] != states[voters[0]] {
			w.t.Fatalf("violation of agreement: replicas %d and %d differ:\n%s\n%s", voters[0]+1, i+1, states[voters[0]], states[i])
		}
	}
	state := states[voters[0]]
	for id := epaxos.ProposalID(1); id <= w.last; id++ {
		one, asked := w.asked[id]
		if one.reconfigure {
			continue
		}
		times := strings.Count(state, token(id))
		a, answered := w.answers[id]
		switch {
		case times > 1:
			w.t.Fatalf("violation of once: %d took effect %d times", id, times)
		case !asked && times > 0:
			w.t.Fatalf("violation of once: %d was refused and took effect", id)
		case answered && a.Void && times > 0:
			w.t.Fatalf("violation of once: %d is void and took effect", id)
		case answered && !a.Void && !a.Unknown && times == 0:
			w.t.Fatalf("violation of durability: %d was answered and is lost", id)
		case asked && !answered && one.life == w.lives[one.host] && slices.Contains(voters, one.host):
			w.t.Fatalf("violation of progress: %d, proposed at %d, has no answer", id, one.host+1)
		}
	}
	return stuck
}

// Whatever happens while epochs end: all begin the next with the same state, nothing takes effect twice, nothing that was
// answered is lost, nothing that is void takes effect, and in the end everybody is answered. TURMOIL is how many seeds.
func TestTurmoil(t *testing.T) {
	seeds, err := strconv.Atoi(cmp.Or(os.Getenv("TURMOIL"), "25"))
	if err != nil {
		t.Fatal(err)
	}
	epochs, stuck := 0, 0
	for seed := range uint64(seeds) { //nolint:gosec // few
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newTurmoil(t, seed)
			for range 6000 {
				w.step()
			}
			w.heal()
			stuck += w.check()
			m, _ := w.nodes[0].Members()
			epochs += int(m.Epoch) - 1
		})
	}
	t.Logf("%d epochs ended, %d replicas behind at the end", epochs, stuck)
}
