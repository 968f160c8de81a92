package experiment

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// both plays the same points in virtual time and then on real replicas, with the same requests, and puts the outcomes
// side by side. The results of virtual time come first.
func (o *Options) both(ctx context.Context, points []Point) (Report, []Result, error) {
	virtual, actual := *o, *o
	virtual.Real, actual.Emulation = nil, o.Emulation.outside()
	simulated, err := virtual.runAll(ctx, points)
	if err != nil {
		return Report{}, nil, err
	}
	points = slices.Clone(points)
	for i := range points {
		points[i].Emulation = points[i].Emulation.outside()
	}
	played, err := actual.runAll(ctx, points)
	if err != nil {
		return Report{}, nil, err
	}
	e := find(o.Name)
	report := e.show(&virtual, simulated)
	all := []Section{beside(grouped(simulated), grouped(played))}
	all = append(all, titled("In virtual time: ", report.Sections)...)
	report.Sections = append(all, titled("On real replicas: ", e.show(&actual, played).Sections)...)
	return report, append(simulated, played...), nil
}

// outside is what is emulated around real replicas: not their disks and processors.
func (e Emulation) outside() Emulation {
	e.Sync, e.CPU = 0, 0
	return e
}

// titled marks sections, and leaves them to the page: the terminal has the comparison.
func titled(prefix string, sections []Section) []Section {
	for i := range sections {
		sections[i].Title, sections[i].Wordy = prefix+sections[i].Title, true
	}
	return sections
}

// beside compares the same points, in the same order.
func beside(simulated, played []group) Section {
	t := Table{Header: []string{
		"run", "n", "conflict %", "chosen p50: virtual", "real", "more %", "answered p50: virtual", "real", "more %",
		"mean of the sites' p50: virtual", "real", "more %", "p99: virtual", "real", "fast %: virtual", "real",
	}}
	for i, virtual := range simulated {
		actual := played[i]
		row := []string{nameOf(&virtual[0]), fmt.Sprint(virtual[0].Replicas), short(virtual[0].Conflict)}
		for _, m := range []metric{commitP50, execP50, siteP50} {
			v, _ := virtual.mean(m)
			r, _ := actual.mean(m)
			row = append(row, virtual.text(m, "%.1f"), actual.text(m, "%.1f"), fmt.Sprintf("%+.1f", 100*(r/v-1)))
		}
		for _, m := range []metric{execP99, fastShare} {
			row = append(row, virtual.text(m, "%.1f"), actual.text(m, "%.1f"))
		}
		t.Rows = append(t.Rows, row)
	}
	return Section{
		Title: "Virtual time beside real replicas",
		Note: "Milliseconds. The requests are the same; the real ones meet real disks, processors, QUIC and whatever else " +
			"the machine had to do. Where " +
			"the latencies of two sites or of two kinds of requests lie apart and about half of the requests is below, a " +
			"small shift moves the median from one to the other: then look at the sites.",
		Table: t,
	}
}

// nameOf tells the runs of one experiment apart.
func nameOf(r *Result) string {
	name := r.Protocol
	if _, phase, phased := strings.Cut(r.Experiment, ": "); phased {
		name += ", " + phase
	}
	if r.Zipf > 0 {
		name += fmt.Sprintf(", zipf %g", r.Zipf)
	}
	return name
}

// siteP50 is the mean over the sites of the median to the answer.
func siteP50(r *Result) float64 {
	sum := 0.0
	for i := range r.Regions {
		sum += r.Regions[i].Execution.P50
	}
	return sum / float64(len(r.Regions))
}
