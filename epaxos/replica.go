package epaxos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config is what a Replica is made of.
type Config struct {
	ID         ReplicaID // must be a voter of Membership
	Membership Membership
	Index      ConflictIndex // empty, with a column for each voter
	Rand       *rand.Rand    // source of all jitter
	Limits     Limits
	Timing     Timing
}

// Limits bound what a replica leads at a time. All are at least 1.
type Limits struct {
	InFlight       int // own instances proposed and not yet executed here
	InFlightBytes  int // their size; one command is always admitted
	InFlightPerKey int // the same, for each key that a point access names
	Queue          int // requests waiting for room
	Gather         int // requests on one key that one instance takes from the queue
	Pack           int // requests of one turn on cold keys that share an instance; 1 is none
}

// Timing holds the delays that drive progress. None of them matters for safety. All but DisputedWait are positive.
type Timing struct {
	Resend       time.Duration // an unanswered request is sent again
	Fetch        time.Duration // an instance still undecided or unknown is asked for
	Recover      time.Duration // an instance still undecided is recovered, though its leader seems to live
	Stagger      time.Duration // the next in line waits so much longer before it recovers
	Gossip       time.Duration // between two Gossips to each peer
	FastPathWait time.Duration // at most so long a slow quorum waits for a fast one
	// DisputedWait bounds that wait where an answer has differed; 0, the default, is none. Waiting was measured
	// (docs/experiments.md): it gains one or two fast paths in a hundred, and doubles the tail under contention,
	// because whatever depends on the command waits with it.
	DisputedWait time.Duration
}

// DefaultLimits suits a replica with the default storage options.
func DefaultLimits() Limits {
	return Limits{InFlight: 1024, InFlightBytes: 256 << 10, InFlightPerKey: 16, Queue: 16384, Gather: 64, Pack: 32}
}

// DefaultTiming suits round trips up to about 300 ms.
func DefaultTiming() Timing {
	return Timing{
		Resend:       700 * time.Millisecond,
		Fetch:        400 * time.Millisecond,
		Recover:      4 * time.Second,
		Stagger:      700 * time.Millisecond,
		Gossip:       250 * time.Millisecond,
		FastPathWait: 100 * time.Millisecond,
	}
}

// Replica is the protocol as a machine of values: Propose, Step, Tick and the other inputs change
// it, Ready says what must be done about it. It is not safe for concurrent use. It reads no clock:
// the time that inputs carry is a duration since any fixed instant and never decreases.
type Replica struct {
	id      ReplicaID
	column  int
	members Membership
	index   ConflictIndex
	rand    *rand.Rand
	timing  Timing
	now     time.Duration
	turn    uint64
	ready   Ready
	spare   Ready // the buffers of the turn before

	instances table
	nextSlot  Slot
	tops      Dependencies // highest slot heard of, by column
	decided   Dependencies // contiguous prefix of committed instances, by column
	executed  Dependencies // contiguous prefix executed durably here
	passed    Dependencies // contiguous prefix executed here, in memory at least
	scratch   Dependencies
	watermarks

	admission admission

	forgotten  InstanceID // known to peers, and must be here; zero if none
	reads      reads
	endings    []*instance                // Reconfigures whose fate may be unknown
	restored   []*instance                // between Restore and Restored, in the order of their records
	watch      fifo                       // undecided instances, by the time of their next look
	impatient  []*instance                // slow quorum reached, fast path still possible
	waiters    map[InstanceID][]*instance // recoveries that wait for the decision of an instance
	peers      []peer                     // by column
	asks       [][]InstanceID             // Fetch to send at the end of the input, by column
	nominate   [][]InstanceID             // TryRecover likewise
	gossiped   Gossip                     // what was told last
	gossipedAt time.Duration
	stats      Stats
}

// peer is what this replica believes about another voter.
type peer struct {
	suspected      bool
	suspectedSince time.Duration
	executed       Dependencies // the highest E it told
	stable         Dependencies // the highest S it told
	behind         bool         // it has not told to have executed all that is executed here
	behindSince    time.Duration
	stuck          Slot // first undecided slot of its column, and since when
	stuckSince     time.Duration
	fetched        Slot // slots up to here were asked for at fetchedAt
	fetchedAt      time.Duration
}

