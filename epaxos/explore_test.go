package epaxos_test

import (
	"flag"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// The explorer tries every interleaving of a small cluster of shipped replicas (epaxos.Replica with
// deps.Index): each message is delivered at any times or never, recoveries begin at any time and anywhere up
// to a number, a replica crashes at any time and comes back with what it had synced. docs/testing.md tells
// what it does not try.

var (
	explore       = flag.String("explore", "", "what is explored: quick, r1, r2, three, five; several with commas")
	exploreMemory = flag.Float64("explore-memory", 4, "GiB of memory for each exploration")
	exploreTime   = flag.Duration("explore-time", time.Hour, "time for each exploration")
	exploreCPUs   = flag.Int("explore-cpus", 1, "processors; more than one serve the garbage collector only")
)

type replicas = []epaxos.ReplicaID

var (
	three    = shape{3, 1, 1}
	baseline = shape{3, 1, 0}
	four     = shape{4, 1, 1}
	five     = shape{5, 2, 2}
)

// explorations are the configurations by the name of the flag; "" is what every run of the tests explores.
var explorations = map[string][]exploration{
	"": {
		{name: "n=3,f=1,e=1", shape: three, leaders: replicas{1, 2}, live: true, must: calm},
		{name: "n=3,f=1,e=1,crash", shape: three, leaders: replicas{1, 2}, crashes: 1, must: calm},
		{name: "n=3,f=1,e=0", shape: baseline, leaders: replicas{1, 2}, live: true},
		{name: "n=3,f=1,e=1,same-leader", shape: three, leaders: replicas{1, 1}, live: true},
	},
	"quick": {
		{name: "n=3,f=1,e=1,calm", shape: three, leaders: replicas{1, 2}, crashes: 1},
		{name: "n=3,f=1,e=1", shape: three, leaders: replicas{1, 2}, recoveries: 1, live: true},
		{name: "n=3,f=1,e=1,crash", shape: three, leaders: replicas{1, 2}, recoveries: 1, crashes: 1, states: 120_000},
		{name: "n=3,f=1,e=1,twice", shape: three, leaders: replicas{1, 2}, recoveries: 2, live: true, states: 150_000},
		{name: "n=3,f=1,e=0", shape: baseline, leaders: replicas{1, 2}, recoveries: 2, live: true, states: 60_000},
		fives[8].to(30_000), fives[7].to(30_000), fives[6].to(30_000), fives[5].to(30_000), fives[4].to(40_000),
		fives[3].to(30_000), fives[2].to(30_000), fives[0].to(40_000),
	},
	"r1": {
		{name: "n=3,f=1,e=1", shape: three, leaders: replicas{1, 2}, recoveries: 1, live: true, must: recovered},
		{name: "n=3,f=1,e=1,once", shape: three, leaders: replicas{1, 2}, recoveries: 1, live: true, once: true},
		{name: "n=3,f=1,e=0", shape: baseline, leaders: replicas{1, 2}, recoveries: 1, live: true},
		{name: "n=3,f=1,e=1,crash", shape: three, leaders: replicas{1, 2}, recoveries: 1, crashes: 1, must: recovered},
		{name: "n=3,f=1,e=0,crash", shape: baseline, leaders: replicas{1, 2}, recoveries: 1, crashes: 1},
		{name: "n=4,f=1,e=1", shape: four, leaders: replicas{1, 2}, recoveries: 1, live: true},
	},
	"r2": {
		{name: "n=3,f=1,e=1", shape: three, leaders: replicas{1, 2}, recoveries: 2, live: true, must: recovered},
		{name: "n=3,f=1,e=0", shape: baseline, leaders: replicas{1, 2}, recoveries: 2, live: true},
		{name: "n=3,f=1,e=1,crash", shape: three, leaders: replicas{1, 2}, recoveries: 2, crashes: 1},
	},
	"three": {
		{name: "n=3,f=1,e=1,same-leader", shape: three, leaders: replicas{1, 1}, recoveries: 2, live: true},
		{name: "n=3,f=1,e=1,calm", shape: three, leaders: replicas{1, 2, 3}, live: true},
		{name: "n=3,f=1,e=1,two-of-one,calm", shape: three, leaders: replicas{1, 1, 2}, live: true},
		{name: "n=3,f=1,e=1,two-of-one", shape: three, leaders: replicas{1, 1, 2}, recoveries: 1, live: true},
		{name: "n=3,f=1,e=1", shape: three, leaders: replicas{1, 2, 3}, recoveries: 1, live: true},
	},
	"five": fives,
}

// What every complete exploration without, and with, a recovery comes by.
var (
	calm = []epaxos.Branch{
		epaxos.BranchFastSaved, epaxos.BranchSlow, epaxos.BranchSlowImpatient, epaxos.BranchVoteEqual,
		epaxos.BranchVoteRaised, epaxos.BranchAcceptVote,
	}
	recovered = []epaxos.Branch{
		epaxos.BranchLine54, epaxos.BranchLine55, epaxos.BranchLine56, epaxos.BranchLine57, epaxos.BranchLine80Few,
		epaxos.BranchLine80None, epaxos.BranchLine63, epaxos.BranchVoteRefused,
		epaxos.BranchAcceptRefused, epaxos.BranchValidateInstall,
	}
)

// to is the exploration up to that many states.
func (x exploration) to(states int) exploration {
	x.states = states
	return x
}

// fives begin where replicas know different things; in the comments A is command 0 and B command 1.
var fives = []exploration{
	{ // both leaders are dead, and each command is known to one replica
		name: "n=5,f=2,e=2,both-dead", shape: five, leaders: replicas{1, 5}, recoveries: 2, mute: replicas{1, 5},
		prefix: []string{"propose 0", "propose 1", "PreAccept r1->r2 0", "PreAccept r5->r4 1"},
	},
	{ // likewise, and each is recovered once
		name: "n=5,f=2,e=2,both-dead,apart", shape: five, leaders: replicas{1, 5}, mute: replicas{1, 5},
		apart: true, live: true,
		prefix: []string{"propose 0", "propose 1", "PreAccept r1->r2 0", "PreAccept r5->r4 1"},
	},
	{ // with one more vote for A: line 66 does not settle its recovery
		name: "n=5,f=2,e=2,one-more-vote", shape: five, leaders: replicas{1, 5}, recoveries: 2, mute: replicas{1, 5},
		prefix: []string{"propose 0", "propose 1", "PreAccept r1->r2,r3 0", "PreAccept r5->r4 1"},
	},
	{
		name: "n=5,f=2,e=2,one-more-vote,apart", shape: five, leaders: replicas{1, 5}, mute: replicas{1, 5},
		apart: true, live: true,
		prefix: []string{"propose 0", "propose 1", "PreAccept r1->r2,r3 0", "PreAccept r5->r4 1"},
	},
	{ // A is decided on the fast path, its leader has died and told nobody; B is known to one replica
		name: "n=5,f=2,e=2,fast-and-dead", shape: five, leaders: replicas{1, 5}, recoveries: 2, mute: replicas{1},
		prefix: []string{
			"propose 0", "propose 1", "PreAccept r5->r4 1", "PreAccept r1->r2,r3 0", "PreAcceptReply r2->r1 0",
			"PreAcceptReply r3->r1 0", "lose",
		},
	},
	{ // likewise, and each is recovered once: the leader of B ends what waits for ever without it
		name: "n=5,f=2,e=2,fast-and-dead,apart", shape: five, leaders: replicas{1, 5}, mute: replicas{1},
		apart: true, live: true,
		prefix: []string{
			"propose 0", "propose 1", "PreAccept r5->r4 1", "PreAccept r1->r2,r3 0", "PreAcceptReply r2->r1 0",
			"PreAcceptReply r3->r1 0", "lose",
		},
	},
	{ // the recovery of B waits already when A is decided on the fast path, and the leader of B is back
		name: "n=5,f=2,e=2,waits", shape: five, leaders: replicas{1, 5}, mute: replicas{1}, apart: true, live: true,
		prefix: []string{
			"propose 0", "propose 1", "PreAccept r5->r4 1", "PreAccept r1->r2 0", "recover r4 1", "Recover r4->r1,r2 1",
			"RecoverReply r1->r4 1", "RecoverReply r2->r4 1", "Validate r4->r1,r2 1", "ValidateReply r1->r4 1",
			"ValidateReply r2->r4 1", "PreAccept r1->r3 0", "PreAcceptReply r2->r1 0", "PreAcceptReply r3->r1 0",
			"lose Commit", "lose PreAccept", "lose Accept",
		},
	},
	{ // A has a vote more, its leader has only lost all answers: of two recoveries that wait one is outnumbered
		name: "n=5,f=2,e=2,outnumbered", shape: five, leaders: replicas{1, 5}, mute: replicas{5}, apart: true, live: true,
		prefix: []string{"propose 0", "propose 1", "PreAccept r1->r2,r3 0", "PreAccept r5->r4 1", "lose"},
	},
	{ // the leader of B is in the quorum of its recovery; then A is decided on the fast path and its leader dies
		name: "n=5,f=2,e=2,leader-in-quorum", shape: five, leaders: replicas{1, 4}, mute: replicas{1}, apart: true,
		live: true, prefix: []string{
			"propose 0", "propose 1", "PreAccept r1->r2,r3 0", "PreAccept r4->r5 1", "recover r5 1",
			"Recover r5->r4,r3 1", "RecoverReply r4->r5 1", "RecoverReply r3->r5 1", "PreAcceptReply r2->r1 0",
			"PreAcceptReply r3->r1 0", "lose Commit", "lose PreAccept",
		},
	},
}

func TestExplore(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(*exploreCPUs))
	reached := &epaxos.Branches{}
	for _, suite := range strings.Split(*explore, ",") {
		all, known := explorations[suite]
		if !known {
			t.Fatalf("-explore=%s: nothing of this name", suite)
		}
		for i := range all {
			t.Run(all[i].name, func(t *testing.T) { reached.Add(&exploreOne(t, &all[i]).branches) })
			if t.Failed() {
				return // one violation is enough
			}
		}
	}
	t.Log(branchReport(reached))
}

