package execution

import "fmt"

// Branch names one way that the graph can take where it decides something. A Graph counts them, so that
// whoever tests by chance can tell what chance has left out.
type Branch uint8

// The branches.
const (
	BranchCovered        Branch = iota // all dependencies are ordered: no search
	BranchSingle                       // a search ends in a component of one
	BranchMany                         // in one of several
	BranchWaitUnknown                  // a dependency is not known
	BranchWaitUndecided                // one is not committed
	BranchWaitStuck                    // one is committed and waits itself
	BranchWaitNearest                  // likewise or undecided, seen at the end of a key's list
	BranchSkipCommuting                // instances below the vector that commute are passed by
	BranchSkipWide                     // likewise where one of the two has a range
	BranchWide                         // a dependency that no key leads to
	BranchThrough                      // a waiting vertex that is not stuck any more is searched
	BranchTriedAgain                   // what a vertex waited for has come
	BranchNoOpKnown                    // a no-op whose command was known
	BranchNoOpUnknown                  // a no-op whose command was not
	BranchCommitUnknown                // a decision comes before its command
	BranchLearnAgain                   // a command is told twice
	BranchCommitAgain                  // a decision is told twice, or of what was executed before a restart
	BranchRestored                     // an instance was executed before a restart
	BranchRestoredPrefix               // a prefix was

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
	BranchCovered:        "X1 all dependencies ordered",
	BranchSingle:         "X2 component of one",
	BranchMany:           "X2 component of many",
	BranchWaitUnknown:    "X1 wait for an unknown slot",
	BranchWaitUndecided:  "X1 wait for an undecided instance",
	BranchWaitStuck:      "X1 wait behind one that waits",
	BranchWaitNearest:    "X1 wait, found at the near end",
	BranchSkipCommuting:  "X1 commuting instances skipped",
	BranchSkipWide:       "X1 instance beside a range skipped",
	BranchWide:           "X1 dependency by range",
	BranchThrough:        "X1 searched through one that waited",
	BranchTriedAgain:     "X1 tried again",
	BranchNoOpKnown:      "X3 no-op of a known command",
	BranchNoOpUnknown:    "X3 no-op of an unknown command",
	BranchCommitUnknown:  "X1 decision before its command",
	BranchLearnAgain:     "C4 command told again",
	BranchCommitAgain:    "C4 decision told again",
	BranchRestored:       "S6 executed before a restart",
	BranchRestoredPrefix: "S6 prefix executed before a restart",
}

// String names the branch, with its rule in front.
func (b Branch) String() string {
	if b < branchCount {
		return branchNames[b]
	}
	return fmt.Sprintf("branch(%d)", uint8(b))
}

// Branches returns how often each branch was taken since the graph was made.
func (g *Graph) Branches() Branches { return g.branches }

// took counts a branch.
func (g *Graph) took(b Branch) { g.branches[b]++ }
