package node_test

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// cutModel is what is known of cuts: what was answered before they were asked for and what was asked for after they were
// answered. Whoever shows a cut shows all of the former and nothing of the latter, and the same as all others.
type cutModel struct {
	ids    []epaxos.InstanceID // as they were heard of
	bounds map[epaxos.InstanceID]askedCut
	shown  map[epaxos.InstanceID]shownCut
	served int
}

// askedCut is the request for a cut, or for a read at one.
type askedCut struct {
	read bool
	id   epaxos.InstanceID // of a read; known of others when they are answered
	host int
	must []string          // answered before it was asked for
	last epaxos.ProposalID // asked for before it was answered
}

type shownCut struct {
	state string
	by    map[int]bool
}

// askCut asks for a cut, or for a read at one that anybody keeps.
func (w *turmoil) askCut(i int) {
	if w.chance(70) {
		ids := w.cuts.ids
		for _, kept := range w.nodes[i].Status().Cuts {
			ids = append(ids[:len(ids):len(ids)], kept.ID)
		}
		if len(ids) > 0 {
			w.askAtCut(i, ids[len(ids)-1-w.rand.IntN(min(len(ids), 6))])
		}
		return
	}
	w.last++
	one := askedCut{host: i}
	for _, key := range []string{"a", "b", "c"} {
		for _, seen := range w.seen[key] {
			one.must = append(one.must, effect.FindAllString(seen, -1)...)
		}
	}
	ttl := time.Duration(1+w.rand.IntN(20000)) * time.Millisecond
	control := wire.Control{Kind: wire.ControlCut, TTL: uint64(ttl.Milliseconds())} //nolint:gosec // positive
	request := epaxos.Request{Payload: wire.AppendControl(nil, &control)}
	if w.nodes[i].Propose(w.now, w.last, request, control.Footprint()) == nil {
		w.asked[w.last] = call{host: i, life: w.lives[i], control: true, cut: &one}
	}
}

func (w *turmoil) askAtCut(i int, id epaxos.InstanceID) {
	w.last++
	if w.nodes[i].Read(w.now, node.Read{Proposal: w.last, Consistency: node.AtCut, Cut: id}) == nil {
		w.asked[w.last] = call{host: i, life: w.lives[i], read: true, cut: &askedCut{read: true, id: id, host: i}}
	}
}

// hearCut checks the answer to askCut.
func (w *turmoil) hearCut(a node.Answer, one *askedCut) {
	m := &w.cuts
	if !one.read {
		id, err := wire.DecodeInstanceID(a.Result)
		if err != nil || id.IsZero() {
			w.t.Fatalf("violation of integrity: a cut is called %v, %v", id, err)
		}
		if m.bounds == nil {
			m.bounds = map[epaxos.InstanceID]askedCut{}
		}
		one.last = w.last
		m.ids, m.bounds[id] = append(m.ids, id), *one
		for i := range w.nodes {
			w.askAtCut(i, id)
		}
		return
	}
	if a.Past == nil {
		if a.Gone == nil {
			w.t.Fatalf("violation of progress: a read of cut %v is answered with nothing", one.id)
		}
		return
	}
	m.served++
	state := wholeState(w.t, a.Past)
	first, known := m.shown[one.id]
	if !known {
		if m.shown == nil {
			m.shown = map[epaxos.InstanceID]shownCut{}
		}
		first = shownCut{state: state, by: map[int]bool{}}
		m.shown[one.id] = first
	}
	first.by[one.host] = true
	if state != first.state {
		w.t.Fatalf("violation of agreement: at cut %v replica %d shows\n%s, others\n%s", one.id, one.host+1, state, first.state)
	}
	w.checkCut(one.id, state)
}

var (
	effect    = regexp.MustCompile("[<{][0-9]+[>}]")
	proposals = regexp.MustCompile("<([0-9]+)>")
)

func (w *turmoil) checkCut(id epaxos.InstanceID, state string) {
	bounds, known := w.cuts.bounds[id]
	if !known {
		return // nobody was answered yet
	}
	for _, before := range bounds.must {
		if !strings.Contains(state, before) {
			w.t.Fatalf("violation of linearizability: cut %v lacks %q, which was answered before", id, before)
		}
	}
	for _, match := range proposals.FindAllStringSubmatch(state, -1) {
		if n, err := strconv.ParseUint(match[1], 10, 64); err != nil || epaxos.ProposalID(n) > bounds.last {
			w.t.Fatalf("violation of linearizability: cut %v shows %s, which was asked for after it was answered", id, match[0])
		}
	}
}
