package sim

import (
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// sent takes the messages of a turn, just before they leave: whatever they let others count on is on the
// sender's disk (durability, docs/protocol.md, rules S1 to S3 and S8), a quorum stands behind what they
// propose (commit-votes), and what they tell as decided is decided so (agreement).
func (c *checker) sent(host int, messages []epaxos.Envelope) {
	for _, e := range messages {
		c.disturbs(e)
		if why := c.untimely(host, e.Message); why != nil {
			c.w.violated(why.Invariant, "%s, but %s", c.format(e), why.Text)
			return
		}
		if c.w.options.other != nil || c.book(epaxos.EpochOf(e.Message)) == nil {
			continue // it is of no epoch
		}
		saved := c.durable[host][epaxos.InstanceOf(e.Message)]
		if why := c.unsupported(host, saved, e.Message); why != "" {
			c.w.violated("durability", "%s, but %s: %s", c.format(e), why, c.of(saved.ID.Epoch).FormatRecord(e.From, saved))
		}
		c.w.stop(c.book(epaxos.EpochOf(e.Message)).ledger.sent(host, e.Message))
		if m, ok := e.Message.(epaxos.Commit); ok {
			c.told(host, &m)
		}
	}
}

// untimely says why a replica may not send a message at all now: on probation (rule S8), or because of the epoch that
// its disk is in (rules M4 and M7).
func (c *checker) untimely(host int, message epaxos.Message) *Violation {
	if !c.w.hosts[host].node.Admitted() {
		if _, asks := message.(epaxos.StateRequest); !asks {
			return found("durability", "the sender is on probation")
		}
	}
	return c.misplaced(host, message)
}

// misplaced says why the epoch of a message is not for this replica to speak of.
func (c *checker) misplaced(host int, message epaxos.Message) *Violation {
	disk, e := c.epochs[host], epaxos.EpochOf(message)
	switch m := message.(type) {
	case epaxos.Ended:
		if m.Epoch > disk {
			return found("durability", "its disk is in epoch %d", disk)
		}
		return nil
	case epaxos.StateRequest, epaxos.StateChunk:
		return nil
	case epaxos.Commit, epaxos.Gossip, epaxos.Truncated:
		if e < disk {
			return nil // what was decided is told
		}
	}
	switch {
	case e == 0:
		return found("integrity", "it is of no epoch")
	case e > disk:
		return found("durability", "its disk is in epoch %d", disk)
	case e < disk:
		return found("promise", "its disk is in epoch %d, so that is over", disk)
	case !c.votes(host, e):
		return found("commit-votes", "the sender does not vote in epoch %d", e)
	case mixesEpochs(e, message):
		return found("integrity", "it names instances of several epochs")
	}
	return nil
}

// mixesEpochs looks for an instance of another epoch. Vectors cannot name any.
func mixesEpochs(e epaxos.Epoch, message epaxos.Message) bool {
	foreign := func(id epaxos.InstanceID) bool { return id.Epoch != e }
	switch m := message.(type) {
	case epaxos.Fetch:
		return slices.ContainsFunc(m.IDs, foreign)
	case epaxos.TryRecover:
		return slices.ContainsFunc(m.IDs, foreign)
	case epaxos.ValidateReply:
		return slices.ContainsFunc(m.Conflicts, func(c epaxos.Conflict) bool { return foreign(c.ID) })
	}
	return false
}

// told takes a decision that a message carries.
func (c *checker) told(host int, m *epaxos.Commit) {
	d := epaxos.Decision{ID: m.ID, Command: m.Value.Command, Deps: m.Deps}
	if m.Value.Kind == epaxos.Known {
		initial := c.book(m.ID.Epoch).ledger.initial[m.ID]
		if initial == nil {
			c.w.violated("commit-votes", "r%d tells that %v is decided as it was proposed, and it never was",
				c.name(host), m.ID)
			return
		}
		d.Command = initial.command
	}
	c.decided(host, d)
}

// unsupported says what a message relies on that is not saved, or nothing. A message of an earlier stage
// may leave in the turn that went further, so what is saved may be more than it says.
func (c *checker) unsupported(host int, saved epaxos.Record, message epaxos.Message) string {
	switch m := message.(type) {
	case epaxos.PreAccept:
		return unless(saved.Phase >= epaxos.PreAccepted && saved.Command != nil && saved.Initial.Equal(m.Initial),
			"it is not pre-accepted at its leader")
	case epaxos.PreAcceptReply:
		later := saved.Phase > epaxos.PreAccepted
		return unless(later || saved.Phase == epaxos.PreAccepted && saved.Command != nil && saved.Deps.Equal(m.Deps),
			"the vote is not saved")
	case epaxos.Accept:
		return unless(voted(&saved, m.Ballot), "the own vote is not saved")
	case epaxos.AcceptReply:
		return unless(voted(&saved, m.Ballot), "the vote is not saved")
	case epaxos.Recover:
		return unless(!saved.Promised.Less(m.Ballot), "the own promise is not saved")
	case epaxos.RecoverReply:
		return unsupportedReport(&saved, &m)
	case epaxos.Validate:
		return unless(!saved.Promised.Less(m.Ballot) && saved.Command != nil && saved.Initial != nil,
			"the initial proposal is not saved")
	case epaxos.ValidateReply:
		return unless(!saved.Promised.Less(m.Ballot) && saved.Command != nil && saved.Initial != nil,
			"the initial proposal is not saved")
	case epaxos.Commit:
		return c.unsupportedCommit(host, &saved, &m)
	case epaxos.Gossip:
		return c.unsupportedGossip(host, &m)
	default: // Waiting, Refusal, TryRecover and Fetch let nobody count on anything; Waiting see ledger
		return ""
	}
}

func voted(saved *epaxos.Record, ballot epaxos.Ballot) bool {
	return saved.Phase >= epaxos.Accepted && !saved.Accepted.Less(ballot)
}

func unsupportedReport(saved *epaxos.Record, m *epaxos.RecoverReply) string {
	switch {
	case saved.Promised.Less(m.Ballot):
		return "the promise is not saved"
	case saved.Phase < m.Phase || saved.Accepted.Less(m.Accepted):
		return "what it reports is not saved"
	case saved.Phase == m.Phase && saved.Accepted == m.Accepted && !saved.Deps.Equal(m.Deps):
		return "other dependencies are saved"
	case m.Initial != nil && !saved.Initial.Equal(m.Initial):
		return "other initial dependencies are saved"
	}
	return ""
}

// unsupportedCommit is rule S2: under the optimised rules a leader tells its fast commit once that is
// saved. Whoever else tells a decision has learnt it from a quorum, or from its leader.
func (c *checker) unsupportedCommit(host int, saved *epaxos.Record, m *epaxos.Commit) string {
	baseline := c.of(m.ID.Epoch).Baseline()
	if m.ID.Replica != c.name(host) || !m.Ballot.IsZero() || baseline || saved.Phase == epaxos.Committed {
		return ""
	}
	return unless(saved.Phase == epaxos.Accepted, "the own fast commit is not saved")
}

func unless(fine bool, why string) string {
	if fine {
		return ""
	}
	return why
}
