package server

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/transport"
)

// followed is the membership that the network and the clients of the replica were last told of. Only the
// replica's goroutine changes it.
type followed struct {
	members wire.Members
	role    node.Role
	peers   []peer // whom the replica talks to, ascending
	removed time.Duration
}

// peer is another replica that this one talks to.
type peer struct {
	id    epaxos.ReplicaID
	since time.Duration // when it was first known
}

// removedLinger is how long a replica that executed its removal stays at least, so that the others hear what it
// alone may know of the epoch before. It stays longer while they cannot do without it.
const removedLinger = 3 * time.Second

// follow makes the network and the clients follow, after a turn that has changed the members.
func (s *Server) follow(now time.Duration) {
	members, role := s.node.Members()
	f := &s.followed
	if members.Epoch == f.members.Epoch && role == f.role {
		return
	}
	if f.members.Epoch != members.Epoch {
		s.log.Info("members", "epoch", members.Epoch, "voters", idsOf(members.Voters),
			"learners", idsOf(members.Learners), "f", members.F, "e", members.E, "role", role)
	}
	s.adopt(now, members, role)
	if s.out.host != nil {
		s.tellNetwork()
	}
	s.publishStatus()
}

// adopt takes over what the node says of the members.
func (s *Server) adopt(now time.Duration, members wire.Members, role node.Role) {
	f := &s.followed
	before := f.peers
	f.members, f.role, f.peers = members, role, nil
	for _, m := range s.node.Known() {
		if m.Replica == s.config.Replica {
			continue
		}
		p := peer{id: m.Replica, since: now}
		if i := slices.IndexFunc(before, func(p peer) bool { return p.id == m.Replica }); i >= 0 {
			p = before[i]
		}
		f.peers = append(f.peers, p)
	}
	if role == node.Removed && f.removed == 0 {
		f.removed = max(now, 1)
	}
}

func (s *Server) tellNetwork() {
	identities, err := s.identities()
	if err == nil {
		err = s.out.host.SetMembers(identities)
	}
	if err != nil { // admission has checked what this needs, so a change by another program must have passed
		s.log.Error("the network does not follow the members; correct them by another change", "error", err)
	}
	s.gateway.SetMembers(s.followed.members.Epoch, s.followed.members.Infos())
	s.gateway.SetDraining(s.drains())
}

// drains reports whether clients have to use another replica. A learner proposes nothing, which clients know, but
// serves stale reads.
func (s *Server) drains() bool {
	role := s.followed.role
	return role == node.Joining || role == node.Removed || s.draining.Load()
}

// identities lists whom the replica talks to. Where one that has left bears the address or the key of a
// member, it is the member who is called.
func (s *Server) identities() (*identity.Members, error) {
	f := &s.followed
	var all []identity.Member
	add := func(m wire.Member) {
		if !slices.ContainsFunc(all, func(have identity.Member) bool {
			return have.Replica == m.Replica || have.Addr == m.Addr || have.Fingerprint == m.Fingerprint
		}) {
			all = append(all, identity.Member{
				Replica: m.Replica, Fingerprint: m.Fingerprint, Incarnation: m.Incarnation, Addr: m.Addr,
			})
		}
	}
	for _, m := range f.members.All() {
		add(m)
	}
	for _, m := range s.node.Known() {
		add(m)
	}
	members, err := identity.NewMembers(s.config.Cluster, all)
	if err != nil || f.role == node.Joining {
		return members, err // of which epoch it is, a joining replica does not know
	}
	return members.InEpoch(f.members.Epoch, f.members.NextReplica), nil
}

// disownedLinger is how long a replica that members say was removed looks for others who do not.
const disownedLinger = 5 * time.Second

// checkRemoved ends a replica that is no member any more. By its own account it is none once it has executed that,
// and stays as long as the others cannot do without it (docs/protocol.md, M12). Where it has not, and members
// say so, it stays as long as it makes a quorum with those that do not: they may need it to come to the end.
func (s *Server) checkRemoved(now time.Duration) error {
	f := &s.followed
	if f.removed != 0 {
		if now-f.removed >= removedLinger && s.node.Dispensable() {
			return fmt.Errorf("%w: epoch %d does not have it", ErrRemoved, f.members.Epoch)
		}
		return nil
	}
	why, disowned := s.disowned.why()
	if !disowned || s.out.host == nil {
		return nil
	}
	membership, with := f.members.Membership(), 0
	for _, v := range membership.Voters {
		if v == s.config.Replica || !s.disowned.by(v) && !s.out.host.Suspected(v) {
			with++
		}
	}
	switch {
	case with >= membership.SlowQuorum():
		s.alone = 0
	case s.alone == 0:
		s.alone = now
	case now-s.alone >= disownedLinger:
		return fmt.Errorf("%w: %w", ErrRemoved, why)
	}
	return nil
}

// disownings are what members say who know this replica for one that was removed. Any goroutine.
type disownings struct {
	mu  sync.Mutex
	all map[epaxos.ReplicaID]error
}

func (d *disownings) add(by epaxos.ReplicaID, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[epaxos.ReplicaID]error{}
	}
	d.all[by] = fmt.Errorf("replica %d says: %w", by, why)
}

func (d *disownings) by(id epaxos.ReplicaID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all[id] != nil
}

// why is what one of them says.
func (d *disownings) why() (err error, some bool) { //nolint:revive // the error is the value
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range d.all {
		return err, true
	}
	return nil, false
}

// disown hears that a member knows this replica for one that was removed, or not yet added.
func (s *Server) disown(by epaxos.ReplicaID, why *transport.PeerError) {
	if why.Code == transport.CloseRemoved {
		s.disowned.add(by, why)
	}
}

// checkMembers refuses a membership that the network could not follow.
func (s *Server) checkMembers(m *wire.Members) error {
	all := make([]identity.Member, 0, len(m.Voters)+len(m.Learners))
	for _, one := range m.All() {
		all = append(all, identity.Member{
			Replica: one.Replica, Fingerprint: one.Fingerprint, Incarnation: one.Incarnation, Addr: one.Addr,
		})
		if one.Incarnation == 0 {
			return fmt.Errorf("replica %d has no incarnation", one.Replica)
		}
	}
	if _, err := identity.NewMembers(s.config.Cluster, all); err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Format > s.config.formatMax() {
		return fmt.Errorf("format level %d is unknown to this replica, which knows %d to %d: upgrade it first",
			m.Format, wire.FormatMin, s.config.formatMax())
	}
	return s.config.checkBudget(len(m.Voters), s.store.SaveBytesMax())
}

var (
	// errVoid: see node.Answer.Void.
	errVoid = errors.New("the epoch ended before the request was executed, and this replica does not vote in the next")
	// errMissed: see node.Answer.Unknown.
	errMissed = errors.New("the replica missed the end of the epoch in which it proposed the request")
)

func idsOf(members []wire.Member) []epaxos.ReplicaID {
	ids := make([]epaxos.ReplicaID, len(members))
	for i := range members {
		ids[i] = members[i].Replica
	}
	return ids
}
