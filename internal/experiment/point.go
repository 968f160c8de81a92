package experiment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wan"
)

// Load is what clients ask for. Exactly one of its fields is set.
type Load struct {
	Rate    float64 // requests a second in each region, at the times of a Poisson process
	Clients int     // in each region, each of which sends the next request when the last is answered
}

// ParseLoad reads open:RATE or closed:CLIENTS.
func ParseLoad(text string) (Load, error) {
	kind, amount, _ := strings.Cut(text, ":")
	v, err := strconv.ParseFloat(amount, 64)
	switch {
	case err != nil || v <= 0 || v > 1e6:
	case kind == "open":
		return Load{Rate: v}, nil
	case kind == "closed" && v == float64(int(v)):
		return Load{Clients: int(v)}, nil
	}
	return Load{}, fmt.Errorf("load %q: want open:RATE, in requests a second of each region, or closed:CLIENTS", text)
}

// String is the form that ParseLoad reads.
func (l Load) String() string {
	if l.Clients > 0 {
		return fmt.Sprintf("closed:%d", l.Clients)
	}
	return "open:" + strconv.FormatFloat(l.Rate, 'g', -1, 64)
}

// Workload is what requests do.
type Workload struct {
	Load     Load
	Conflict float64 // percent of requests on one key that all regions share; the others are on keys of their region
	Zipf     float64 // if positive, all requests draw from shared keys by this exponent instead
	Keys     int     // how many those are
	Writes   float64 // percent that are puts; the others are gets
	Value    int     // bytes of a value
}

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
	Workload   Workload
	Active     []int // regions with clients, from 0; nil is all
	Emulation  Emulation
	Tuning     Tuning
	Fault      Fault
	Warmup     time.Duration
	Duration   time.Duration
	Seed       uint64
	Repeat     int // which of the repetitions, from 0; it enters into the seed
}

// drainMax is how long after the end of the measured time answers are waited for.
const drainMax = 20 * time.Second

func (p *Point) validate() error {
	w := p.Workload
	switch {
	case p.Replicas < 3 || p.Replicas > epaxos.VotersMax || len(p.Profile.Sites) != p.Replicas:
		return fmt.Errorf("%d replicas at %d sites: need at least 3, and a site for each", p.Replicas, len(p.Profile.Sites))
	case w.Conflict < 0 || w.Conflict > 100 || w.Writes < 0 || w.Writes > 100:
		return fmt.Errorf("conflicts of %v %% and writes of %v %%: need 0 to 100", w.Conflict, w.Writes)
	case w.Zipf < 0 || w.Zipf > 5 || w.Zipf > 0 && (w.Keys < 1 || w.Keys > 10_000_000):
		return fmt.Errorf("zipf %v of %d keys: need an exponent up to 5 and at most 10,000,000 keys", w.Zipf, w.Keys)
	case w.Value < 0 || w.Value > 64<<10:
		return fmt.Errorf("values of %d bytes: need at most 65536", w.Value)
	case (w.Load.Rate > 0) == (w.Load.Clients > 0):
		return fmt.Errorf("load %+v: need a rate or a number of clients", w.Load)
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
	return p.Profile.Validate()
}

// regions with clients.
func (p *Point) regions() []int {
	if p.Active != nil {
		return p.Active
	}
	all := make([]int, p.Replicas)
	for i := range all {
		all[i] = i
	}
	return all
}

// succession orders the replicas by how well each would lead: by the mean over the clients' regions of the way to the
// leader and back and of the leader's phase 2. A leader that was asked for comes first.
func (p *Point) succession() []int {
	order := make([]int, p.Replicas)
	cost := make([]float64, p.Replicas)
	quorum := p.Protocol.Quorums(p.Replicas).Accept
	for i := range order {
		order[i] = i
		for _, region := range p.regions() {
			cost[i] += p.Profile.RTT[region][i]
		}
		cost[i] = cost[i]/float64(len(p.regions())) + p.Profile.NearestQuorumRTT(i, quorum)
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