// exploreOne is one exploration; the test fails with the shortest schedule to a violation.
func exploreOne(t *testing.T, x *exploration) *searchResult {
	s := newSearch(x, searchLimits{memory: int(*exploreMemory * (1 << 30)), wall: *exploreTime})
	s.logf = t.Logf
	if *explore == "" {
		s.logf = func(string, ...any) {}
	}
	r := s.run()
	t.Log(r)
	t.Logf("outcomes: %s", strings.Join(s.outcomes(false), "; "))
	if r.broken != "" {
		t.Errorf("%s\nfound after %d states, %s", r.broken, r.states, tell(x, r.schedule))
	}
	if *explore == "" && !r.complete {
		t.Error("this exploration is small and must be complete")
	}
	for _, b := range x.must {
		if r.broken == "" && r.complete && r.branches[b] == 0 {
			t.Errorf("the branch %v is never taken", b)
		}
	}
	return r
}

func (r *searchResult) String() string {
	extent := "complete"
	if !r.complete {
		extent = fmt.Sprintf("BOUNDED, everything within %d inputs", r.depth)
	}
	return fmt.Sprintf("%s: %s: %d states, %d transitions, depth %d, %d terminal, %d of them all decided; "+
		"%d local states, %d local steps, %d messages; %.0f s, %.0f s of processor, %d MiB", r.name, extent, r.states,
		r.transitions, r.depth, r.terminal, r.settled, r.locals, r.localSteps, r.messages, r.seconds, r.processor,
		r.bytes>>20)
}

