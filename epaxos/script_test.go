package epaxos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
)

// script is a cluster of bare replicas whose messages are delivered by hand, so that a test reads as
// the schedule it is about. Nothing moves by itself: no tick, no delivery. Replicas are named by their
// ids. On the way it checks what must hold in every schedule: agreement, that a replica's disk vouches
// for what it sends, that promises never go back and that a ballot proposes one value.
//
// A message is chosen by its type, sender and receiver; verbs on messages take all that match, and
// fail where none does.
type script struct {
	t        *testing.T
	members  epaxos.Membership
	actors   []*actor // by column
	wire     []epaxos.Envelope
	now      time.Duration
	proposed epaxos.ProposalID
	decided  map[epaxos.InstanceID]epaxos.Decision
	ledger   *ledger
	trace    []string
}

type actor struct {
	*epaxos.Replica // nil while it is down
	disk            *disk
	committed       map[epaxos.InstanceID]epaxos.Decision
	led             []epaxos.Led
}

func newScript(t *testing.T, n, f, e int) *script {
	t.Helper()
	s := &script{
		t: t, members: shape{n, f, e}.membership(), now: time.Second,
		decided: map[epaxos.InstanceID]epaxos.Decision{},
	}
	s.ledger = newLedger(s.members)
	if err := s.members.Validate(); err != nil {
		t.Fatal(err)
	}
	for i := range s.members.Voters {
		s.actors = append(s.actors, &actor{disk: newDisk()})
		s.boot(epaxos.ReplicaID(i + 1))
	}
	return s
}

func (s *script) boot(id epaxos.ReplicaID) {
	a := s.at(id)
	limits := epaxos.DefaultLimits()
	limits.InFlightPerKey = 8
	r, err := epaxos.New(epaxos.Config{
		ID: id, Membership: s.members, Index: deps.New(s.members.N()), Limits: limits,
		Rand: seeded(uint64(id)), Timing: epaxos.DefaultTiming(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, record := range a.disk.synced {
		if err := r.Restore(record); err != nil {
			s.fail("restore r%d: %v", id, err)
		}
	}
	r.Restored(s.now)
	a.Replica, a.committed, a.led = r, map[epaxos.InstanceID]epaxos.Decision{}, nil
	s.settle(id)
}

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) } //nolint:gosec // reproducible

func (s *script) at(id epaxos.ReplicaID) *actor { return s.actors[id-1] }

// settle saves, then sends, what the replica wants saved and sent.
func (s *script) settle(id epaxos.ReplicaID) {
	s.t.Helper()
	a := s.at(id)
	ready := a.Ready()
	for _, r := range ready.Records {
		s.trace = append(s.trace, s.members.FormatRecord(id, r))
	}
	s.must(a.disk.save(ready.Records, ready.MustSync))
	s.ledger.saved(id, ready.Records)
	for _, l := range ready.Led {
		s.must(a.disk.forbidsAnswer(s.members, l))
	}
	a.led = append(a.led, ready.Led...)
	for _, e := range ready.Messages {
		s.trace = append(s.trace, s.members.FormatEnvelope(e))
		s.must(a.disk.forbids(e.Message))
		s.must(s.ledger.sent(e))
		s.wire = append(s.wire, e)
	}
	for _, d := range ready.Committed {
		a.committed[d.ID] = d
		if before, seen := s.decided[d.ID]; seen && s.format(before) != s.format(d) {
			s.fail("agreement: r%d commits %v as %s, before it was %s", id, d.ID, s.format(d), s.format(before))
		}
		s.decided[d.ID] = d
	}
}

func (s *script) must(broken string) {
	s.t.Helper()
	if broken != "" {
		s.fail("%s", broken)
	}
}

func (s *script) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(s.trace, "\n"))
}

func write(key string) epaxos.Footprint { return epaxos.Footprint{{Mode: epaxos.Write, Key: key}} }

// propose has a replica lead a write of a key, and returns the instance.
func (s *script) propose(at epaxos.ReplicaID, key string) epaxos.InstanceID {
	s.t.Helper()
	return s.proposeFootprint(at, write(key))
}

