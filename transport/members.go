package transport

import (
	"errors"
	"fmt"
	"maps"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// roster is the membership that a host follows, and the peers that it has by it. A roster never
// changes once it is stored: whoever has loaded one sees one membership.
type roster struct {
	members  *identity.Members
	peers    map[epaxos.ReplicaID]*peer        // every member but this replica
	departed map[epaxos.ReplicaID]epaxos.Epoch // in which it was removed, while this host ran
}

// Members is the membership that the host follows.
func (h *Host) Members() *identity.Members { return h.roster.Load().members }

// SetMembers follows a change of the membership. It dials and accepts new members from now on. The
// connections of those that left are closed with CloseRemoved and a reason that names the epoch, what
// was queued for them is dropped, and whenever they call again they are told the same. A member whose
// key, address or incarnation changed is dialed anew; its queue is dropped, too. The others notice
// nothing. It does not wait: a callback for a former member may still be running.
//
// The same membership again changes nothing. One of another cluster, or of an epoch before that of the
// present one, is refused. This replica need not be among the members: then they refuse its calls, and
// tell why (Config.Disowned), until they have a membership with it.
func (h *Host) SetMembers(members *identity.Members) error {
	if members == nil {
		return errors.New("transport: no membership")
	}
	h.changes.Lock()
	defer h.changes.Unlock()
	if h.ctx.Err() != nil {
		return errClosed
	}
	before := h.roster.Load()
	switch {
	case members.Cluster() != h.config.Credential.Name.Cluster:
		return fmt.Errorf("transport: members of cluster %s, this replica is of %s",
			members.Cluster(), h.config.Credential.Name.Cluster)
	case members.Epoch() < before.members.Epoch():
		return fmt.Errorf("transport: members of epoch %d, those of epoch %d are known",
			members.Epoch(), before.members.Epoch())
	}
	after := h.follow(before, members)
	h.roster.Store(after)
	// The old ones end first: PeerUp and PeerDown of one replica must alternate.
	for id, old := range before.peers {
		if after.peers[id] != old {
			old.stop(after.dismissal(id))
		}
	}
	for id, p := range after.peers {
		if old := before.peers[id]; old != p {
			p.run(old)
		}
	}
	return nil
}

// follow makes the roster of the next membership, with the peers that stay and new ones, not yet running.
func (h *Host) follow(before *roster, members *identity.Members) *roster {
	after := &roster{
		members: members, peers: make(map[epaxos.ReplicaID]*peer), departed: maps.Clone(before.departed),
	}
	if after.departed == nil {
		after.departed = make(map[epaxos.ReplicaID]epaxos.Epoch)
	}
	for id := range before.peers {
		after.departed[id] = members.Epoch()
	}
	for _, member := range members.All() {
		delete(after.departed, member.Replica)
		if member.Replica == h.config.Self {
			continue
		}
		p := before.peers[member.Replica]
		if p == nil || p.member != member {
			p = newPeer(h, member)
		}
		after.peers[member.Replica] = p
	}
	return after
}

// dismissal is what a peer is told whose connections end with the roster before this one.
func (r *roster) dismissal(id epaxos.ReplicaID) dismissal {
	if _, stays := r.peers[id]; stays {
		return dismissal{CloseRedial, fmt.Sprintf(
			"key, address or incarnation of replica %d changed in epoch %d", id, r.members.Epoch())}
	}
	return r.refusal(id, identity.ErrUnknownMember)
}

// refusal is what a replica is told that is no member. unknown says why it is none, should nothing
// better be known.
func (r *roster) refusal(id epaxos.ReplicaID, unknown error) dismissal {
	epoch, departed := r.departed[id]
	switch {
	case departed && epoch != 0:
		return dismissal{CloseRemoved, fmt.Sprintf("replica %d was removed in epoch %d", id, epoch)}
	case departed:
		return dismissal{CloseRemoved, fmt.Sprintf("replica %d was removed", id)}
	case errors.Is(unknown, identity.ErrFormerMember):
		return dismissal{CloseRemoved, unknown.Error()}
	default:
		return dismissal{CloseNotMember, unknown.Error()}
	}
}

// dismissal ends a peer, or a caller, while the host lives on.
type dismissal struct {
	code   CloseCode
	reason string
}

func (d dismissal) Error() string { return d.code.String() + ": " + d.reason }