func branchReport(reached *epaxos.Branches) string {
	var yes, no []string
	for b, n := range reached {
		if n > 0 {
			yes = append(yes, epaxos.Branch(b).String())
		} else {
			no = append(no, epaxos.Branch(b).String())
		}
	}
	return fmt.Sprintf("branches reached: %d\n  %s\nnot reached: %d\n  %s", len(yes), strings.Join(yes, "\n  "),
		len(no), strings.Join(no, "\n  "))
}

// TestExploreReductions compares what is explored with and without reductions: the same outcomes, known to
// the same replicas; and no branch is lost but those of messages that the reductions drop on purpose.
func TestExploreReductions(t *testing.T) {
	compared := []exploration{
		{name: "n=3,f=1,e=1", shape: three, leaders: replicas{1, 2}},
	}
	if strings.Contains(*explore, "r1") {
		compared = append(compared,
			exploration{name: "n=3,f=1,e=0", shape: baseline, leaders: replicas{1, 2}},
			exploration{name: "n=3,f=1,e=1,once", shape: three, leaders: replicas{1, 2}, once: true},
			exploration{name: "n=3,f=1,e=1,crash", shape: three, leaders: replicas{1, 2}, crashes: 1},
			exploration{name: "n=3,f=1,e=1,recovery", shape: three, leaders: replicas{1, 2}, recoveries: 1, once: true})
	}
	for _, x := range compared {
		t.Run(x.name, func(t *testing.T) {
			limits := searchLimits{memory: int(*exploreMemory * (1 << 30)), wall: *exploreTime}
			reduced := newSearch(&x, limits)
			plainX := x
			plainX.plain = true
			plain := newSearch(&plainX, limits)
			a, b := reduced.run(), plain.run()
			t.Log(a)
			t.Logf("without reductions: %v", b)
			if !a.complete || !b.complete {
				t.Fatal("only complete explorations can be compared")
			}
			if got, want := reduced.outcomes(true), plain.outcomes(true); !slices.Equal(got, want) {
				t.Errorf("%d outcomes with reductions, %d without:\n%v\n%v", len(got), len(want), got, want)
			}
			for branch, n := range b.branches {
				if n > 0 && a.branches[branch] == 0 && !slices.Contains(buried, epaxos.Branch(branch)) {
					t.Errorf("the reductions lose the branch %v", epaxos.Branch(branch))
				}
			}
		})
	}
}

