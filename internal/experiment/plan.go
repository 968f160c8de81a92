package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/internal/wan"
)

// measuredPlacements is how many of the best predictions are checked by a run.
const measuredPlacements = 3

// prediction is what a protocol is expected to do at a placement.
type prediction struct {
	point    Point
	p50, p99 []float64 // by site, to the answer
	mean     float64   // of the medians: what placements are ordered by
}

// predict reckons without running. With a leader a command takes the way to it and back, and the leader's round trip to
// its quorum. For EPaxos* see interference.
func predict(p Point) prediction {
	q := p.Protocol.Quorums(p.Replicas)
	sync := millis(p.Emulation.Sync)
	stretch := 1 + p.Emulation.Jitter/200 // half of the jitter, on average
	leader := p.Succession()[0]
	out := prediction{point: p}
	var crowd *interference
	if !p.Protocol.Leads() {
		crowd = newInterference(&p)
	}
	for i := range p.Replicas {
		if p.Protocol.Leads() {
			way := stretch*(p.Profile.RTT[i][leader]+p.Profile.NearestQuorumRTT(leader, q.Accept)) + 2*sync
			out.p50, out.p99 = append(out.p50, way), append(out.p99, way*(1+p.Emulation.Jitter/200))
		} else {
			p50, p99 := crowd.quantiles(i)
			out.p50, out.p99 = append(out.p50, p50), append(out.p99, p99)
		}
		out.mean += out.p50[i] / float64(p.Replicas)
	}
	return out
}

// placements are all choices of n sites of a profile, in the order of the sites.
func placements(full wan.Profile, n int) []wan.Profile {
	var all []wan.Profile
	chosen := make([]int, 0, n)
	var choose func(from int)
	choose = func(from int) {
		if len(chosen) == n {
			all = append(all, full.Pick(chosen))
			return
		}
		for i := from; i < len(full.Sites); i++ {
			chosen = append(chosen, i)
			choose(i + 1)
			chosen = chosen[:len(chosen)-1]
		}
	}
	choose(0)
	return all
}

// placementSitesMax keeps the number of placements within what a table can hold.
const placementSitesMax = 16

// predictions for a number of replicas, best first for each protocol.
func (o *Options) predictions(n int) ([][]prediction, error) {
	base, err := o.base(n)
	if err != nil {
		return nil, err
	}
	if base.Workload.Load.Rate == 0 {
		return nil, fmt.Errorf("a plan needs a rate: --load open:RATE")
	}
	full, err := o.fullProfile(n)
	if err != nil {
		return nil, err
	}
	if len(full.Sites) > placementSitesMax {
		return nil, fmt.Errorf("profile %q has %d sites: a plan takes at most %d", full.Name, len(full.Sites),
			placementSitesMax)
	}
	protocols, err := ParseProtocols(o.Protocols, n)
	if err != nil {
		return nil, err
	}
	var all [][]prediction
	for _, protocol := range protocols {
		if protocol.Family == "basicpaxos" || protocol.Family == "fastpaxos" {
			return nil, fmt.Errorf("a plan knows epaxos, multipaxos and flexiblepaxos, not %s", protocol.Family)
		}
		var mine []prediction
		for _, profile := range placements(full, n) {
			p := base
			p.Protocol, p.Profile = protocol, profile
			p.Workload.Conflict = o.firstConflict()
			mine = append(mine, predict(p))
		}
		slices.SortStableFunc(mine, func(a, b prediction) int {
			switch {
			case a.mean < b.mean:
				return -1
			case a.mean > b.mean:
				return 1
			}
			return 0
		})
		all = append(all, mine)
	}
	return all, nil
}

func planPoints(o *Options) ([]Point, error) {
	var points []Point
	for _, n := range o.Replicas {
		all, err := o.predictions(n)
		if err != nil {
			return nil, err
		}
		for _, mine := range all {
			for _, p := range mine[:min(measuredPlacements, len(mine))] {
				points = append(points, p.point)
			}
			if worst := len(mine) - 1; worst >= measuredPlacements {
				points = append(points, mine[worst].point)
			}
		}
	}
	return points, nil
}

func showPlan(o *Options, results []Result) Report {
	report := Report{Title: "Where to put replicas", Intro: []string{
		"Predicted from round trips, quorums and the conflict rate alone, for clients in the regions of the replicas. " +
			"The best placements of " +
			"each protocol, and the worst, were then run, which shows what the prediction is worth.",
	}}
	check := Table{Header: []string{"protocol, placement", "site", "p50 predicted", "measured", "p99 predicted",
		"measured"}}
	errors50, errors99, mean99 := 0.0, 0.0, 0.0
	for _, g := range grouped(results) {
		p := predict(g[0].profileOf)
		for i, site := range strings.Fields(g[0].Sites) {
			p50, _ := g.mean(ofRegion(site, func(r *Region) float64 { return r.Execution.P50 }))
			p99, _ := g.mean(ofRegion(site, func(r *Region) float64 { return r.Execution.P99 }))
			check.Rows = append(check.Rows, []string{
				g[0].Protocol + " " + g[0].Sites, site, fmt.Sprintf("%.1f", p.p50[i]), fmt.Sprintf("%.1f", p50),
				fmt.Sprintf("%.1f", p.p99[i]), fmt.Sprintf("%.1f", p99),
			})
			errors50, errors99 = max(errors50, math.Abs(p.p50[i]/p50-1)), max(errors99, math.Abs(p.p99[i]/p99-1))
			mean99 += math.Abs(p.p99[i]/p99 - 1)
		}
	}
	for _, n := range o.Replicas {
		all, err := o.predictions(n)
		if err != nil {
			continue // planPoints has said so
		}
		table := Table{Header: []string{"protocol", "placement", "leader", "mean of medians", "worst median", "worst p99"}}
		for _, mine := range all {
			for i, p := range mine {
				if i >= 8 && i < len(mine)-1 {
					continue
				}
				leader := "–"
				if p.point.Protocol.Leads() {
					leader = p.point.Profile.Sites[p.point.Succession()[0]]
				}
				table.Rows = append(table.Rows, []string{
					p.point.Protocol.Name, strings.Join(p.point.Profile.Sites, " "), leader, fmt.Sprintf("%.1f", p.mean),
					fmt.Sprintf("%.1f", slices.Max(p.p50)), fmt.Sprintf("%.1f", slices.Max(p.p99)),
				})
			}
		}
		report.Sections = append(report.Sections, Section{
			Title: fmt.Sprintf("Predictions for %d replicas: the best eight and the worst of each protocol", n), Table: table,
			Note: "Milliseconds to the answer. " + parametersText(o, fmt.Sprintf("Conflicts %g %%", o.firstConflict())),
		})
	}
	report.Sections = append(report.Sections, Section{
		Title: "Predictions checked", Table: check,
		Note: fmt.Sprintf("Milliseconds to the answer. The largest deviation of a median is %.0f %%, of a 99th "+
			"percentile %.0f %%, %.0f %% on average.",
			100*errors50, 100*errors99, 100*mean99/float64(max(len(check.Rows), 1))),
	})
	return report
}
