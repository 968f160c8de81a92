package node_test

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"regexp"
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
	unrest  int // how often it crashes and fills its disk, of a hundred
	lives   []int
	asked   map[epaxos.ProposalID]call
	ends    map[epaxos.Epoch]uint64 // digest of the state with which an epoch begins
	seen    map[string][]string     // what was answered of a key: tokens, and what reads have shown
	session epaxos.InstanceID       // lasts, and is of all
	cuts    cutModel

	answered map[epaxos.ProposalID]time.Duration // when
	fast     []time.Duration                     // how far the clock of each is ahead
	drift    []int                               // by how many hundredths it runs faster
	changes  int                                 // of a hundred requests: for other members, or a barrier
	uncut    bool                                // nobody asks for cuts, whose time the model counts by one clock
}

// clock is the time at a replica.
func (w *turmoil) clock(i int) time.Duration {
	if i >= len(w.fast) {
		return w.now
	}
	return w.now + w.fast[i]
}

// pass lets time pass.
func (w *turmoil) pass(d time.Duration) {
	w.now += d
	for i := range w.fast {
		w.fast[i] += d * time.Duration(w.drift[i]) / 100
	}
}

type parcel struct {
	from, to epaxos.ReplicaID
	body     []byte
}

// call is an append of its own number to a key, a read of it, or a change of members.
type call struct {
	host, life int
	key        string
	control    bool
	read       bool
	number     uint64 // of the session; 0 is none
	seen       int    // of its key, before it began
	cut        *askedCut
}

func newTurmoil(t *testing.T, seed uint64) *turmoil {
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // reproducible
	w := &turmoil{
		company: newCompany(t, 3+r.IntN(3)), rand: r, asked: map[epaxos.ProposalID]call{}, ends: map[epaxos.Epoch]uint64{},
		seen: map[string][]string{}, answered: map[epaxos.ProposalID]time.Duration{},
		changes: 15,
	}
	w.unrest = r.IntN(100)
	w.lives = make([]int, len(w.nodes))
	for i := range w.configs {
		w.configs[i].WriteBack = time.Duration(r.IntN(300)) * time.Millisecond
		w.configs[i].Compaction = node.Compaction{Groups: 1 + r.IntN(20), Segment: 1 + r.IntN(5)}
		w.restart(i)
	}
	w.meet()
	w.settle(time.Second)
	w.session = w.openSession(0, 24*time.Hour)
	return w
}

// copies is how many requests of the session there are, each led many times.
const copies = 40

func (w *turmoil) restart(i int) {
	w.lives[i]++
	w.crash(i)
}

func (w *turmoil) chance(percent int) bool { return w.rand.IntN(100) < percent }

// save is the first half of a turn.
func (w *turmoil) save(i int) {
	messages, err := w.nodes[i].Save(w.clock(i))
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
	answers, err := w.nodes[i].Execute(w.clock(i))
	if err != nil {
		w.t.Fatalf("violation of integrity: replica %d: %v", i+1, err)
	}
	for _, a := range answers {
		if _, twice := w.answers[a.Proposal]; twice {
			w.t.Fatalf("violation of once: proposal %d is answered twice", a.Proposal)
		}
		w.answers[a.Proposal], w.answered[a.Proposal] = a, w.now
		w.hear(a)
	}
	if after, _ := w.nodes[i].Members(); after.Epoch != before.Epoch {
		w.began(i)
	}
}

