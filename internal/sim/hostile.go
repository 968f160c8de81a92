package sim

import (
	"math"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Messages that no correct replica sends, made of ones that were sent. Each must be dropped and counted,
// whatever the receiver is doing (docs/protocol.md, rules G2 and G3).

// harassed is how many frames come for each whose messages come garbled as well.
const harassed = 64

// harass gives a replica garbled copies of messages that it has got.
func (w *world) harass(from, to int, header wire.FrameHeader, messages []epaxos.Message) {
	h := w.hosts[to]
	if w.options.Seed%4 != 0 || h.rand.IntN(harassed) > 0 || !h.node.Admitted() || h.node.NoRoom() != nil ||
		!w.serves(to) {
		return
	}
	if w.options.other != nil {
		w.truncate(from, to, header, messages)
		return
	}
	sender, members := replicaOf(from), h.core.Membership()
	for _, m := range messages {
		if epaxos.EpochOf(m) != members.Epoch {
			continue
		}
		floor := h.core.Watermarks().Truncated
		garbled := slices.DeleteFunc(garbler{members}.garble(m), func(m epaxos.Message) bool {
			id := epaxos.InstanceOf(m) // what is said of a forgotten instance is not looked at (rule K6)
			column, votes := members.Column(id.Replica)
			return votes && id.Epoch == members.Epoch && id.Slot > 0 && floor.Covers(column, id.Slot)
		})
		before := h.core.Stats().Malformed
		h.node.Deliver(w.local(to), sender, header, garbled)
		own := slices.DeleteFunc(garbled, func(m epaxos.Message) bool {
			return m != nil && epaxos.EpochOf(m) > members.Epoch // the node drops what its core could not judge
		})
		if n := h.core.Stats().Malformed - before; n != uint64(len(own)) {
			w.violated("integrity", "r%d takes %d of %d garbled copies of %s from r%d", replicaOf(to),
				uint64(len(own))-n, len(own), members.FormatMessage(m), sender)
			return
		}
	}
}

// garbler makes copies of messages of one epoch.
type garbler struct{ members epaxos.Membership }

// garble returns copies of a message, each wrong in one way.
func (g garbler) garble(message epaxos.Message) []epaxos.Message {
	switch m := message.(type) {
	case epaxos.PreAccept:
		return g.garblePreAccept(m)
	case epaxos.PreAcceptReply:
		return append(variants(m, m.ID, func(m *epaxos.PreAcceptReply) *epaxos.InstanceID { return &m.ID }),
			epaxos.PreAcceptReply{ID: m.ID, Deps: cut(m.Deps)})
	case epaxos.Accept:
		return g.garbleAccept(m)
	case epaxos.AcceptReply:
		return variants(m, m.ID, func(m *epaxos.AcceptReply) *epaxos.InstanceID { return &m.ID })
	case epaxos.Commit:
		return append(variants(m, m.ID, func(m *epaxos.Commit) *epaxos.InstanceID { return &m.ID }),
			epaxos.Commit{ID: m.ID, Ballot: m.Ballot, Value: m.Value, Deps: cut(m.Deps)})
	case epaxos.Recover:
		return append(variants(m, m.ID, func(m *epaxos.Recover) *epaxos.InstanceID { return &m.ID }),
			epaxos.Recover{ID: m.ID}, epaxos.Recover{ID: m.ID, Ballot: g.stolen(m.Ballot)})
	case epaxos.RecoverReply:
		return g.garbleReport(m)
	case epaxos.Validate:
		return g.garbleValidate(m)
	case epaxos.ValidateReply:
		stranger := epaxos.Conflict{ID: epaxos.InstanceID{Epoch: m.ID.Epoch, Replica: math.MaxUint32, Slot: 1}}
		return append(variants(m, m.ID, func(m *epaxos.ValidateReply) *epaxos.InstanceID { return &m.ID }),
			epaxos.ValidateReply{ID: m.ID, Ballot: m.Ballot, Conflicts: []epaxos.Conflict{stranger}})
	case epaxos.Waiting:
		return append(variants(m, m.ID, func(m *epaxos.Waiting) *epaxos.InstanceID { return &m.ID }),
			epaxos.Waiting{ID: m.ID, Count: -1}, epaxos.Waiting{ID: m.ID, Count: g.members.N() + 1})
	case epaxos.Refusal:
		return append(variants(m, m.ID, func(m *epaxos.Refusal) *epaxos.InstanceID { return &m.ID }),
			epaxos.Refusal{ID: m.ID, Promised: epaxos.Ballot{Number: math.MaxUint64, Replica: 1}})
	case epaxos.Gossip:
		return []epaxos.Message{
			nil, epaxos.Gossip{Epoch: m.Epoch + 2, Executed: m.Executed, Tops: m.Tops, Stable: m.Stable},
			epaxos.Gossip{Epoch: m.Epoch, Executed: cut(m.Executed), Tops: m.Tops, Stable: m.Stable},
			epaxos.Gossip{Epoch: m.Epoch, Executed: m.Executed, Tops: cut(m.Tops), Stable: m.Stable},
			epaxos.Gossip{Epoch: m.Epoch, Executed: m.Executed, Tops: m.Tops, Stable: cut(m.Stable)},
		}
	case epaxos.Truncated:
		return variants(m, m.ID, func(m *epaxos.Truncated) *epaxos.InstanceID { return &m.ID })
	case epaxos.Fetch:
		return []epaxos.Message{epaxos.Fetch{IDs: make([]epaxos.InstanceID, 1<<10)}}
	case epaxos.TryRecover:
		return []epaxos.Message{
			epaxos.TryRecover{IDs: make([]epaxos.InstanceID, 1<<10)},
			epaxos.TryRecover{IDs: []epaxos.InstanceID{{Epoch: g.members.Epoch, Replica: math.MaxUint32, Slot: 1}}}}
	default:
		return nil
	}
}

// variants are copies about instances that cannot be.
func variants[M epaxos.Message](m M, id epaxos.InstanceID, of func(*M) *epaxos.InstanceID) []epaxos.Message {
	var all []epaxos.Message
	for _, wrong := range []epaxos.InstanceID{
		{Epoch: id.Epoch + 2, Replica: id.Replica, Slot: id.Slot}, // what comes of the next waits for it
		{Epoch: id.Epoch, Replica: math.MaxUint32, Slot: id.Slot},
		{Epoch: id.Epoch, Replica: id.Replica, Slot: 0},
		{Epoch: id.Epoch, Replica: id.Replica, Slot: math.MaxUint64},
	} {
		c := m
		*of(&c) = wrong
		all = append(all, c)
	}
	return all
}

// cut is a vector of a smaller cluster.
func cut(d epaxos.Dependencies) epaxos.Dependencies { return d[:max(len(d), 1)-1] }

// stolen is a ballot of somebody else: of nobody who votes.
func (g garbler) stolen(b epaxos.Ballot) epaxos.Ballot {
	return epaxos.Ballot{Number: b.Number + 1, Replica: math.MaxUint32}
}

// own is the same vector with the slot itself in the column of the instance.
func (g garbler) own(id epaxos.InstanceID, d epaxos.Dependencies) epaxos.Dependencies {
	circular := d.Clone()
	if column, votes := g.members.Column(id.Replica); votes && column < len(circular) {
		circular[column] = id.Slot
	}
	return circular
}

func (g garbler) garblePreAccept(m epaxos.PreAccept) []epaxos.Message {
	all := variants(m, m.ID, func(m *epaxos.PreAccept) *epaxos.InstanceID { return &m.ID })
	foreign := m
	foreign.ID.Replica = g.members.Voters[0]
	if m.ID.Replica == foreign.ID.Replica {
		foreign.ID.Replica = g.members.Voters[g.members.N()-1]
	}
	return append(all, foreign, epaxos.PreAccept{ID: m.ID, Initial: m.Initial},
		epaxos.PreAccept{ID: m.ID, Command: m.Command, Initial: cut(m.Initial)},
		epaxos.PreAccept{ID: m.ID, Command: m.Command, Initial: g.own(m.ID, m.Initial)})
}

func (g garbler) garbleAccept(m epaxos.Accept) []epaxos.Message {
	all := variants(m, m.ID, func(m *epaxos.Accept) *epaxos.InstanceID { return &m.ID })
	short, stolen, known := m, m, m
	short.Deps = cut(m.Deps)
	stolen.Ballot = g.stolen(m.Ballot)
	known.Value = epaxos.Value{Kind: epaxos.Known}
	return append(all, short, stolen, known)
}

func (g garbler) garbleReport(m epaxos.RecoverReply) []epaxos.Message {
	all := variants(m, m.ID, func(m *epaxos.RecoverReply) *epaxos.InstanceID { return &m.ID })
	if m.Initial != nil {
		short := m
		short.Initial = cut(m.Initial)
		all = append(all, short)
	}
	if m.Phase > epaxos.Initial {
		short, known := m, m
		short.Deps = cut(m.Deps)
		known.Value = epaxos.Value{Kind: epaxos.Known}
		all = append(all, short, known)
	}
	return all
}

func (g garbler) garbleValidate(m epaxos.Validate) []epaxos.Message {
	all := variants(m, m.ID, func(m *epaxos.Validate) *epaxos.InstanceID { return &m.ID })
	empty, first, stolen, short, circular := m, m, m, m, m
	empty.Command = nil
	first.Ballot = epaxos.Ballot{}
	stolen.Ballot = g.stolen(m.Ballot)
	short.Initial = cut(m.Initial)
	circular.Initial = g.own(m.ID, m.Initial)
	return append(all, empty, first, stolen, short, circular)
}