// Stats counts what happened since the start.
type Stats struct {
	Led, Fast, Slow                 uint64 // instances led here; committed by either path of ballot 0
	Recoveries, Validations, Waits  uint64 // attempts begun here, and how far they came
	NoOps, Reproposed               uint64 // own instances that became no-ops, requests proposed again
	Refusals, Malformed, Fetched    uint64 // ballots refused to us; messages dropped; instances asked for
	Forgotten                       uint64 // instances that everybody has executed, dropped here
	Queued, InFlight, InFlightBytes int    // now
	Branches                        Branches
}

// New makes a replica that has never run.
func New(config Config) (*Replica, error) {
	if err := config.Membership.Validate(); err != nil {
		return nil, err
	}
	column, votes := config.Membership.Column(config.ID)
	if !votes {
		return nil, fmt.Errorf("replica %d is not among the voters %v", config.ID, config.Membership.Voters)
	}
	if config.Index == nil || config.Rand == nil {
		return nil, errors.New("a replica needs a conflict index and a source of randomness")
	}
	l := config.Limits
	if min(l.InFlight, l.InFlightBytes, l.InFlightPerKey, l.Queue, l.Gather, l.Pack) < 1 {
		return nil, fmt.Errorf("limits %+v: all must be at least 1", l)
	}
	if max(l.Gather, l.Pack) > gatherMax {
		return nil, fmt.Errorf("limits %+v: an instance holds at most %d requests", l, gatherMax)
	}
	t := config.Timing
	if min(t.Resend, t.Fetch, t.Recover, t.Stagger, t.Gossip, t.FastPathWait) <= 0 {
		return nil, fmt.Errorf("timing %+v: all must be positive", t)
	}
	if t.DisputedWait < 0 {
		return nil, fmt.Errorf("timing %+v: the wait in a dispute must not be negative", t)
	}
	n := config.Membership.N()
	r := &Replica{
		id: config.ID, column: column, members: config.Membership, index: config.Index, rand: config.Rand,
		timing: config.Timing, turn: 1, nextSlot: 1,
		instances: newTable(n), waiters: map[InstanceID][]*instance{},
		tops: make(Dependencies, n), decided: make(Dependencies, n), executed: make(Dependencies, n),
		passed: make(Dependencies, n), scratch: make(Dependencies, n),
		peers: make([]peer, n), asks: make([][]InstanceID, n), nominate: make([][]InstanceID, n),
		admission: newAdmission(config.Limits), watermarks: newWatermarks(n),
	}
	for i := range r.peers {
		r.peers[i].executed, r.peers[i].stable = make(Dependencies, n), make(Dependencies, n)
	}
	return r, nil
}

// ErrOtherMembers is wrapped by the error of Restore about a record that was saved under another membership.
var ErrOtherMembers = errors.New("the members are not those with which the log was written")

// Restore replays one saved record. All records come in the order they were saved, before any
// other input.
func (r *Replica) Restore(record Record) error {
	column, votes := r.members.Column(record.ID.Replica)
	if !votes || record.ID.Epoch != r.members.Epoch || record.ID.Slot == 0 || record.ID.Slot > numberMax {
		return fmt.Errorf("saved record of %v is of no voter of epoch %d, %v: %w",
			record.ID, r.members.Epoch, r.members.Voters, ErrOtherMembers)
	}
	if r.isForgotten(record.ID) {
		return nil // a later record lives in the same group
	}
	known := r.known(record.ID) != nil
	in := r.instance(record.ID, column)
	if !known {
		r.restored = append(r.restored, in)
	}
	in.phase, in.promised, in.accepted, in.noOp = record.Phase, record.Promised, record.Accepted, record.NoOp
	in.deps = record.Deps
	if record.Initial != nil {
		in.initial = record.Initial
	}
	if record.Command != nil {
		in.saved = true
		r.learn(in, record.Command)
	}
	if column == r.column {
		r.nextSlot = max(r.nextSlot, record.ID.Slot+1)
	}
	// A command whose record was deleted comes with the whole record that took its place (rule K7).
	if in.phase == Committed && (in.noOp || in.command != nil) {
		r.publish(in)
	}
	return r.wellFormed(in)
}

