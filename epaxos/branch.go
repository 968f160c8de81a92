package epaxos

import "fmt"

// Branch names one way that the protocol can take where it decides something: a line of Figure 1 or 3 of
// "Making Democracy Work", a rule of docs/protocol.md, or both. Stats counts them, so that whoever tests
// by chance can tell what chance has left out.
type Branch uint8

// Ballot 0.
const (
	BranchFast           Branch = iota // a fast quorum answered the initial dependencies
	BranchFastSaved                    // the own fast commit waits for its save
	BranchFastNotSaved                 // baseline: it need not
	BranchSlow                         // n-e equal answers have become impossible
	BranchSlowDisputed                 // an answer differs, so that they have become unlikely
	BranchSlowImpatient                // they have not come in time
	BranchVoteEqual                    // a vote adds nothing to the initial dependencies
	BranchVoteRaised                   // a vote adds what its replica knew
	BranchVoteAgain                    // a repeated PreAccept gets the stored answer
	BranchVoteRefused                  // a PreAccept comes after a promise
	BranchVoteDecided                  // a PreAccept comes after the decision
	BranchRefusedHoping                // ballot 0 is refused by some, a quorum is still possible
	BranchRefusedGivenUp               // ballot 0 is refused by too many

	// Accept and commit.

	BranchAcceptVote      // a value is accepted
	BranchAcceptAgain     // a repeated Accept gets the same answer
	BranchAcceptRefused   // an Accept comes after a higher promise
	BranchAcceptDecided   // an Accept comes after the decision
	BranchCommitAgain     // a second Commit changes nothing
	BranchCommitUnknown   // a Commit without the command comes before the command
	BranchCommitAtPromise // a Commit comes at a lower ballot than was promised
	BranchCommitOwn       // an own instance is decided, as its command, by another replica
	BranchProposedAgain   // an own instance became a no-op: its requests go into another
	BranchNoOpForgotten   // an own instance of an earlier life became a no-op

	// Recovery.

	BranchRecoverPromise // a ballot is promised
	BranchRecoverAgain   // a repeated Recover gets the report of now
	BranchRecoverRefused // a Recover comes after a higher promise
	BranchRecoverDecided // a Recover comes after the decision
	BranchOvertaken      // an own attempt meets a higher ballot in a request
	BranchRefused        // an own attempt meets a higher ballot in a Refusal
	BranchLine54         // a member of the quorum has committed
	BranchLine55         // one has accepted the command
	BranchLine55NoOp     // one has accepted a no-op
	BranchLine56         // the leader is in the quorum: no-op
	BranchLine57         // enough equal pre-accepts: validate
	BranchLine57Leader   // baseline: likewise, with the leader in the quorum
	BranchLine80Few      // too few equal pre-accepts: no-op
	BranchLine80None     // nobody has pre-accepted: no-op

	// Validation.

	BranchValidateInstall  // a Validate makes the initial proposal known
	BranchValidateVoted    // a Validate meets the pre-accept
	BranchValidateAccepted // a copy of a Validate comes after an Accept: dropped
	BranchValidateRefused  // a Validate comes after a higher promise
	BranchValidateDecided  // a Validate comes after the decision
	BranchStandsCommitted  // a committed instance stands against the proposal
	BranchStandsPending    // an undecided one does
	BranchStandsNoOp       // one that interferes is a committed no-op, which does not
	BranchStandsCovers     // one that interferes has the validated one in its dependencies
	BranchStandsUnknown    // one is known without its initial dependencies
	BranchSilentQuorum     // a member of the quorum does not answer: another attempt
	BranchLine63           // nothing stands against the proposal
	BranchLine65           // something committed does: no-op
	BranchLine66           // fewest equal pre-accepts, and a leader outside the quorum: no-op
	BranchLine68           // wait

	// Waiting.

	BranchLine70         // committed without this instance in its dependencies: no-op
	BranchLine72         // all committed, and harmless: the initial proposal
	BranchLine74         // a Waiting with more than n-f-e: no-op
	BranchLine74Few      // a Waiting with fewer goes on waiting
	BranchLine74Baseline // baseline: any Waiting: no-op
	BranchLine76         // a late report of a commit
	BranchLine77         // a late report of an accept
	BranchLine78         // a late report of the leader: no-op
	BranchLine78Baseline // baseline: goes on waiting

	// Progress.

	BranchTurnFirst     // the first in line recovers what a suspected replica led
	BranchTurnLater     // one behind it does
	BranchTurnAlive     // recovered although its leader seems to live
	BranchTurnTakeOver  // another recoverer has not come to an end
	BranchTurnOwn       // a replica recovers its own instance, as it must not go on at ballot 0
	BranchNotResumed    // an own undecided instance of an earlier life
	BranchNominated     // the first in line is asked to recover
	BranchOrphan        // a slot that nobody near knows is looked after
	BranchCatchUp       // a long gap is fetched piece by piece
	BranchSlotForgotten // a peer knows of an own slot that this replica does not
	BranchQueued        // a request waits for room
	BranchQueuedKey     // a request waits for its key
	BranchGathered      // requests that waited for one key share an instance
	BranchPacked        // requests of one turn on cold keys do
	BranchGatheredHot   // requests of one turn on one hot key do
	BranchCancelled     // a request is taken back
	BranchOverloaded    // a request is refused

	// Watermarks.

	BranchStableRaised    // the initial dependencies are raised to S
	BranchTruncatedRaised // an answer is raised to G
	BranchForgotten       // an instance is forgotten
	BranchStablePassed    // a validation passes over what all have executed
	BranchStableStruck    // what was listed against a proposal is executed by all
	BranchStableMeanwhile // likewise, when it is waited for
	BranchForgottenAsked  // somebody asks about what is forgotten
	BranchForgottenHeard  // an answer that it is; it was executed here
	BranchForgottenLost   // likewise, and it was not

	// The end of an epoch.

	BranchHeldBack // a Reconfigure is known: proposals wait
	BranchReleased // it has become a no-op or was refused: they go on
	BranchAdopted  // what the epoch before left unfinished is proposed again

	// Reads.

	BranchReadAnswered // a replica tells what interferes with a read
	BranchReadPoint    // enough have: the read has its point
	BranchReadAgain    // they have not, and are asked again

	branchCount
)

