package epaxos

import (
	"encoding/binary"
	"reflect"
	"slices"
)

// Seams for the explorer (explore_test.go), which imports deps and so lives outside the package. Time
// stands still there: what the passing of time would bring about is an input of its own, through the code
// that the product runs.

// RecoverNow begins a recovery of an instance, as the watch over undecided instances does in due time. It
// reports whether the product could do so in this state: the instance is not decided here, and no round
// of this replica is under way, or one whose validation lasted too long. The replica need not have heard
// of the instance: gossip tells of slots that nobody here knows, and those are recovered likewise (rule L3).
func (r *Replica) RecoverNow(id InstanceID) bool {
	in := r.locate(id)
	if in == nil || in.phase == Committed || in.round != nil && in.round.stage != validating {
		return false
	}
	r.watchOver(in)
	r.recover(in)
	return true
}

// EndPatience ends the wait of a slow quorum for a fast one, for one instance. It reports whether there was
// such a wait.
func (r *Replica) EndPatience(id InstanceID) bool {
	if !r.Impatient(id) {
		return false
	}
	in := r.known(id)
	others := slices.DeleteFunc(slices.Clone(r.impatient), func(other *instance) bool { return other == in })
	r.impatient = []*instance{in}
	r.settleImpatient()
	r.impatient = append(r.impatient, others...)
	return true
}

// CommittedHere reports whether an instance is decided at this replica.
func (r *Replica) CommittedHere(id InstanceID) bool {
	in := r.known(id)
	return in != nil && in.phase == Committed
}

// Digesting says what a digest may leave out.
type Digesting struct {
	// Plain leaves out nothing but what digestFields calls ignored.
	Plain bool
	// Settled: no recovery will begin here any more.
	Settled bool
}

// AppendDigest appends an encoding of everything that later inputs of the explorer can depend on: two
// replicas with equal digests answer every sequence of inputs alike. Which fields those are, and why not the
// others, stands in DigestedFields and IgnoredFields; TestDigestKnowsEveryField fails on a field that is in neither list.
//
// Unless it is plain it leaves out besides what the code cannot read any more in the state it is in: of a
// decided instance all but the decision, of a round what its stage has passed.
func (r *Replica) AppendDigest(b []byte, how Digesting) []byte {
	e := digest{bytes: b, Digesting: how}
	e.number(uint64(r.nextSlot))
	e.number(uint64(r.admission.queued))
	e.number(uint64(r.admission.inFlight))
	hears := e.Plain || !e.Settled || r.leadsRecovery()
	for column := range r.members.Voters {
		for slot := Slot(1); slot <= r.tops[column]; slot++ {
			in := r.instances.at(column, slot)
			if in == nil {
				continue
			}
			e.id(in.id)
			if in.phase == Committed && !e.Plain {
				e.decision(in)
				continue
			}
			e.instance(in)
			if hears {
				e.number(uint64(in.waiting))
			}
			if e.Plain {
				e.waiters(r.waiters[in.id])
			}
		}
	}
	return e.bytes
}

// leadsRecovery reports whether a Waiting may still matter to this replica, if it begins no other recovery.
func (r *Replica) leadsRecovery() bool {
	for column := range r.members.Voters {
		for slot := Slot(1); slot <= r.tops[column]; slot++ {
			if in := r.instances.at(column, slot); in != nil && in.round != nil && in.round.stage >= recovering {
				return true
			}
		}
	}
	return false
}

type digest struct {
	bytes []byte
	Digesting
}

func (e *digest) number(n uint64) { e.bytes = binary.AppendUvarint(e.bytes, n) }

func (e *digest) flag(set bool) {
	if set {
		e.number(1)
	} else {
		e.number(0)
	}
}

func (e *digest) id(id InstanceID) {
	e.number(uint64(id.Replica))
	e.number(uint64(id.Slot))
}

func (e *digest) ballot(b Ballot) {
	e.number(b.Number)
	e.number(uint64(b.Replica))
}

func (e *digest) deps(d Dependencies) {
	e.flag(d != nil)
	for _, slot := range d {
		e.number(uint64(slot))
	}
}

// value says whether there is a command: an instance has only one ever.
func (e *digest) value(v Value) {
	e.number(uint64(v.Kind))
	e.flag(v.Command != nil)
}

// decision is all that matters of a decided instance: what is asked about it is answered with a Commit,
// what is known of its command stands in the index, and its dependencies stand against others.
func (e *digest) decision(in *instance) {
	e.number(uint64(in.phase))
	e.ballot(in.accepted)
	e.flag(in.noOp)
	e.flag(in.command != nil)
	e.deps(in.deps)
}

func (e *digest) instance(in *instance) {
	e.number(uint64(in.phase))
	e.flag(in.noOp)
	e.ballot(in.promised)
	e.ballot(in.accepted)
	e.flag(in.command != nil)
	e.deps(in.initial)
	e.deps(in.deps)
	e.flag(in.proposals != nil)
	e.flag(in.round != nil)
	if in.round != nil {
		e.round(in.round)
	}
	if e.Plain || !e.Settled {
		e.ballot(in.refused)
	}
	if e.Plain {
		e.flag(in.saved)
		e.flag(in.led)
	}
}