func (s *script) proposeFootprint(at epaxos.ReplicaID, f epaxos.Footprint) epaxos.InstanceID {
	s.t.Helper()
	s.proposed++
	top := s.at(at).Tops()[at-1]
	if err := s.at(at).Propose(s.now, s.proposed, epaxos.Request{Number: uint64(s.proposed)}, f); err != nil {
		s.fail("propose at r%d: %v", at, err)
	}
	s.settle(at)
	return epaxos.InstanceID{Epoch: 1, Replica: at, Slot: top + 1}
}

// take removes the matching messages from the wire.
func (s *script) take(kind string, from epaxos.ReplicaID, to ...epaxos.ReplicaID) []epaxos.Envelope {
	s.t.Helper()
	var taken []epaxos.Envelope
	for _, r := range to {
		found := false
		s.wire = slices.DeleteFunc(s.wire, func(e epaxos.Envelope) bool {
			match := kindName(e.Message) == kind && e.From == from && e.To == r
			if match {
				taken, found = append(taken, e), true
			}
			return match
		})
		if !found {
			s.fail("no %s from r%d to r%d is under way", kind, from, r)
		}
	}
	return taken
}

func kindName(m epaxos.Message) string { return strings.TrimPrefix(fmt.Sprintf("%T", m), "epaxos.") }

// deliver hands over messages from one replica to others.
func (s *script) deliver(kind string, from epaxos.ReplicaID, to ...epaxos.ReplicaID) {
	s.t.Helper()
	for _, e := range s.take(kind, from, to...) {
		s.step(e)
	}
}

// step hands over one message, from the wire or made up.
func (s *script) step(e epaxos.Envelope) {
	s.t.Helper()
	if a := s.at(e.To); a.Replica != nil {
		a.Step(s.now, e)
		s.settle(e.To)
	}
}

// drop loses messages.
func (s *script) drop(kind string, from epaxos.ReplicaID, to ...epaxos.ReplicaID) {
	s.t.Helper()
	s.take(kind, from, to...)
}

// ask delivers requests and the answers to them.
func (s *script) ask(kind string, from epaxos.ReplicaID, to ...epaxos.ReplicaID) {
	s.t.Helper()
	for _, r := range to {
		s.deliver(kind, from, r)
		s.deliver(kind+"Reply", r, from)
	}
}

// sees delivers everything that is under way to the replicas, and what that causes among them.
func (s *script) sees(among ...epaxos.ReplicaID) {
	s.t.Helper()
	for range 10_000 {
		i := slices.IndexFunc(s.wire, func(e epaxos.Envelope) bool {
			return slices.Contains(among, e.To) && slices.Contains(among, e.From)
		})
		if i < 0 {
			return
		}
		e := s.wire[i]
		s.wire = slices.Delete(s.wire, i, i+1)
		s.step(e)
	}
	s.fail("the replicas %v talk for ever", among)
}

// silence loses everything under way.
func (s *script) silence() { s.wire = nil }

// last is the newest message of a type on the wire from one replica to another.
func last[M epaxos.Message](s *script, from, to epaxos.ReplicaID) M {
	s.t.Helper()
	for i := len(s.wire) - 1; i >= 0; i-- {
		if m, is := s.wire[i].Message.(M); is && s.wire[i].From == from && s.wire[i].To == to {
			return m
		}
	}
	var none M
	s.fail("no %s from r%d to r%d is under way", kindName(none), from, to)
	return none
}

// under reports whether such a message is under way.
func (s *script) under(kind string, from, to epaxos.ReplicaID) bool {
	return slices.ContainsFunc(s.wire, func(e epaxos.Envelope) bool {
		return kindName(e.Message) == kind && e.From == from && e.To == to
	})
}

func (s *script) wantNone(kind string, from, to epaxos.ReplicaID) {
	s.t.Helper()
	if s.under(kind, from, to) {
		s.fail("a %s from r%d to r%d is under way", kind, from, to)
	}
}

// kill stops replicas, which lose what they had not synced; start brings them back.
func (s *script) kill(ids ...epaxos.ReplicaID) {
	s.t.Helper()
	for _, id := range ids {
		s.trace = append(s.trace, fmt.Sprintf("r%d crashes", id))
		s.must(s.at(id).disk.crash(0))
		s.at(id).Replica = nil
	}
}

func (s *script) start(ids ...epaxos.ReplicaID) {
	s.t.Helper()
	for _, id := range ids {
		s.trace = append(s.trace, fmt.Sprintf("r%d restarts", id))
		s.boot(id)
	}
}

