package clients

import (
	"cmp"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Policy says when a client moves from one replica to another. The zero value of a field takes
// its default.
type Policy struct {
	// Ratio and Margin: another replica is clearly nearer if its round trip is below Ratio times
	// the current one's, and by at least Margin. Defaults 0.7 and 2 ms: on one site nobody moves.
	Ratio  float64
	Margin time.Duration
	// Rounds is the number of consecutive probes at which a replica must be clearly nearer
	// before the client moves to it. Default 3.
	Rounds int
	// SuspectAfter: a replica that leaves a probe unanswered for so long is not used. Default 1.5 s.
	SuspectAfter time.Duration
	// StallAfter: a replica that answers probes, but no request for so long while some are open,
	// is left alone for HoldFor, doubling up to 16 times that. It may be cut off from a quorum.
	// Defaults 3 s and 2 s.
	StallAfter time.Duration
	HoldFor    time.Duration
}

func (p Policy) withDefaults() Policy {
	p.Ratio = cmp.Or(p.Ratio, 0.7)
	p.Margin = cmp.Or(p.Margin, 2*time.Millisecond)
	p.Rounds = cmp.Or(p.Rounds, 3)
	p.SuspectAfter = cmp.Or(p.SuspectAfter, 1500*time.Millisecond)
	p.StallAfter = cmp.Or(p.StallAfter, 3*time.Second)
	p.HoldFor = cmp.Or(p.HoldFor, 2*time.Second)
	return p
}

// holdDoublingsMax bounds how long a stalled replica is left alone.
const holdDoublingsMax = 4

// selector decides which replica serves. It is pure: events and the time go in, a choice comes
// out. It is not safe for concurrent use.
//
// Invariants: standings are ordered by replica; current is 0 or the replica of a standing.
type selector struct {
	policy    Policy
	current   epaxos.ReplicaID
	standings []standing
}

// standing is what is known of one connected replica.
type standing struct {
	replica   epaxos.ReplicaID
	rtt       time.Duration // smoothed over the samples; 0 before the first
	waiting   time.Duration // how long the open probe has been without an answer
	draining  bool
	learner   bool      // executes what others decide: never chosen
	heldUntil time.Time // requests failed here; not used before
	holds     int       // consecutive ones
	nearer    int       // consecutive probes at which it was clearly nearer than current
}

func newSelector(policy Policy) selector { return selector{policy: policy.withDefaults()} }

func (s *selector) find(replica epaxos.ReplicaID) (int, bool) {
	return slices.BinarySearchFunc(s.standings, replica,
		func(have standing, want epaxos.ReplicaID) int { return cmp.Compare(have.replica, want) })
}

func (s *selector) at(replica epaxos.ReplicaID) *standing {
	if i, ok := s.find(replica); ok {
		return &s.standings[i]
	}
	return nil
}

// up adds a replica that has just been connected; what was known of it before is forgotten.
func (s *selector) up(replica epaxos.ReplicaID) {
	s.down(replica)
	i, _ := s.find(replica)
	s.standings = slices.Insert(s.standings, i, standing{replica: replica})
}

// down removes a replica whose connection is gone.
func (s *selector) down(replica epaxos.ReplicaID) {
	if i, ok := s.find(replica); ok {
		s.standings = slices.Delete(s.standings, i, i+1)
	}
	if s.current == replica {
		s.current = 0
	}
}

// drain notes whether the replica has asked its clients to leave.
func (s *selector) drain(replica epaxos.ReplicaID, draining bool) {
	if st := s.at(replica); st != nil {
		st.draining = draining
	}
}

// serves notes whether the replica takes part in agreeing.
func (s *selector) serves(replica epaxos.ReplicaID, votes bool) {
	if st := s.at(replica); st != nil {
		st.learner = !votes
	}
	if !votes && s.current == replica {
		s.current = 0
	}
}

// hold keeps requests away from a replica that does not carry them out. Replicas refused while
// held already are not held longer: the requests were on their way before.
func (s *selector) hold(replica epaxos.ReplicaID, now time.Time) {
	st := s.at(replica)
	if st == nil || now.Before(st.heldUntil) {
		return
	}
	st.heldUntil = now.Add(s.policy.HoldFor << min(st.holds, holdDoublingsMax))
	st.holds++
}

// serving notes that the replica carries out requests, so that the next hold is a short one.
func (s *selector) serving(replica epaxos.ReplicaID) {
	if st := s.at(replica); st != nil {
		st.holds = 0
	}
}

// overdue notes for how long the open probe of a replica has been without an answer.
func (s *selector) overdue(replica epaxos.ReplicaID, waiting time.Duration) {
	if st := s.at(replica); st != nil {
		st.waiting = waiting
	}
}

// observe takes the measured round trip of an answered probe.
func (s *selector) observe(replica epaxos.ReplicaID, rtt time.Duration) {
	st := s.at(replica)
	if st == nil {
		return
	}
	rtt = max(rtt, 1)
	if st.rtt == 0 {
		st.rtt = rtt
	} else {
		st.rtt += (rtt - st.rtt) / 4
	}
	st.waiting = 0
	s.count(st)
}

// count keeps the runs of "clearly nearer". A probe of another replica lengthens or ends the run
// of that replica; a probe of the current one can only end runs, so that one fast probe of
// another is not counted twice.
func (s *selector) count(probed *standing) {
	current := s.at(s.current)
	if current == nil {
		return
	}
	for i := range s.standings {
		st := &s.standings[i]
		switch {
		case !s.clearlyNearer(st, current):
			st.nearer = 0
		case st == probed:
			st.nearer++
		}
	}
}

func (s *selector) clearlyNearer(st, current *standing) bool {
	if st == current || st.rtt == 0 || current.rtt == 0 {
		return false
	}
	distance := current.distance()
	limit := time.Duration(s.policy.Ratio * float64(distance))
	return st.distance() < limit && distance-st.distance() >= s.policy.Margin
}

// distance is the smoothed round trip, or the time that the open probe has taken if that is more
// already: a probe without an answer is news, too.
func (st *standing) distance() time.Duration { return max(st.rtt, st.waiting) }

// choose returns the replica to use now, 0 if no voter is connected.
//
// A current replica that is well is left only for one that was clearly nearer for Rounds probes;
// one that is not well is left at once. If none is well the least bad one serves, since a wrong
// suspicion must not keep requests from the only replica there is.
func (s *selector) choose(now time.Time) epaxos.ReplicaID {
	current := s.at(s.current)
	currentIsWell := current != nil && s.badness(current, now) == 0
	var best *standing
	for i := range s.standings {
		st := &s.standings[i]
		if st.learner || currentIsWell && st != current && (s.badness(st, now) > 0 || st.nearer < s.policy.Rounds) {
			continue
		}
		if best == nil || s.less(st, best, now) {
			best = st
		}
	}
	if best == nil {
		s.current = 0
		return 0
	}
	s.moveTo(best.replica)
	return s.current
}

// alternative returns the best well replica other than avoid, or 0. It does not move.
func (s *selector) alternative(avoid epaxos.ReplicaID, now time.Time) epaxos.ReplicaID {
	if current := s.at(s.current); current != nil && s.current != avoid && s.badness(current, now) == 0 {
		return s.current
	}
	var best *standing
	for i := range s.standings {
		st := &s.standings[i]
		if st.learner || st.replica == avoid || s.badness(st, now) > 0 {
			continue
		}
		if best == nil || s.less(st, best, now) {
			best = st
		}
	}
	if best == nil {
		return 0
	}
	return best.replica
}

// nearest returns the nearest replica other than avoid that is well, be it a learner, or 0.
func (s *selector) nearest(avoid epaxos.ReplicaID, now time.Time) epaxos.ReplicaID {
	var best *standing
	for i := range s.standings {
		st := &s.standings[i]
		if st.replica == avoid || s.badness(st, now) > 0 {
			continue
		}
		if best == nil || s.less(st, best, now) {
			best = st
		}
	}
	if best == nil {
		return 0
	}
	return best.replica
}

// untried returns the best voter that is none of some, and not avoid unless it is the only one; or 0.
func (s *selector) untried(tried []epaxos.ReplicaID, avoid epaxos.ReplicaID, now time.Time) epaxos.ReplicaID {
	var best *standing
	for i := range s.standings {
		st := &s.standings[i]
		if st.learner || slices.Contains(tried, st.replica) {
			continue
		}
		if best == nil || best.replica == avoid || st.replica != avoid && s.less(st, best, now) {
			best = st
		}
	}
	if best == nil {
		return 0
	}
	return best.replica
}

func (s *selector) moveTo(replica epaxos.ReplicaID) {
	if s.current == replica {
		return
	}
	s.current = replica
	for i := range s.standings {
		s.standings[i].nearer = 0
	}
}

// badness ranks the reasons not to use a replica; 0 is none. Silence is the worst: a held or
// draining replica can at least refuse.
func (s *selector) badness(st *standing, now time.Time) int {
	switch {
	case st.waiting >= s.policy.SuspectAfter:
		return 3
	case st.draining:
		return 2
	case now.Before(st.heldUntil):
		return 1
	default:
		return 0
	}
}

// less orders by badness, then by distance with the not yet measured last. Among the equally bad,
// and the equally distant, the current one comes first, so that equals do not make the client move.
func (s *selector) less(a, b *standing, now time.Time) bool {
	badness := s.badness(a, now)
	if d := cmp.Compare(badness, s.badness(b, now)); d != 0 {
		return d < 0
	}
	if badness > 0 && (a.replica == s.current || b.replica == s.current) {
		return a.replica == s.current
	}
	if (a.rtt == 0) != (b.rtt == 0) {
		return b.rtt == 0
	}
	if d := cmp.Compare(a.distance(), b.distance()); d != 0 {
		return d < 0
	}
	return a.replica == s.current
}