// hear checks that a read shows all that was answered before it began.
func (w *turmoil) hear(a node.Answer) {
	one := w.asked[a.Proposal]
	switch {
	case a.Void || a.Unknown:
	case one.cut != nil:
		w.hearCut(a, one.cut)
	case one.control:
	case one.read:
		shown := string(a.Result)
		for _, before := range w.seen[one.key][:one.seen] {
			if !strings.Contains(shown, before) {
				w.t.Fatalf("violation of linearizability: read %d of %q shows %q without %q", a.Proposal, one.key, shown, before)
			}
		}
		if all := tokens.FindString(shown); all != "" {
			w.seen[one.key] = append(w.seen[one.key], all)
		}
	case a.Verdict != execution.Executed:
		w.t.Fatalf("violation of once: request %d of a session that lasts is answered with %d", one.number, a.Verdict)
	case one.number > 0:
		w.seen[one.key] = append(w.seen[one.key], numbered(one.number))
	default:
		w.seen[one.key] = append(w.seen[one.key], token(a.Proposal))
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
	w.nodes[p.to-1].Deliver(w.clock(int(p.to)-1), p.from, header, messages)
}

func (w *turmoil) ask(i int) {
	if !w.calm && !w.uncut && w.chance(8) {
		w.askCut(i)
		return
	}
	w.last++
	id, key := w.last, string(rune('a'+w.rand.IntN(3)))
	members, role := w.nodes[i].Members()
	one := call{host: i, life: w.lives[i], key: key, seen: len(w.seen[key])}
	op := wire.Op{Kind: wire.OpAppend, Key: []byte(key), Value: []byte(token(id))}
	one.control = !w.calm && w.chance(w.changes) && role == node.Voter
	one.read = !one.control && w.chance(30)
	if !one.control && !one.read && w.chance(40) {
		one.number = 1 + w.rand.Uint64N(copies)
		one.key = string(rune('a' + one.number%3)) //nolint:gosec // few
		op.Key, op.Value = []byte(one.key), []byte(numbered(one.number))
		one.seen = len(w.seen[one.key])
	}
	if one.read {
		op = wire.Op{Kind: wire.OpGet, Key: []byte(key)}
	}
	request := epaxos.Request{Payload: wire.AppendOp(nil, &op)}
	footprint, err := (execution.KV{}).Footprint(request.Payload)
	if err != nil {
		w.t.Fatal(err)
	}
	if one.number > 0 {
		request.Session, request.Number = w.session, one.number
		footprint = execution.SessionFootprint(&request, footprint)
	}
	if one.control {
		next := w.change(members)
		control := wire.Control{Kind: wire.ControlReconfigure, Members: &next}
		if w.chance(20) {
			control = wire.Control{Kind: wire.ControlBarrier}
		}
		request, footprint = epaxos.Request{Payload: wire.AppendControl(nil, &control)}, control.Footprint()
	}
	w.asked[id] = one
	if one.read {
		err = w.nodes[i].Read(w.clock(i), node.Read{
			Proposal: id, Payload: request.Payload, Footprint: footprint, Consistency: node.Linearizable,
		})
	} else {
		err = w.nodes[i].Propose(w.clock(i), id, request, footprint)
	}
	if err != nil {
		delete(w.asked, id)
	}
}

// change is another membership, most of the time one that fits.
func (w *turmoil) change(m wire.Members) wire.Members {
	next := m.Clone()
	next.Epoch++
	if w.chance(10) {
		next.Epoch++
	}
	switch k := w.rand.IntN(100); {
	case k < 15 && len(next.Voters) > 2:
		at := w.rand.IntN(len(next.Voters))
		next.Voters = slices.Delete(next.Voters, at, at+1)
	case k < 25 && len(next.Voters) > 2:
		at := w.rand.IntN(len(next.Voters))
		next.Learners = append(next.Learners, next.Voters[at])
		next.Voters = slices.Delete(next.Voters, at, at+1)
	case k < 40 && len(w.nodes) < hostsMax:
		one := w.employ()
		next.Voters = append(next.Voters, one)
		next.NextReplica = max(next.NextReplica, one.Replica+1)
	case k < 55 && len(w.nodes) < hostsMax:
		one := w.employ()
		next.Learners = append(next.Learners, one)
		next.NextReplica = max(next.NextReplica, one.Replica+1)
	case k < 85 && len(next.Learners) > 0:
		at := w.rand.IntN(len(next.Learners))
		next.Voters = append(next.Voters, next.Learners[at])
		next.Learners = slices.Delete(next.Learners, at, at+1)
	}
	byReplica := func(a, b wire.Member) int { return int(a.Replica) - int(b.Replica) }
	slices.SortFunc(next.Voters, byReplica)
	slices.SortFunc(next.Learners, byReplica)
	next.F = w.rand.IntN((len(next.Voters)-1)/2 + 1)
	next.E = w.rand.IntN(epaxos.LargestE(len(next.Voters), next.F) + 1)
	return next
}

// hostsMax bounds how many there ever are.
const hostsMax = 8

// employ starts one more.
func (w *turmoil) employ() wire.Member {
	one := w.hire()
	w.lives = append(w.lives, 1)
	i := len(w.nodes) - 1
	w.configs[i].WriteBack, w.configs[i].Compaction = w.configs[0].WriteBack, w.configs[0].Compaction
	w.configs[i].Transfer = node.Transfer{ChunkBytes: 1 + w.rand.IntN(200)}
	w.restart(i)
	return one
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
		if !w.calm && w.rand.IntN(10000) < w.unrest {
			w.restart(i)
			return
		}
		w.execute(i)
	case k < 960:
		w.pass(time.Duration(w.rand.IntN(60)) * time.Millisecond)
		w.nodes[i].Tick(w.clock(i))
	case w.calm:
	case k < 963:
		if w.chance(w.unrest) {
			w.restart(i)
		}
	case k < 985:
		if w.chance(30) {
			w.meet()
			return
		}
		j := w.rand.IntN(len(w.nodes))
		if i != j {
			_ = w.nodes[j].Greet(w.clock(j), w.nodes[i].Hello(epaxos.ReplicaID(j+1))) //nolint:gosec // few
			_ = w.nodes[i].Greet(w.clock(i), w.nodes[j].Hello(epaxos.ReplicaID(i+1))) //nolint:gosec // few
		}
	case k < 990:
		w.stores[i].Full(w.chance(w.unrest / 2))
	case k < 992:
		if err := w.nodes[i].Flush(); err != nil {
			w.stores[i].Full(false)
		}
	default:
		w.nodes[i].Suspect(w.clock(i), epaxos.ReplicaID(1+w.rand.IntN(len(w.nodes))), w.chance(50)) //nolint:gosec // few
	}
}

