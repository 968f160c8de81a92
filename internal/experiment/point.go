package experiment

import (
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/internal/workload"
)

// Emulation is what stands for the machines and the network.
type Emulation struct {
	Jitter float64       // each frame takes up to this share of its way longer, in percent
	Loss   float64       // percent of frames that are lost and sent again by the transport, later ones waiting
	Sync   time.Duration // of a disk
	CPU    time.Duration // for each message sent or received; 0 makes processors infinitely fast
}

// Tuning changes settings of EPaxos* from what ships; zero values do not.
type Tuning struct {
	Window       int           // own commands on one key that are proposed and not executed
	FastPathWait time.Duration // how long a slow quorum waits for a fast one
	DisputedWait time.Duration // likewise where an answer has differed, beyond what ships, which is nothing
	Gather       int           // requests that wait for a key and go in one command; 1 is none
}

// Fault is what goes wrong in a run.
type Fault struct {
	Crash  int           // replica, from 1, whose site stops for good, its clients too; -1 is the leader; 0 is none
	Slow   int           // replica, from 1, each of whose turns takes longer
	SlowBy time.Duration // by so much
}

// Point is one run and everything that its outcome depends on.
type Point struct {
	Experiment string
	Protocol   Protocol
	Replicas   int
	Profile    wan.Profile // one site for each replica
	Workload   workload.Spec
	Active     []int // regions with clients, from 0; nil is all
	Emulation  Emulation
	Tuning     Tuning
	Fault      Fault
	Warmup     time.Duration
	Duration   time.Duration
	Seed       uint64
	Repeat     int // which of the repetitions, from 0; it enters into the seed
}

// DrainMax is how long after the end of the measured time answers are waited for.
const DrainMax = 20 * time.Second

func (p *Point) validate() error {
	switch {
	case p.Replicas < 3 || p.Replicas > epaxos.VotersMax || len(p.Profile.Sites) != p.Replicas:
		return fmt.Errorf("%d replicas at %d sites: need at least 3, and a site for each", p.Replicas, len(p.Profile.Sites))
	case p.Duration <= 0 || p.Warmup < 0 || p.Emulation.Sync < 0 || p.Emulation.CPU < 0:
		return fmt.Errorf("times must not be negative, and the duration positive")
	case p.Emulation.Loss < 0 || p.Emulation.Loss > 50 || p.Emulation.Jitter < 0 || p.Emulation.Jitter > 1000:
		return fmt.Errorf("loss of %v %% and jitter of %v %%: need at most 50 and 1000", p.Emulation.Loss,
			p.Emulation.Jitter)
	case p.Protocol.Leader != "" && !slices.Contains(p.Profile.Sites, p.Protocol.Leader):
		return fmt.Errorf("leader %s is at none of the sites %v", p.Protocol.Leader, p.Profile.Sites)
	case p.Fault.Crash > p.Replicas || p.Fault.Slow > p.Replicas:
		return fmt.Errorf("replica %d does not exist", max(p.Fault.Crash, p.Fault.Slow))
	}
	if err := p.Workload.Validate(); err != nil {
		return err
	}
	return p.Profile.Validate()
}

// Source draws the requests of a region, counted from 0: the same in virtual time and on real sockets.
func (p *Point) Source(region int) *workload.Source {
	return workload.NewSource(&p.Workload, region, workload.Streams{
		Arrivals: stream(p.StreamSeed(), streamArrivals, region), Keys: stream(p.StreamSeed(), streamKeys, region),
	})
}

// Regions are those with clients, by column.
func (p *Point) Regions() []int {
	if p.Active != nil {
		return p.Active
	}
	all := make([]int, p.Replicas)
	for i := range all {
		all[i] = i
	}
	return all
}

// Succession orders the replicas by how well each would lead: by the mean over the clients' regions of the way to the
// leader and back and of the leader's phase 2. A leader that was asked for comes first.
func (p *Point) Succession() []int {
	order := make([]int, p.Replicas)
	cost := make([]float64, p.Replicas)
	quorum := p.Protocol.Quorums(p.Replicas).Accept
	for i := range order {
		order[i] = i
		for _, region := range p.Regions() {
			cost[i] += p.Profile.RTT[region][i]
		}
		cost[i] = cost[i]/float64(len(p.Regions())) + p.Profile.NearestQuorumRTT(i, quorum)
		if p.Profile.Sites[i] == p.Protocol.Leader {
			cost[i] = -1
		}
	}
	for i := range order { // insertion sort: stable, and there are few
		for j := i; j > 0 && cost[order[j]] < cost[order[j-1]]; j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	return order
}
