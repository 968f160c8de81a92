package epaxos

// The quorums of EPaxos* (Ryabinin, Gotsman, Sutra, "Making Democracy Work", OPODIS 2025, section
// 3 and Theorem 4).

// SlowQuorum is the number of replies, the own included, that decides on the slow path and that
// recovery needs.
func (m Membership) SlowQuorum() int { return m.N() - m.F }

// FastQuorum is the number of equal pre-accepts, the own included, that decides in one round trip.
func (m Membership) FastQuorum() int { return m.N() - m.E }

// Baseline reports whether the simpler rules of recovery suffice: they need n >= 2e+f+1. Below it
// the optimised rules hold, which rely on a command leader never forgetting what it led
// (docs/protocol.md, rule R6).
func (m Membership) Baseline() bool { return m.N() >= 2*m.E+m.F+1 }

// LargestE is the greatest e that n voters allow with f crashes: min(f, ⌊(n-f+1)/2⌋).
func LargestE(n, f int) int { return min(f, (n-f+1)/2) }

// quorumBound is the smallest n for which (f, e) is safe and live.
func quorumBound(f, e int) int { return max(2*f+1, 2*e+f-1) }
