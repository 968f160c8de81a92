package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// MemberInfo tells a client about one replica.
type MemberInfo struct {
	Replica  epaxos.ReplicaID
	Endpoint string // host:port
	Name     string // region or site, may be empty
	Role     MemberRole
}

// MemberRole says what a client may ask of a replica. A program takes a role that it does not know for one
// of which it may ask nothing.
type MemberRole uint8

const (
	RoleVoter   MemberRole = iota
	RoleLearner            // executes what the others decide: serves stale reads only
)

// Infos is what clients are told of a membership, voters first.
func (m *Members) Infos() []MemberInfo {
	infos := make([]MemberInfo, 0, len(m.Voters)+len(m.Learners))
	for i := range m.Voters {
		infos = append(infos, m.Voters[i].info(RoleVoter))
	}
	for i := range m.Learners {
		infos = append(infos, m.Learners[i].info(RoleLearner))
	}
	return infos
}

func (m *Member) info(role MemberRole) MemberInfo {
	return MemberInfo{Replica: m.Replica, Endpoint: m.Addr, Name: m.Name, Role: role}
}

const memberInfoMin = 4 // the array, a number, two empty strings; the first programs of format 1 know no roles

func (e *encoder) memberInfos(members []MemberInfo) {
	e.array(len(members))
	for i := range members {
		m := &members[i]
		e.array(4)
		e.uint(uint64(m.Replica))
		e.text(m.Endpoint)
		e.text(m.Name)
		e.uint(uint64(m.Role))
	}
}

func (d *decoder) memberInfos() []MemberInfo {
	n := d.array("members", memberInfoMin, MembersMax)
	if n == 0 {
		return nil
	}
	members := make([]MemberInfo, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		members = append(members, d.memberInfo())
	}
	return members
}

func (d *decoder) memberInfo() MemberInfo {
	extra := d.fields("member", 3)
	m := MemberInfo{
		Replica:  d.replica("member replica"),
		Endpoint: d.text("member endpoint", EndpointMax),
		Name:     d.text("member name", NameMax),
	}
	if extra > 0 {
		m.Role = MemberRole(d.uint("member role", 0, math.MaxUint8))
		extra--
	}
	d.skip(extra)
	return m
}
