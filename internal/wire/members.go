package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Member is a replica as the membership names it.
type Member struct {
	Replica     epaxos.ReplicaID
	Incarnation uint64   // the life of its directory that is admitted
	Fingerprint [32]byte // of its certificate's key
	Addr        string   // host:port, where others find it
	Name        string   // site or region, may be empty
}

// Members is who belongs to the cluster in one epoch, and on what terms. It is a value of the applied
// state, so that it changes in the transaction that executes a Reconfigure.
type Members struct {
	Epoch       epaxos.Epoch
	F, E        int              // see epaxos.Membership
	Format      uint32           // the level of what replicas may send and propose
	Voters      []Member         // ascending by replica
	Learners    []Member         // likewise
	NextReplica epaxos.ReplicaID // all ids below have been given away
}

// LearnersMax bounds the learners of a cluster.
const LearnersMax = 64

// Membership is what the protocol has to know.
func (m *Members) Membership() epaxos.Membership {
	voters := make([]epaxos.ReplicaID, len(m.Voters))
	for i := range m.Voters {
		voters[i] = m.Voters[i].Replica
	}
	return epaxos.Membership{Epoch: m.Epoch, Voters: voters, F: m.F, E: m.E}
}

// Find returns the member with an id.
func (m *Members) Find(id epaxos.ReplicaID) (member Member, votes, found bool) {
	if i := find(m.Voters, id); i >= 0 {
		return m.Voters[i], true, true
	}
	if i := find(m.Learners, id); i >= 0 {
		return m.Learners[i], false, true
	}
	return Member{}, false, false
}

func find(members []Member, id epaxos.ReplicaID) int {
	return slices.IndexFunc(members, func(m Member) bool { return m.Replica == id })
}

// All returns voters and learners.
func (m *Members) All() []Member { return append(slices.Clone(m.Voters), m.Learners...) }

// Clone copies the record.
func (m *Members) Clone() Members {
	c := *m
	c.Voters, c.Learners = slices.Clone(m.Voters), slices.Clone(m.Learners)
	return c
}

// Validate reports why no cluster can run like this, or nil.
func (m *Members) Validate() error {
	if err := m.Membership().Validate(); err != nil {
		return err
	}
	if len(m.Learners) > LearnersMax {
		return fmt.Errorf("membership: %d learners: at most %d are possible", len(m.Learners), LearnersMax)
	}
	if m.Format < 1 {
		return errors.New("membership: format level 0: levels count from 1")
	}
	for i, l := range m.Learners {
		if l.Replica == 0 || i > 0 && m.Learners[i-1].Replica >= l.Replica || find(m.Voters, l.Replica) >= 0 {
			return fmt.Errorf("membership: learner %d: ids must be positive, ascending and distinct", l.Replica)
		}
	}
	for _, one := range m.All() {
		if one.Replica >= m.NextReplica {
			return fmt.Errorf("membership: replica %d, but ids from %d on were never given away", one.Replica, m.NextReplica)
		}
		if len(one.Addr) > EndpointMax || len(one.Name) > NameMax {
			return fmt.Errorf("membership: address or name of replica %d is longer than %d or %d bytes",
				one.Replica, EndpointMax, NameMax)
		}
	}
	return nil
}

// Succeed reports why next cannot follow m, or nil (docs/protocol.md, M2).
func (m *Members) Succeed(next *Members) error {
	if next.Epoch != m.Epoch+1 {
		return fmt.Errorf("superseded: the change is one of epoch %d, and epoch %d runs", int64(next.Epoch)-1, m.Epoch)
	}
	if err := next.Validate(); err != nil {
		return err
	}
	if next.NextReplica < m.NextReplica || next.Format < m.Format {
		return fmt.Errorf("membership: ids below %d were given away and format level %d was reached: neither goes back",
			m.NextReplica, m.Format)
	}
	for _, one := range next.All() {
		switch old, _, known := m.Find(one.Replica); {
		case known && old.Incarnation != one.Incarnation:
			return fmt.Errorf("membership: replica %d has incarnation %x, not %x: a new one needs a new id",
				one.Replica, old.Incarnation, one.Incarnation)
		case !known && one.Replica < m.NextReplica:
			return fmt.Errorf("membership: the id %d was given away before: the next is %d", one.Replica, m.NextReplica)
		}
	}
	return nil
}

const (
	membersFields    = 7
	fullMemberFields = 5
	fullMemberMin    = 1 + fullMemberFields
	fingerprintBytes = 32
)

// AppendMembers appends [epoch, f, e, format, [voter...], [learner...], next replica], a member being
// [replica, incarnation, fingerprint, address, name].
func AppendMembers(dst []byte, m *Members) []byte {
	e := appendTo(dst)
	e.members(m)
	return e.done()
}

// DecodeMembers reads what AppendMembers wrote. It does not validate it.
func DecodeMembers(body []byte) (Members, error) { return decode("Members", body, (*decoder).members) }

func (e *encoder) members(m *Members) {
	e.array(membersFields)
	e.uint(uint64(m.Epoch))
	e.uint(uint64(m.F)) //nolint:gosec // not negative
	e.uint(uint64(m.E)) //nolint:gosec // not negative
	e.uint(uint64(m.Format))
	e.fullMembers(m.Voters)
	e.fullMembers(m.Learners)
	e.uint(uint64(m.NextReplica))
}

func (e *encoder) fullMembers(members []Member) {
	e.array(len(members))
	for i := range members {
		m := &members[i]
		e.array(fullMemberFields)
		e.uint(uint64(m.Replica))
		e.uint(m.Incarnation)
		e.bytes(m.Fingerprint[:])
		e.text(m.Addr)
		e.text(m.Name)
	}
}

func (d *decoder) members() Members {
	d.exactly("members", membersFields)
	return Members{
		Epoch: d.epoch("epoch"), F: int(d.uint("f", 0, epaxos.VotersMax)), E: int(d.uint("e", 0, epaxos.VotersMax)),
		Format:   uint32(d.uint("format", 0, math.MaxUint32)),
		Voters:   d.fullMembers("voters", epaxos.VotersMax),
		Learners: d.fullMembers("learners", LearnersMax), NextReplica: d.replica("next replica"),
	}
}

func (d *decoder) fullMembers(field string, most int) []Member {
	n := d.array(field, fullMemberMin, most)
	if n == 0 {
		return nil
	}
	members := make([]Member, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		d.exactly(field, fullMemberFields)
		m := Member{Replica: d.replica(field), Incarnation: d.uint64(field)}
		if b := d.view(field, fingerprintBytes); copy(m.Fingerprint[:], b) < fingerprintBytes {
			d.fail(field, "a fingerprint of %d bytes", len(b))
		}
		m.Addr, m.Name = d.text(field, EndpointMax), d.text(field, NameMax)
		members = append(members, m)
	}
	return members
}
