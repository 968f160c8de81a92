package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Changes of the membership, as operators ask for them. A plan says what kind of change and when; what it comes
// to depends on the members at that moment.

// wish is a change that somebody wants, until a replica takes it.
type wish struct {
	t    *trouble
	kind FaultKind
	rand *rand.Rand
	left int // attempts

	misfit bool // what is asked for must be refused
}

// change is a Reconfigure that waits for its answer.
type change struct {
	members wire.Members
}

// change begins what a fault says.
func (w *world) change(t *trouble) {
	r := stream(w.options.Seed, streamEpochs, 2+t.index<<4)
	bag := changeBag(func(kind FaultKind) bool { return kind < Race })
	wishes := 0
	one := func(after time.Duration, kind FaultKind) {
		wishes++
		s := &wish{t: t, kind: kind, left: 12, rand: stream(w.options.Seed, streamEpochs, 2+t.index<<4+wishes)}
		s.misfit = s.rand.IntN(8) == 0
		w.after(after, func() { w.propose(s) })
	}
	draw := func() FaultKind { return bag[r.IntN(len(bag))] }
	trip := 2 * (w.setup.far + w.setup.jitter)
	switch t.Kind {
	case Race:
		one(0, draw())
		one(between(r, 0, trip), draw())
	case Row:
		at := time.Duration(0)
		for range 2 + r.IntN(4) {
			one(at, draw())
			at += between(r, trip/2, 6*trip)
		}
	case Evict:
		one(between(r, 0, t.For/2), Evict)
	default:
		one(0, t.Kind)
	}
}

// propose asks a replica for a change. Where it is not possible now, it may be a little later.
func (w *world) propose(s *wish) {
	if !w.faults || s.left == 0 {
		return
	}
	s.left--
	later := between(s.rand, 20*time.Millisecond, 400*time.Millisecond)
	var hosts []int
	for i := range w.hosts {
		if w.ready(i) && w.hosts[i].votes() && w.hosts[i].node.Admitted() && (s.kind != Evict || i != s.t.A) {
			hosts = append(hosts, i)
		}
	}
	if len(hosts) > 0 {
		i := hosts[s.rand.IntN(len(hosts))]
		next := w.successor(s, i)
		if next != nil && s.misfit {
			next = w.misfit(s, i, next)
		}
		if next != nil && w.ask(i, next) {
			w.happened(s.t)
			w.turn(i)
			return
		}
	}
	w.after(later, func() { w.propose(s) })
}

// ask proposes a Reconfigure at a host, and reports whether it was taken.
func (w *world) ask(i int, next *wire.Members) bool {
	h := w.hosts[i]
	control := wire.Control{Kind: wire.ControlReconfigure, Members: next}
	w.seq++
	id := epaxos.ProposalID(w.seq) //nolint:gosec // small
	request := epaxos.Request{Payload: wire.AppendControl(nil, &control)}
	if err := h.node.Propose(w.local(i), id, request, control.Footprint()); err != nil {
		return false
	}
	w.tracef("r%d is asked for %+v", replicaOf(i), *next)
	h.asked[id] = &change{members: *next}
	w.asked = append(w.asked, *next)
	base, _ := h.node.Members()
	for _, m := range next.All() {
		if j := hostOf(m.Replica); w.hosts[j].life == 0 {
			w.join(j, base)
		}
	}
	return true
}

// join starts a machine that may become a member.
func (w *world) join(i int, known wire.Members) {
	h := w.hosts[i]
	h.told = known.Clone()
	w.after(between(h.rand, 0, 500*time.Millisecond), func() {
		if h.life == 0 {
			w.start(i)
		}
	})
}

// decided takes the answer to a Reconfigure.
func (w *world) decided(i int, c *change, a *node.Answer) {
	if a.Void || a.Unknown {
		return
	}
	result, err := wire.DecodeControlResult(a.Result)
	if err != nil {
		w.violated("integrity", "the result of a Reconfigure does not decode: %v", err)
		return
	}
	asked, said := wire.AppendMembers(nil, &c.members), wire.AppendMembers(nil, &result.Members)
	b := w.check.book(result.Members.Epoch)
	switch {
	case result.Refused != "":
		w.report.Superseded++
	case b == nil || !bytes.Equal(asked, said) || !bytes.Equal(said, wire.AppendMembers(nil, &b.record)):
		w.violated("agreement", "r%d answers that %+v follow, asked was for %+v", replicaOf(i), result.Members, c.members)
	}
}

