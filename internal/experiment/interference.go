package experiment

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// interference predicts what commands of EPaxos* take where some are on a shared key, in milliseconds, from round
// trips and rates alone: no messages, no turns, no windows.
//
// A command takes the round trip to the nearest fast quorum, and the syncs of the leader, of the voters, and of the
// leader's commit. It crosses one of another region if that reaches a member of the quorum first and its own leader
// too late; then it takes the round trip to the nearest slow quorum on top. In either case it waits for the commits of
// those that it depends on. What those depend on in turn is left out.
type interference struct {
	share      float64 // of requests on the shared key
	rate       float64 // of those, in each region, for each millisecond
	fast, slow []float64
	way        [][]float64 // one way
	reach      [][]float64 // until when, after a command of i was sent, one of j may be sent and reach its quorum first
	crossing   []float64   // probability that a command on the shared key takes the slow path
	rand       *rand.Rand
}

func newInterference(p *Point) *interference {
	n := p.Replicas
	m := &interference{
		share: p.Workload.Conflict / 100, rate: p.Workload.Conflict / 100 * p.Workload.Load.Rate / 1000,
		rand: stream(p.StreamSeed(), streamPlan, 0), reach: make([][]float64, n),
	}
	q, sync := p.Protocol.Quorums(n), millis(p.Emulation.Sync)
	stretch := 1 + p.Emulation.Jitter/200
	for i := range n {
		fast := stretch*p.Profile.NearestQuorumRTT(i, q.Fast) + 3*sync
		m.fast = append(m.fast, fast)
		m.slow = append(m.slow, fast+stretch*p.Profile.NearestQuorumRTT(i, q.Accept)+sync)
		ways := make([]float64, n)
		for j := range n {
			ways[j] = stretch * p.Profile.RTT[i][j] / 2
		}
		m.way = append(m.way, ways)
	}
	for i := range n {
		m.reach[i] = make([]float64, n)
		expected := 0.0
		for j := range n {
			if j == i {
				continue
			}
			m.reach[i][j] = math.Inf(-1)
			for _, voter := range nearest(m.way[i], q.Fast)[1:] {
				m.reach[i][j] = max(m.reach[i][j], m.way[i][voter]-m.way[j][voter])
			}
			expected += m.rate * max(0, m.reach[i][j]+m.way[j][i])
		}
		m.crossing = append(m.crossing, 1-math.Exp(-expected))
	}
	return m
}

// nearest are the columns of a quorum, by their distance; the first is the replica itself.
func nearest(ways []float64, size int) []int {
	order := make([]int, len(ways))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(ways[a], ways[b]) })
	return order[:size]
}

// planSamples are how many commands on the shared key a prediction plays.
const planSamples = 4000

// quantiles are the median and the 99th percentile of all commands of a region.
func (m *interference) quantiles(region int) (p50, p99 float64) {
	shared := make([]float64, planSamples)
	for i := range shared {
		shared[i] = m.play(region)
	}
	slices.Sort(shared)
	at := func(quantile float64) float64 {
		// Commands on other keys take the fast path, than which none is quicker.
		if rank := (quantile - (1 - m.share)) / m.share; m.share > 0 && rank > 0 {
			return shared[min(int(rank*planSamples), planSamples-1)]
		}
		return m.fast[region]
	}
	return at(0.5), at(0.99)
}

// play is one command on the shared key, among those that others happened to send around it.
func (m *interference) play(region int) float64 {
	took, waits := m.fast[region], 0.0
	for other := range m.fast {
		// Those sent earlier than this are committed everywhere.
		sent := -m.slow[other] - m.way[other][region]
		for {
			sent += m.rand.ExpFloat64() / m.rate
			if sent > m.reach[region][other] {
				break
			}
			if other != region && sent > -m.way[other][region] {
				took = m.slow[region]
			}
			decided := m.fast[other]
			if m.rand.Float64() < m.crossing[other] {
				decided = m.slow[other]
			}
			waits = max(waits, sent+decided+m.way[other][region])
		}
	}
	return max(took, waits)
}