// heal ends all trouble and lets everything come to rest.
func (w *turmoil) heal() {
	w.calm = true
	for i, n := range w.nodes {
		w.stores[i].Full(false)
		for j := range w.nodes {
			n.Suspect(w.clock(i), epaxos.ReplicaID(j+1), false) //nolint:gosec // few
		}
	}
	for rounds, left := 0, 250; left > 0 && rounds < 3000; rounds++ {
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
		w.pass(50 * time.Millisecond)
		for i, n := range w.nodes {
			n.Tick(w.clock(i))
		}
		if w.settled() {
			left--
		}
	}
}

// newest is the members of the newest epoch.
func (w *turmoil) newest() (members wire.Members) {
	for _, n := range w.nodes {
		if m, _ := n.Members(); m.Epoch > members.Epoch {
			members = m
		}
	}
	return members
}

// settled reports whether all members are in the newest epoch.
func (w *turmoil) settled() bool {
	members := w.newest()
	for _, m := range members.All() {
		if now, role := w.nodes[m.Replica-1].Members(); now.Epoch != members.Epoch || role == node.Joining {
			return false
		}
	}
	return true
}

func numbered(number uint64) string { return fmt.Sprintf("{%d}", number) }

var tokens = regexp.MustCompile("([<{][0-9]+[>}])+")

func token(id epaxos.ProposalID) string { return fmt.Sprintf("<%d>", id) }

// check compares all members of the newest epoch, and looks for what was asked for in their state.
func (w *turmoil) check() {
	if !w.settled() {
		for i, n := range w.nodes {
			m, role := n.Members()
			w.t.Logf("replica %d: %v in epoch %d, admitted %v, %+v", i+1, role, m.Epoch, n.Admitted(), n.Status().Transfer)
		}
		w.t.Fatalf("violation of progress: not all members of epoch %d are in it", w.newest().Epoch)
	}
	newest := w.newest()
	var voters []int
	for _, m := range newest.All() {
		voters = append(voters, int(m.Replica)-1)
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
	for number := range uint64(copies + 1) {
		if times := strings.Count(state, numbered(number)); times > 1 {
			w.t.Fatalf("violation of once: request %d of the session took effect %d times", number, times)
		}
	}
	for id := epaxos.ProposalID(1); id <= w.last; id++ {
		one, asked := w.asked[id]
		times := strings.Count(state, token(id))
		if one.number > 0 {
			times = strings.Count(state, numbered(one.number))
		}
		a, answered := w.answers[id]
		switch {
		case one.control || one.read || one.cut != nil:
		case times > 1:
			w.t.Fatalf("violation of once: %d took effect %d times", id, times)
		case !asked && times > 0:
			w.t.Fatalf("violation of once: %d was refused and took effect", id)
		case !asked:
		case answered && a.Void && times > 0 && one.number == 0: // another copy may have been executed
			w.t.Fatalf("violation of once: %d is void and took effect", id)
		case answered && !a.Void && !a.Unknown && times == 0:
			w.t.Fatalf("violation of durability: %d was answered and is lost", id)
		}
		if asked && !answered && one.life == w.lives[one.host] && slices.Contains(voters, one.host) {
			w.t.Fatalf("violation of progress: %d, proposed at %d, has no answer", id, one.host+1)
		}
	}
}

// Whatever happens while epochs end: all begin the next with the same state, nothing takes effect twice, nothing that was
// answered is lost, nothing that is void takes effect, and in the end everybody is answered. TURMOIL is how many seeds.
func TestTurmoil(t *testing.T) {
	seeds, err := strconv.Atoi(cmp.Or(os.Getenv("TURMOIL"), "25"))
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		seeds = min(seeds, 8)
	}
	epochs, served, shared := 0, 0, 0
	for seed := range uint64(seeds) { //nolint:gosec // few
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newTurmoil(t, seed)
			for range 6000 {
				w.step()
			}
			w.heal()
			w.check()
			epochs += int(w.newest().Epoch) - 1
			served += w.cuts.served
			for _, shown := range w.cuts.shown {
				if len(shown.by) > 1 {
					shared++
				}
			}
		})
	}
	t.Logf("%d epochs ended; %d reads of cuts were served, %d cuts at several replicas", epochs, served, shared)
	if seeds > 10 && shared < seeds {
		t.Error("hardly any cut was read at several replicas: the test shows nothing of them")
	}
}