// void ends a request that the end of an epoch has left behind for ever.
func (w *world) void(i int, o *operation) {
	w.report.Void++
	if unique(&o.op) {
		if at := w.check.once[string(o.payload)]; at != (place{}) {
			w.violated("once", "r%d calls a request void that was executed as %v", replicaOf(i), at.id)
		}
		w.check.cancelled[string(o.payload)] = true
	}
	o.client.forget(o)
	w.left++
	o.client.close(o, 0)
}

// successor makes the members that a wish comes to at a host, or nil if it comes to none.
func (w *world) successor(s *wish, i int) *wire.Members {
	base, _ := w.hosts[i].node.Members()
	next := base.Clone()
	next.Epoch++
	possible := true
	switch s.kind {
	case AddVoter:
		possible = w.admit(&next, &next.Voters)
	case AddLearner:
		possible = w.admit(&next, &next.Learners)
	case Promote:
		possible = promote(&next, s.rand)
	case Remove:
		w.dismiss(&next, i, s.rand)
	case Evict:
		next.Voters = slices.DeleteFunc(next.Voters, func(m wire.Member) bool { return hostOf(m.Replica) == s.t.A })
		possible = len(next.Voters) < len(base.Voters)
	case Replace:
		possible = w.admit(&next, &next.Voters)
		w.dismiss(&next, i, s.rand)
	}
	n := len(next.Voters)
	if !possible || n == 0 {
		return nil
	}
	next.F = (n - 1) / 2
	if f := s.rand.IntN(next.F + 1); s.kind == Requorum || s.rand.IntN(6) == 0 {
		next.F = f
	}
	next.E = epaxos.LargestE(n, next.F)
	if e := s.rand.IntN(next.E + 1); s.rand.IntN(3) == 0 {
		next.E = e
	}
	if base.Succeed(&next) != nil || w.lost(next.Membership()) > next.F {
		return nil
	}
	return &next
}

// misfit makes of members that may follow some that may not (rule M1).
func (w *world) misfit(s *wish, i int, next *wire.Members) *wire.Members {
	base, _ := w.hosts[i].node.Members()
	switch at := s.rand.IntN(len(next.Voters)); s.rand.IntN(4) {
	case 0:
		next.Voters[at].Incarnation++
		if _, _, known := base.Find(next.Voters[at].Replica); !known {
			return nil
		}
	case 1:
		next.F = len(next.Voters)
	case 2:
		next.Epoch += epaxos.Epoch(1 - 2*s.rand.IntN(2)) //nolint:gosec // epochs count from 1
	default: // one that was removed comes back
		for j := range w.hosts {
			id := replicaOf(j)
			if _, _, known := base.Find(id); !known && id < base.NextReplica && w.check.votes(j, base.Epoch-1) {
				next.Voters = append(next.Voters, wire.Member{Replica: id, Incarnation: incarnation(j)})
				slices.SortFunc(next.Voters, func(a, b wire.Member) int { return int(a.Replica) - int(b.Replica) })
				next.F, next.E = 0, 0
				return next
			}
		}
		return nil
	}
	return next
}

// admit adds a new machine to some members, if there is one left.
func (w *world) admit(next *wire.Members, to *[]wire.Member) bool {
	for i := range w.hosts {
		if h, id := w.hosts[i], replicaOf(i); id >= next.NextReplica && !h.gone && h.wiped == nil {
			*to = append(*to, wire.Member{Replica: id, Incarnation: incarnation(i)})
			next.NextReplica = id + 1
			return true
		}
	}
	return false
}

func promote(next *wire.Members, r *rand.Rand) bool {
	if len(next.Learners) == 0 {
		return false
	}
	at := r.IntN(len(next.Learners))
	next.Voters = append(next.Voters, next.Learners[at])
	slices.SortFunc(next.Voters, func(a, b wire.Member) int { return int(a.Replica) - int(b.Replica) })
	next.Learners = slices.Delete(next.Learners, at, at+1)
	return true
}

// dismiss leaves out a voter: one that is down if there is one, the one who proposes it, or any.
func (w *world) dismiss(next *wire.Members, proposer int, r *rand.Rand) {
	if len(next.Learners) > 0 && r.IntN(5) == 0 {
		at := r.IntN(len(next.Learners))
		next.Learners = slices.Delete(next.Learners, at, at+1)
		return
	}
	draw, at := r.IntN(4), r.IntN(len(next.Voters))
	find := func(wanted func(host int) bool) {
		found := slices.IndexFunc(next.Voters, func(m wire.Member) bool { return wanted(hostOf(m.Replica)) })
		if found >= 0 {
			at = found
		}
	}
	switch draw {
	case 0:
		find(func(host int) bool { return w.hosts[host].node == nil })
	case 1:
		find(func(host int) bool { return host == proposer })
	}
	next.Voters = slices.Delete(next.Voters, at, at+1)
}