// suspects tells a replica that others seem dead, trusts that they seem alive.
func (s *script) suspects(at epaxos.ReplicaID, whom ...epaxos.ReplicaID) {
	s.t.Helper()
	s.suspect(at, true, whom...)
}

func (s *script) trusts(at epaxos.ReplicaID, whom ...epaxos.ReplicaID) {
	s.t.Helper()
	s.suspect(at, false, whom...)
}

func (s *script) suspect(at epaxos.ReplicaID, suspected bool, whom ...epaxos.ReplicaID) {
	s.t.Helper()
	for _, id := range whom {
		s.at(at).Suspect(s.now, id, suspected)
	}
	s.settle(at)
}

// wait lets time pass at one replica.
func (s *script) wait(at epaxos.ReplicaID, d time.Duration) {
	s.t.Helper()
	const step = 50 * time.Millisecond
	for ; d > 0; d -= step {
		s.now += step
		s.at(at).Tick(s.now)
		s.settle(at)
	}
}

// recovers has a replica begin a new attempt on an instance, however long it has to wait for its turn,
// and returns the ballot. What it sent meanwhile is lost.
func (s *script) recovers(at epaxos.ReplicaID, id epaxos.InstanceID) epaxos.Ballot {
	s.t.Helper()
	before := s.attemptsOf(at, id)
	elsewhere := s.wire
	s.wire = nil
	other := s.members.Voters[0]
	if other == at {
		other = s.members.Voters[1]
	}
	s.step(epaxos.Envelope{From: other, To: at, Message: epaxos.TryRecover{IDs: []epaxos.InstanceID{id}}})
	if at != id.Replica {
		s.suspects(at, id.Replica)
	}
	for range 400 {
		if now := s.attemptsOf(at, id); now != before {
			s.wire = append(elsewhere, s.only("Recover", id)...)
			if at != id.Replica {
				s.trusts(at, id.Replica)
			}
			return now
		}
		s.wait(at, 50*time.Millisecond)
	}
	s.fail("r%d does not recover %v", at, id)
	return before
}

func (s *script) attemptsOf(at epaxos.ReplicaID, id epaxos.InstanceID) (ballot epaxos.Ballot) {
	if promised := s.at(at).disk.state[id].Promised; promised.Replica == at {
		return promised
	}
	return ballot
}

// only is what is under way of one type about one instance, without repetitions.
func (s *script) only(kind string, id epaxos.InstanceID) []epaxos.Envelope {
	var kept []epaxos.Envelope
	for _, e := range s.wire {
		if kindName(e.Message) == kind && epaxos.InstanceOf(e.Message) == id && !slices.Contains(kept, e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// format is "no-op" or the command with its dependencies, as in "w:x [2.1]".
func (s *script) format(d epaxos.Decision) string {
	if d.Command == nil {
		return "no-op"
	}
	return fmt.Sprintf("%v %s", d.Command, s.members.FormatDeps(d.Deps))
}

// wants checks how a replica has committed an instance.
func (s *script) wants(at epaxos.ReplicaID, id epaxos.InstanceID, decision string) {
	s.t.Helper()
	d, committed := s.at(at).committed[id]
	if !committed {
		s.fail("r%d has not committed %v", at, id)
	}
	if got := s.format(d); got != decision {
		s.fail("r%d committed %v as %q, not %q", at, id, got, decision)
	}
}

func (s *script) wantsOpen(at epaxos.ReplicaID, id epaxos.InstanceID) {
	s.t.Helper()
	if d, committed := s.at(at).committed[id]; committed {
		s.fail("r%d has committed %v as %q", at, id, s.format(d))
	}
}

// wantsProposal checks the value that an Accept under way carries.
func (s *script) wantsProposal(from, to epaxos.ReplicaID, value string) {
	s.t.Helper()
	m := last[epaxos.Accept](s, from, to)
	got := s.format(epaxos.Decision{Command: m.Value.Command, Deps: m.Deps})
	if got != value {
		s.fail("r%d proposes %q for %v, not %q", from, got, m.ID, value)
	}
}

// wantsMalformed checks how many messages a replica has refused to believe.
func (s *script) wantsMalformed(at epaxos.ReplicaID, count uint64) {
	s.t.Helper()
	if got := s.at(at).Stats().Malformed; got != count {
		s.fail("r%d called %d messages malformed, not %d", at, got, count)
	}
}
