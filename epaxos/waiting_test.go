package epaxos_test

import (
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// patience watches the recoveries of one replica in one life: none goes on waiting when one of lines 70 to 79
// has told it to end, and none asks a silent quorum for ever. Another replica would take over in the end, so
// nothing else shows when such a line is missing.
//
// It knows what the replica was sent, what it sends, and what it has decided. A wait is announced once in the
// turn in which it begins, whatever is known by then; so only an announcement that is repeated in a later
// turn is a sign that the replica waits.
type patience struct {
	members epaxos.Membership
	resend  time.Duration
	turn    int
	waits   uint64 // attempts that have begun to wait, as the replica counts them

	asked   map[attempt]time.Duration // when Validate was first sent
	told    map[attempt]int           // the turn of the first Waiting
	ends    map[attempt]string        // by which report the wait ends
	against map[attempt][]epaxos.InstanceID
	assents map[attempt]voters
	heard   map[epaxos.InstanceID]int // the largest count of a Waiting, its own ones included
	decided map[epaxos.InstanceID]epaxos.Decision
}

func newPatience(m epaxos.Membership, resend time.Duration) *patience {
	return &patience{
		members: m, resend: resend, asked: map[attempt]time.Duration{}, told: map[attempt]int{},
		ends: map[attempt]string{}, against: map[attempt][]epaxos.InstanceID{}, assents: map[attempt]voters{},
		heard: map[epaxos.InstanceID]int{}, decided: map[epaxos.InstanceID]epaxos.Decision{},
	}
}

func (p *patience) baseline() bool { return p.members.N() >= 2*p.members.E+p.members.F+1 }

// hears takes a message that the replica is about to get.
func (p *patience) hears(e epaxos.Envelope) {
	switch m := e.Message.(type) {
	case epaxos.RecoverReply:
		switch a := (attempt{id: m.ID, ballot: m.Ballot}); {
		case m.Phase >= epaxos.Accepted:
			p.ends[a] = "a report of an accepted value"
		case e.From == m.ID.Replica && !p.baseline():
			p.ends[a] = "the report of the leader"
		}
	case epaxos.ValidateReply:
		a := attempt{id: m.ID, ballot: m.Ballot}
		if p.assents[a]&(1<<e.From) != 0 {
			return // only the first answer counts
		}
		p.assents[a] |= 1 << e.From
		for _, c := range m.Conflicts {
			p.against[a] = append(p.against[a], c.ID)
		}
	case epaxos.Waiting:
		p.heard[m.ID] = max(p.heard[m.ID], m.Count)
	}
}

// takesTurn says which invariant the messages of a turn break, or nothing.
func (p *patience) takesTurn(now time.Duration, s *site, messages []epaxos.Envelope) string {
	p.turn++
	begun := uint64(0)
	for _, e := range messages {
		id := epaxos.InstanceOf(e.Message)
		a := attempt{id: id, ballot: s.disk.state[id].Promised}
		switch m := e.Message.(type) {
		case epaxos.Validate:
			first, before := p.asked[a]
			if !before {
				p.asked[a] = now
			} else if now-first > 8*p.resend {
				return violation("progress", "r%d has asked a silent replica about %v for %v", e.From, id, now-first)
			}
		case epaxos.Waiting:
			first, before := p.told[a]
			switch {
			case !before:
				p.told[a] = p.turn
				p.heard[id] = max(p.heard[id], m.Count)
				begun++
			case first < p.turn:
				if why := p.ended(a, s.replica.Tops(), s.replica.Watermarks().Stable); why != "" {
					return violation("progress", "r%d waits on with %v at %v: %s", e.From, id, a.ballot, why)
				}
			}
		}
	}
	waits := s.replica.Stats().Waits
	if waits-p.waits > begun {
		return violation("progress", "%d recoveries have begun to wait, of which %d have told", waits-p.waits, begun)
	}
	p.waits = waits
	return ""
}

// ended says why a wait should have ended, if it should.
func (p *patience) ended(a attempt, tops, stable epaxos.Dependencies) string {
	if why := p.ends[a]; why != "" {
		return why + " has come" // lines 76 to 79
	}
	column, _ := p.members.Column(a.id.Replica)
	for _, x := range p.against[a] {
		d, decided := p.decided[x]
		if other, _ := p.members.Column(x.Replica); stable.Covers(other, x.Slot) {
			continue // it does not count (rule K4)
		}
		enough := p.heard[x] > p.members.N()-p.members.F-p.members.E || p.baseline() && p.heard[x] > 0
		switch {
		case decided && d.Command != nil && !d.Deps.Covers(column, a.id.Slot):
			return x.String() + " is decided without it" // line 70
		case !decided && enough:
			return x.String() + " waits too, with enough votes" // line 74
		}
	}
	for column, top := range tops {
		for slot := epaxos.Slot(1); slot <= top; slot++ {
			x := p.members.ID(column, slot)
			if _, decided := p.decided[x]; !decided && x != a.id {
				return ""
			}
		}
	}
	return "all else is decided" // lines 70 and 72
}
