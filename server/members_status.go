package server

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Role is what a replica is among the members.
type Role string

// The roles, as node.Role names them.
var (
	RoleJoining = Role(node.Joining.String()) // it has no state yet
	RoleVoter   = Role(node.Voter.String())
	RoleLearner = Role(node.Learner.String())
	RoleRemoved = Role(node.Removed.String())
)

// MembersStatus is who belongs to the cluster, as far as the replica has executed.
type MembersStatus struct {
	Epoch       uint64           `json:"epoch"`
	F           int              `json:"f"` // crashes tolerated,
	E           int              `json:"e"` // and tolerated without leaving the fast path
	Format      uint32           `json:"format"`
	NextReplica epaxos.ReplicaID `json:"next_replica"` // ids below were given away
	Voters      []MemberStatus   `json:"voters"`
	Learners    []MemberStatus   `json:"learners"`
}

// MemberStatus is one member.
type MemberStatus struct {
	Replica     epaxos.ReplicaID `json:"replica"`
	Name        string           `json:"name,omitempty"`
	Addr        string           `json:"addr"`
	Incarnation string           `json:"incarnation"` // hexadecimal
	Fingerprint string           `json:"fingerprint"` // likewise
}

func membersStatus(m *wire.Members) MembersStatus {
	return MembersStatus{
		Epoch: uint64(m.Epoch), F: m.F, E: m.E, Format: m.Format, NextReplica: m.NextReplica,
		Voters: memberStatuses(m.Voters), Learners: memberStatuses(m.Learners),
	}
}

func memberStatuses(members []wire.Member) []MemberStatus {
	all := make([]MemberStatus, 0, len(members))
	for i := range members {
		m := &members[i]
		all = append(all, MemberStatus{
			Replica: m.Replica, Name: m.Name, Addr: m.Addr, Incarnation: strconv.FormatUint(m.Incarnation, 16),
			Fingerprint: hex.EncodeToString(m.Fingerprint[:]),
		})
	}
	return all
}

// Record is the membership in the form in which replicas keep it.
func (m *MembersStatus) Record() (wire.Members, error) {
	r := wire.Members{
		Epoch: epaxos.Epoch(m.Epoch), F: m.F, E: m.E, Format: m.Format, NextReplica: m.NextReplica,
	}
	var err error
	if r.Voters, err = records(m.Voters); err == nil {
		r.Learners, err = records(m.Learners)
	}
	return r, err
}

func records(all []MemberStatus) ([]wire.Member, error) {
	var members []wire.Member
	for i := range all {
		m := wire.Member{Replica: all[i].Replica, Addr: all[i].Addr, Name: all[i].Name}
		incarnation, err := strconv.ParseUint(all[i].Incarnation, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("incarnation of replica %d: %w", m.Replica, err)
		}
		fingerprint, err := identity.ParseFingerprint(all[i].Fingerprint)
		if err != nil {
			return nil, fmt.Errorf("replica %d: %w", m.Replica, err)
		}
		m.Incarnation, m.Fingerprint = incarnation, fingerprint
		members = append(members, m)
	}
	return members, nil
}

// TransferStatus is how a replica comes by its state, and what it hands to others.
type TransferStatus struct {
	Source    epaxos.ReplicaID `json:"source,omitempty"` // whose state it takes at present
	Whole     bool             `json:"whole,omitempty"`  // all of it, not only what has changed
	Bytes     uint64           `json:"bytes,omitempty"`  // of this transfer, or else of the last
	Keys      uint64           `json:"keys,omitempty"`   // likewise
	Rate      uint64           `json:"rate,omitempty"`   // in bytes per second, likewise
	Rounds    uint64           `json:"rounds,omitempty"` // taken over since the start
	Failed    string           `json:"failed,omitempty"` // why the last came to nothing
	LagGroups uint64           `json:"lag_groups"`       // of a learner: what it lacks of the log of its source,
	LagMS     int64            `json:"lag_ms"`           // and how old its state may be
	Served    uint64           `json:"served_bytes"`     // to others, since the start
}

func transferStatus(t *node.TransferStatus) TransferStatus {
	return TransferStatus{
		Source: t.Source, Whole: t.Whole, Bytes: t.Bytes, Keys: t.Keys, Rate: t.Rate, Rounds: t.Rounds, Failed: t.Failed,
		LagGroups: t.LagGroups, LagMS: t.Lag.Milliseconds(), Served: t.Served,
	}
}