func (r *Replica) wellFormed(in *instance) error {
	n := r.members.N()
	otherLength := func(d Dependencies) bool { return d != nil && len(d) != n }
	switch {
	case otherLength(in.deps) || otherLength(in.initial):
		return fmt.Errorf("saved record of %v has dependencies for %d voters, here are %d: %w",
			in.id, max(len(in.deps), len(in.initial)), n, ErrOtherMembers)
	case in.phase > Initial && in.deps == nil, in.promised.Less(in.accepted), in.promised.Number > ownNumberMax:
		return fmt.Errorf("saved record of %v breaks an invariant of instances", in.id)
	}
	return nil
}

// Step handles one message. What cannot be true or does not concern this replica is dropped and
// counted: a peer's message never breaks an invariant.
func (r *Replica) Step(now time.Duration, e Envelope) {
	r.advance(now)
	from, votes := r.members.Column(e.From)
	if !votes || from == r.column {
		r.stats.Malformed++
		return
	}
	if r.isForgotten(InstanceOf(e.Message)) {
		r.refuseForgotten(from, e.Message)
		return
	}
	if r.dispatch(from, e.Message) {
		r.flushRequests()
		return
	}
	r.stats.Malformed++
}

// dispatch reports whether the message was well formed.
func (r *Replica) dispatch(from int, message Message) bool {
	switch m := message.(type) {
	case PreAccept:
		return r.onPreAccept(from, m)
	case PreAcceptReply:
		return r.onPreAcceptReply(from, m)
	case Accept:
		return r.onAccept(from, m)
	case AcceptReply:
		return r.onAcceptReply(from, m)
	case Commit:
		return r.onCommit(from, m)
	case Recover:
		return r.onRecover(from, m)
	case RecoverReply:
		return r.onRecoverReply(from, m)
	case Validate:
		return r.onValidate(from, m)
	case ValidateReply:
		return r.onValidateReply(from, m)
	case Waiting:
		return r.onWaiting(m)
	case Refusal:
		return r.onRefusal(from, m)
	case TryRecover:
		return r.onTryRecover(from, m)
	case Fetch:
		return r.onFetch(from, m)
	case Gossip:
		return r.onGossip(from, m)
	case Truncated:
		return r.onTruncated(m)
	case ReadQuery:
		return r.onReadQuery(from, m)
	case ReadReply:
		return r.onReadReply(from, m)
	default:
		return false
	}
}

// Tick lets time pass: requests are sent again, what stays undecided is fetched or recovered.
func (r *Replica) Tick(now time.Duration) {
	r.advance(now)
	r.settleImpatient()
	r.lookAtWatched()
	r.forget()
	r.gossip()
	r.repeatReads()
	r.flushRequests()
}

// Ready returns what is to be done because of the inputs since the last call, and forgets it. Its
// slices are valid until the next call: two sets of buffers take turns.
func (r *Replica) Ready() Ready {
	r.leadBatch()
	r.askReads()
	ready, spare := r.ready, r.spare
	r.ready = Ready{
		Records: spare.Records[:0], Messages: spare.Messages[:0],
		Learned: spare.Learned[:0], Committed: spare.Committed[:0], Led: spare.Led[:0], Reads: spare.Reads[:0],
	}
	r.spare = ready
	r.turn++
	return ready
}

// HasReady reports whether Ready would return anything.
func (r *Replica) HasReady() bool {
	y := &r.ready
	return len(r.admission.batch)+len(r.reads.batch.reads)+
		len(y.Records)+len(y.Messages)+len(y.Learned)+len(y.Committed)+len(y.Led)+len(y.Reads) > 0
}

// Quiet reports whether nothing is left to do: all that was heard of is decided and nothing waits.
func (r *Replica) Quiet() bool {
	a := &r.admission
	return a.inFlight == 0 && len(a.batch) == 0 && a.queued == 0 && len(r.reads.open) == 0 &&
		r.decided.CoversAll(r.tops) && r.rested()
}

// Stats returns the counters.
func (r *Replica) Stats() Stats {
	s, a := r.stats, &r.admission
	s.Queued, s.InFlight, s.InFlightBytes = a.queued, a.inFlight+len(a.batch), a.inFlightBytes
	return s
}

// Membership returns who votes.
func (r *Replica) Membership() Membership { return r.members }