func (e *digest) round(o *round) {
	e.number(uint64(o.stage))
	e.ballot(o.ballot)
	e.number(uint64(o.refusals))
	e.deps(o.union)
	e.number(uint64(o.matching))
	e.flag(o.patience != 0)
	e.value(o.value)
	e.deps(o.deps)
	if e.Plain || o.stage != awaiting {
		e.number(uint64(o.votes))
	}
	for column, reply := range o.replies {
		if !e.Plain && o.quorum.has(column) {
			continue // the choice is made: only reports from outside the quorum are looked at
		}
		e.flag(reply != nil)
		if reply != nil {
			e.number(uint64(reply.Phase))
			e.ballot(reply.Accepted)
			e.value(reply.Value)
			e.deps(reply.Deps)
			e.deps(reply.Initial)
		}
	}
	e.number(uint64(o.quorum))
	e.number(uint64(o.equal))
	e.number(uint64(len(o.against)))
	for _, c := range o.against {
		e.id(c.ID)
		e.flag(c.Committed)
	}
}

// waiters are found again by the rounds that wait, so only a plain digest holds them.
func (e *digest) waiters(waiting []*instance) {
	e.number(uint64(len(waiting)))
	for _, in := range waiting {
		e.id(in.id)
	}
}

// Impatient reports whether EndPatience would find something to do.
func (r *Replica) Impatient(id InstanceID) bool {
	in := r.known(id)
	return in != nil && in.round != nil && in.round.stage == preAccepting && slices.Contains(r.impatient, in)
}

// DigestedTypes are the types that hold the state of a replica.
var DigestedTypes = []reflect.Type{
	reflect.TypeFor[Replica](), reflect.TypeFor[instance](), reflect.TypeFor[round](), reflect.TypeFor[admission](),
	reflect.TypeFor[RecoverReply](), reflect.TypeFor[Conflict](),
}

// DigestedFields stand in AppendDigest.
var DigestedFields = []string{
	"Replica.instances", "Replica.nextSlot", "Replica.waiters",
	"admission.queued", "admission.inFlight",
	"instance.id", "instance.phase", "instance.noOp", "instance.promised", "instance.accepted", "instance.command",
	"instance.initial", "instance.deps", "instance.saved", "instance.led", "instance.refused", "instance.waiting",
	"instance.round", "instance.proposals",
	"round.stage", "round.ballot", "round.votes", "round.refusals", "round.union", "round.matching", "round.patience",
	"round.value", "round.deps", "round.replies", "round.quorum", "round.equal", "round.against",
	"RecoverReply.Phase", "RecoverReply.Accepted", "RecoverReply.Value", "RecoverReply.Deps", "RecoverReply.Initial",
	"Conflict.ID", "Conflict.Committed",
}

const (
	asConfigured = "never changes"
	asTime       = "only the passing of time reads it, and here time stands still: what it would bring is an input"
	asEndings    = "no command that is explored ends an epoch"
	asTurn       = "means something within a turn, and every input is a turn"
	asGossip     = "only gossip, fetching and catching up read it, which tell decisions and decide nothing"
	asAdmission  = "bounds what is led at a time; here a replica proposes what the exploration says"
	asExecution  = "nothing executes here"
	asDerived    = "follows from the instances"
)

// IgnoredFields stand in no digest, each for its reason.
var IgnoredFields = map[string]string{
	"Replica.id": asConfigured, "Replica.column": asConfigured, "Replica.members": asConfigured,
	"Replica.timing": asConfigured,
	"Replica.index":  asDerived, "Replica.decided": asDerived, "Replica.impatient": asDerived, "instance.column": asDerived,
	"Replica.rand": "only jitter of delays reads it", "Replica.stats": "read by nobody but reports",
	"Replica.now": asTime, "Replica.watch": asTime, "Replica.gossipedAt": asTime,
	"Replica.turn": asTurn, "Replica.ready": asTurn, "Replica.spare": asTurn, "Replica.scratch": asTurn,
	"Replica.asks": asTurn, "Replica.nominate": asTurn, "Replica.restored": asTurn,
	"Replica.tops": asGossip, "Replica.peers": asGossip, "Replica.gossiped": asGossip, "Replica.forgotten": asGossip,
	"Replica.executed": asExecution, "Replica.passed": asExecution, "Replica.watermarks": asExecution, "instance.executed": asExecution,
	"Replica.admission": "has digested fields of its own",

	"instance.record": asTurn, "instance.turn": asTurn,
	"instance.watched": asTime, "instance.since": asTime, "instance.asked": asTime, "instance.nominated": asTime,
	"instance.notBefore": asTime,

	"round.sent": asTime, "round.began": asTime,

	"RecoverReply.ID": "the instance of the round", "RecoverReply.Ballot": "the ballot of the round",

	"Replica.reads":   "the explorer reads nothing",
	"Replica.endings": asEndings, "admission.held": asEndings,
	"admission.limits": asConfigured, "admission.inFlightBytes": asAdmission, "admission.keys": asAdmission,
	"admission.queue": asAdmission, "admission.batch": asTurn, "admission.byProposal": asAdmission,
}