// buried are the branches of messages that search.bury and distil drop: their one effect is that somebody is
// told a decision who knows it, or will be told it by another message under way; or that somebody gives up
// what may as well go unanswered.
var buried = []epaxos.Branch{
	epaxos.BranchCommitAgain, epaxos.BranchCommitUnknown, epaxos.BranchVoteDecided, epaxos.BranchAcceptDecided,
	epaxos.BranchRecoverDecided, epaxos.BranchValidateDecided, epaxos.BranchRefusedHoping, epaxos.BranchRefusedGivenUp,
}

// TestExploreFindsAmnesia plants a fault, a crash that loses the disk, which must be found.
func TestExploreFindsAmnesia(t *testing.T) {
	x := exploration{name: "amnesia", shape: three, leaders: replicas{1, 2}, crashes: 1, recoveries: 1, amnesia: true}
	r := newSearch(&x, searchLimits{memory: 1 << 30, wall: time.Minute}).run()
	if r.broken == "" {
		t.Fatalf("nothing found in %v", r)
	}
	t.Logf("%s\n%s", r.broken, tell(&x, r.schedule))
}

// TestDigestKnowsEveryField fails if a field was added that might tell two states apart and the explorer
// would take them for one.
func TestDigestKnowsEveryField(t *testing.T) {
	for _, typ := range epaxos.DigestedTypes {
		for i := range typ.NumField() {
			name := typ.Name() + "." + typ.Field(i).Name
			_, ignored := epaxos.IgnoredFields[name]
			if digested := slices.Contains(epaxos.DigestedFields, name); digested == ignored {
				t.Errorf("%s: put it into AppendDigest and DigestedFields, or into IgnoredFields with the reason", name)
			}
		}
	}
	for _, name := range epaxos.DigestedFields {
		owner, field, _ := strings.Cut(name, ".")
		at := slices.IndexFunc(epaxos.DigestedTypes, func(typ reflect.Type) bool { return typ.Name() == owner })
		if _, known := epaxos.DigestedTypes[at].FieldByName(field); !known {
			t.Errorf("%s is gone", name)
		}
	}
}