// lost counts voters that will not come back, or may not.
func (w *world) lost(m epaxos.Membership) int {
	n := 0
	for _, id := range m.Voters {
		if h := w.hosts[hostOf(id)]; h.gone || h.flipped != nil || h.wiped != nil {
			n++
		}
	}
	return n
}

// mayLose reports whether a host may be lost for good: in each epoch that still matters at most f voters are.
func (w *world) mayLose(i int) bool {
	bears := func(m epaxos.Membership) bool {
		_, votes := m.Column(replicaOf(i))
		return !votes || w.lost(m) < m.F
	}
	newest := w.check.newest().members
	for e := w.oldest(); e <= newest.Epoch; e++ {
		if !bears(w.check.book(e).members) {
			return false
		}
	}
	return !slices.ContainsFunc(w.asked, func(m wire.Members) bool {
		return m.Epoch > newest.Epoch && !bears(m.Membership())
	})
}

// oldest is the epoch whose end some voter of the newest one still has to get to.
func (w *world) oldest() epaxos.Epoch {
	newest := w.check.newest().members
	oldest := newest.Epoch
	for _, id := range newest.Voters {
		if e := w.check.epochs[hostOf(id)]; e < oldest && !w.hosts[hostOf(id)].gone {
			oldest = max(e, 1)
			if e == 0 {
				oldest = max(newest.Epoch-1, 1)
			}
		}
	}
	return oldest
}

// asks reports whether clients turn to a host.
func (w *world) asks(i int) bool {
	return w.ready(i) && w.hosts[i].votes() && (w.faults || w.serves(i))
}

// abandonAfter is how long clients wait at the end for a replica that does not belong to the cluster any more.
const abandonAfter = 10 * time.Second

// abandon has clients turn away from replicas that were removed and have not heard of it.
func (w *world) abandon() {
	if w.now-w.healed < abandonAfter {
		return
	}
	for i, h := range w.hosts {
		if h.node == nil || h.waiting() == 0 || w.check.votes(i, w.check.newest().members.Epoch) {
			continue
		}
		w.left += len(h.calls)
		for id := range h.calls {
			h.given[id] = true
		}
		for id := range h.asked {
			h.given[id] = true
		}
		for id := range h.errands {
			h.given[id] = true
		}
		for id := range h.barriers {
			h.given[id] = true
		}
		w.lose(h)
	}
}

// unfinishedElsewhere says what goes on at replicas that do not vote in the newest epoch.
func (w *world) unfinishedElsewhere() string {
	newest := w.check.newest()
	for _, m := range newest.record.Learners {
		i := hostOf(m.Replica)
		if h := w.hosts[i]; !h.gone && (w.check.epochs[i] != newest.record.Epoch || !w.check.inStep(i)) {
			return fmt.Sprintf("r%d learns, and is behind", m.Replica)
		}
	}
	for i, h := range w.hosts {
		if h.waiting() > 0 {
			return fmt.Sprintf("%d requests wait at r%d, which does not vote any more", h.waiting(), replicaOf(i))
		}
	}
	return ""
}

// removedLinger is how long a replica stays that was removed, as the server has it.
const removedLinger = 3 * time.Second

// leaves has a replica that was removed go for good once the others can do without it (rule M12); some stay. It also
// stays as long as somebody else who is still to come knows nobody but those who go: that one could not be helped.
func (w *world) leaves(i int) bool {
	h := w.hosts[i]
	if h.role() != node.Removed {
		h.removed = 0
		return false
	}
	if h.removed == 0 {
		h.removed = w.now
	}
	if (w.options.Seed>>i)&1 == 0 || w.now-h.removed < removedLinger || !h.node.Dispensable() || w.isLastHope(i) {
		return false
	}
	w.report.Left++
	w.crash(i, death{back: -1})
	w.bury(i, "it was removed")
	return true
}

// isLastHope reports whether some voter of the newest epoch that has not begun it knows this host, and no other
// that has.
func (w *world) isLastHope(host int) bool {
	newest := w.check.newest().members
	for _, id := range newest.Voters {
		i := hostOf(id)
		h := w.hosts[i]
		if h.gone || w.check.epochs[i] == newest.Epoch {
			continue
		}
		known := h.told
		if b := w.check.book(w.check.epochs[i]); b != nil {
			known = b.record
		}
		if !slices.ContainsFunc(known.All(), func(m wire.Member) bool {
			j := hostOf(m.Replica)
			return j != host && j != i && !w.hosts[j].gone && w.check.epochs[j] == newest.Epoch && w.check.votes(j, newest.Epoch)
		}) {
			return true
		}
	}
	return false
}