// Tops returns a copy of the highest slots heard of, Decided of the contiguous committed prefix.
func (r *Replica) Tops() Dependencies    { return r.tops.Clone() }
func (r *Replica) Decided() Dependencies { return r.decided.Clone() }

func (r *Replica) advance(now time.Duration) { r.now = max(r.now, now) }

// instance finds an instance or starts to know of it.
func (r *Replica) instance(id InstanceID, column int) *instance {
	in := r.instances.at(column, id.Slot)
	if in == nil {
		in = &instance{id: id, column: column, since: r.now}
		r.instances.set(in)
		r.tops[column] = max(r.tops[column], id.Slot)
	}
	return in
}

// numberMax bounds slots and the numbers of ballots that a peer may name. Nobody counts that far, and
// the one after the greatest number would be 0: a promise that goes back.
const numberMax = 1 << 62

// ownNumberMax bounds the ballots in the own log: those of peers, and own ones above them.
const ownNumberMax = 2 * numberMax

// locate finds the instance a message speaks of. It is nil if the id cannot be one of this epoch, or was
// forgotten.
func (r *Replica) locate(id InstanceID) *instance {
	column, possible := r.place(id)
	if !possible || r.isForgotten(id) {
		return nil
	}
	return r.instance(id, column)
}

// place is the column of an instance, and whether there can be such a one in this epoch. Messages are
// looked at as a whole before their instance becomes known: one that is dropped must leave nothing behind,
// least of all a slot of this replica that it never used.
func (r *Replica) place(id InstanceID) (column int, possible bool) {
	column, votes := r.members.Column(id.Replica)
	return column, votes && id.Epoch == r.members.Epoch && id.Slot > 0 && id.Slot <= numberMax
}

// known is locate for messages that must not make an instance known.
func (r *Replica) known(id InstanceID) *instance {
	column, votes := r.members.Column(id.Replica)
	if !votes || id.Epoch != r.members.Epoch {
		return nil
	}
	return r.instances.at(column, id.Slot)
}

// learn records the initial command. From here on the instance is reported to every interfering
// command (rule D3).
func (r *Replica) learn(in *instance, command *Command) {
	if in.command != nil {
		return
	}
	in.command = command
	if command.Footprint.EndsEpoch() {
		r.endings = append(r.endings, in)
		r.hold()
	}
	r.index.Insert(in.column, in.id.Slot, command.Footprint)
	r.ready.Learned = append(r.ready.Learned, Learned{ID: in.id, Command: command})
}

// save puts the instance's state into this turn's group, once. Where sync is set, what is sent or
// decided in this turn relies on it (rule S1).
func (r *Replica) save(in *instance, sync bool) {
	in.check()
	r.ready.MustSync = r.ready.MustSync || sync
	record := Record{
		ID: in.id, Phase: in.phase, Promised: in.promised, Accepted: in.accepted,
		NoOp: in.noOp, Initial: in.initial, Deps: in.deps,
	}
	if in.turn == r.turn {
		record.Command = r.ready.Records[in.record].Command
	}
	if !in.saved {
		record.Command, in.saved = in.command, in.command != nil
	}
	if in.turn == r.turn {
		r.ready.Records[in.record] = record
		return
	}
	in.turn, in.record = r.turn, len(r.ready.Records)
	r.ready.Records = append(r.ready.Records, record)
}

func (in *instance) check() {
	if in.promised.Less(in.accepted) {
		panic(fmt.Sprintf("invariant: %v accepted ballot %v above its promise %v", in.id, in.accepted, in.promised))
	}
	if in.phase > Initial && in.deps == nil {
		panic(fmt.Sprintf("invariant: %v is in phase %v without dependencies", in.id, in.phase))
	}
}

func (r *Replica) send(to int, m Message) {
	r.ready.Messages = append(r.ready.Messages, Envelope{From: r.id, To: r.members.Voters[to], Message: m})
}

// broadcast sends to every other voter outside the set.
func (r *Replica) broadcast(except columns, m Message) {
	for to := range r.members.Voters {
		if to != r.column && !except.has(to) {
			r.send(to, m)
		}
	}
}

func (r *Replica) validVector(d Dependencies) bool { return len(d) == r.members.N() }