// BranchCount is the number of branches.
const BranchCount = int(branchCount)

// Branches counts how often each Branch was taken.
type Branches [BranchCount]uint64

// Add sums two counts.
func (b *Branches) Add(other *Branches) {
	for i, n := range other {
		b[i] += n
	}
}

// String tells how many of the branches were taken.
func (b Branches) String() string {
	taken := 0
	for _, n := range b {
		if n > 0 {
			taken++
		}
	}
	return fmt.Sprintf("%d of %d branches", taken, BranchCount)
}

var branchNames = [BranchCount]string{
	BranchFast:           "P4 fast path",
	BranchFastSaved:      "S2 fast commit saved first",
	BranchFastNotSaved:   "R6 baseline: fast commit not saved first",
	BranchSlow:           "P4 slow path: equal answers impossible",
	BranchSlowDisputed:   "P4 slow path: an answer differs",
	BranchSlowImpatient:  "P4 slow path: out of patience",
	BranchVoteEqual:      "P3 vote adds nothing",
	BranchVoteRaised:     "P3 vote adds dependencies",
	BranchVoteAgain:      "P6 vote repeated",
	BranchVoteRefused:    "P6 vote refused after a promise",
	BranchVoteDecided:    "C2 PreAccept of a decided instance",
	BranchRefusedHoping:  "R1 ballot 0 refused, still possible",
	BranchRefusedGivenUp: "R1 ballot 0 refused, given up",

	BranchAcceptVote:      "A1 vote",
	BranchAcceptAgain:     "A1 vote repeated",
	BranchAcceptRefused:   "A1 refused after a higher promise",
	BranchAcceptDecided:   "C2 Accept of a decided instance",
	BranchCommitAgain:     "C4 second Commit",
	BranchCommitUnknown:   "C3 Commit before its command",
	BranchCommitAtPromise: "C1 Commit below the promise",
	BranchCommitOwn:       "C1 own instance decided by another",
	BranchProposedAgain:   "C5 own no-op proposed again",
	BranchNoOpForgotten:   "C5 own no-op of an earlier life",

	BranchRecoverPromise: "R1 promise",
	BranchRecoverAgain:   "R1 promise repeated",
	BranchRecoverRefused: "R1 refused after a higher promise",
	BranchRecoverDecided: "C2 Recover of a decided instance",
	BranchOvertaken:      "R7 own attempt overtaken",
	BranchRefused:        "R7 own attempt refused",
	BranchLine54:         "line 54: committed",
	BranchLine55:         "line 55: accepted",
	BranchLine55NoOp:     "line 55: accepted a no-op",
	BranchLine56:         "line 56: leader in the quorum, no-op",
	BranchLine57:         "line 57: validate",
	BranchLine57Leader:   "line 57 baseline: validate, leader in the quorum",
	BranchLine80Few:      "line 80: too few equal, no-op",
	BranchLine80None:     "line 80: nobody knows it, no-op",

	BranchValidateInstall:  "V2 Validate installs",
	BranchValidateVoted:    "V2 Validate meets the pre-accept",
	BranchValidateAccepted: "V4 Validate after an accept, dropped",
	BranchValidateRefused:  "R1 Validate refused after a higher promise",
	BranchValidateDecided:  "C2 Validate of a decided instance",
	BranchStandsCommitted:  "V3 stands against: committed",
	BranchStandsPending:    "V3 stands against: undecided",
	BranchStandsNoOp:       "V3 harmless: committed no-op",
	BranchStandsCovers:     "V3 harmless: depends on it",
	BranchStandsUnknown:    "V3 harmless: no initial dependencies",
	BranchSilentQuorum:     "V1 silent quorum, another attempt",
	BranchLine63:           "line 63: nothing against it",
	BranchLine65:           "line 65: committed against it, no-op",
	BranchLine66:           "line 66: leader outside the quorum, no-op",
	BranchLine68:           "line 68: wait",

	BranchLine70:         "line 70: committed against it, no-op",
	BranchLine72:         "line 72: all harmless",
	BranchLine74:         "line 74: outnumbered, no-op",
	BranchLine74Few:      "line 74: not outnumbered, go on waiting",
	BranchLine74Baseline: "line 74 baseline: waits too, no-op",
	BranchLine76:         "line 76: late commit",
	BranchLine77:         "line 77: late accept",
	BranchLine78:         "line 78: late leader, no-op",
	BranchLine78Baseline: "line 78 baseline: late leader, go on waiting",

	BranchTurnFirst:     "L4 first in line",
	BranchTurnLater:     "L4 later in line",
	BranchTurnAlive:     "L4 leader seems alive",
	BranchTurnTakeOver:  "L4 taken over from a recoverer",
	BranchTurnOwn:       "S4 own instance recovered",
	BranchNotResumed:    "S4 ballot 0 not resumed",
	BranchNominated:     "L4 first in line asked",
	BranchOrphan:        "R8 unknown slot looked after",
	BranchCatchUp:       "L2 long gap fetched on",
	BranchSlotForgotten: "S8 own slot forgotten",
	BranchQueued:        "L5 queued for room",
	BranchQueuedKey:     "L5 queued for a key",
	BranchGathered:      "L6 gathered by key",
	BranchPacked:        "L9 packed, cold keys",
	BranchGatheredHot:   "L9 packed, one hot key",
	BranchCancelled:     "L5 taken back",
	BranchOverloaded:    "L5 refused",

	BranchStableRaised:    "K1 initial dependencies raised",
	BranchTruncatedRaised: "K2 vote raised",
	BranchForgotten:       "K3 forgotten",
	BranchStablePassed:    "K4 stable, not listed",
	BranchStableStruck:    "K4 stable, struck off",
	BranchStableMeanwhile: "K4 stable, not waited for",
	BranchForgottenAsked:  "K6 forgotten, asked about",
	BranchForgottenHeard:  "K6 forgotten elsewhere, executed here",
	BranchForgottenLost:   "K6 forgotten elsewhere, lost here",

	BranchHeldBack: "M5 held back",
	BranchReleased: "M5 released",
	BranchAdopted:  "M6 proposed again in the next epoch",

	BranchReadAnswered: "Q1 query answered",
	BranchReadPoint:    "Q2 point known",
	BranchReadAgain:    "Q1 asked again",
}

// String names the branch by its line or rule.
func (b Branch) String() string {
	if b < branchCount {
		return branchNames[b]
	}
	return fmt.Sprintf("branch(%d)", uint8(b))
}

// took counts a branch.
func (r *Replica) took(b Branch) { r.stats.Branches[b]++ }

// tookEither counts one of two.
func (r *Replica) tookEither(first bool, a, b Branch) {
	if first {
		r.took(a)
		return
	}
	r.took(b)
}
