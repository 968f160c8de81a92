package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// progress prints what the last second brought.
func (r *run) progress(at time.Duration) {
	var all []time.Duration
	var regions strings.Builder
	for i, m := range r.meters {
		recent := m.recent()
		all = append(all, recent...)
		fmt.Fprintf(&regions, "  %s %d", r.cluster.Region(i), len(recent))
	}
	slices.Sort(all)
	r.printf("%4.0f s %7d ops/s  p50 %6.1f ms %s\n", at.Seconds(), len(all), millis(percentile(all, 50)), &regions)
}

// print writes the report as a table with a summary below.
func (r *Report) print(out io.Writer) {
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "region\treplica\tops\tp50 ms\tp99 ms\t"+
		"fast path\tnearest quorum ms\terrors\tlongest gap ms\tat s\t")
	for i := range r.Regions {
		row := &r.Regions[i]
		replica := fmt.Sprint(row.Replica)
		if row.Killed {
			replica += " killed"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%.1f\t%.1f\t%s\t%s\t%d\t%.1f\t%.1f\t\n",
			row.Name, replica, row.Ops, row.P50MS, row.P99MS,
			optional(row.FastPath, 100, "%.1f %%"), optional(row.NearestQuorumRTTMS, 1, "%.1f"),
			row.Errors, row.MaxGapMS, row.MaxGapAtMS/1000)
	}
	table.Flush() //nolint:errcheck // a terminal that is gone
	fmt.Fprintf(out, "\n%d operations, %.0f a second, %.1f us of processor each for replicas and clients together\n",
		r.TotalOps, r.Throughput, r.CPUMicrosPerOp)
	fmt.Fprintf(out, "errors: %d; linearizable: %s; states equal: %s\n", r.Errors,
		yesNo(r.Linearizable, r.Settings.Verify), yesNo(r.StateEqual, r.Settings.Verify))
	if r.Settings.Kill != "" {
		fmt.Fprintf(out, "kill %s: a silent replica is suspected after %.0f ms; the longest gap elsewhere was %.1f ms\n",
			r.Settings.Kill, r.SuspicionMS, r.MaxGapMS)
	}
}

func optional(value *float64, scale float64, format string) string {
	if value == nil {
		return "-"
	}
	return fmt.Sprintf(format, *value*scale)
}
