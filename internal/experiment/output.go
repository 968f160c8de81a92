package experiment

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// print shows a report at a terminal.
func (r *Report) print(out io.Writer) {
	if out == nil {
		return
	}
	for _, s := range r.Sections {
		if s.Quiet || s.Wordy {
			continue
		}
		fmt.Fprintf(out, "\n%s\n", s.Title)
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, row := range append([][]string{s.Table.Header}, s.Table.Rows...) {
			fmt.Fprintln(table, strings.Join(row, "\t")+"\t")
		}
		table.Flush() //nolint:errcheck // a terminal that is gone
		if s.Note != "" {
			fmt.Fprintln(out, s.Note)
		}
	}
}

// Write makes results.csv, results.json, report.html and run.json in the directory Out, which it creates. What it says
// about the run are Name and Version.
func (o *Options) Write(report Report, results []Result, wall time.Duration) error {
	if err := os.MkdirAll(o.Out, 0o755); err != nil { //nolint:gosec // results are not secret
		return fmt.Errorf("make the directory of the results: %w", err)
	}
	record, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return fmt.Errorf("encode the results: %w", err)
	}
	settings, err := json.MarshalIndent(map[string]any{
		"version": o.Version, "go": runtime.Version(), "machine": runtime.GOOS + "/" + runtime.GOARCH,
		"processors": runtime.NumCPU(), "experiment": o.Name, "runs": len(results),
		"finished": time.Now().UTC().Format(time.RFC3339), "wall_s": wall.Seconds(),
	}, "", " ")
	if err != nil {
		return fmt.Errorf("encode the description of the run: %w", err)
	}
	files := []struct {
		name    string
		content []byte
	}{
		{"results.csv", []byte(CSV(results))},
		{"results.json", append(record, '\n')},
		{"report.html", []byte(report.HTML())},
		{"run.json", append(settings, '\n')},
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(o.Out, f.name), f.content, 0o644); err != nil { //nolint:gosec // likewise
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return nil
}

// CSV has one line for each run and region, and one with region "all" for each run. Its columns are those of
// the JSON, distributions and time lines left out.
func CSV(results []Result) string {
	var b strings.Builder
	header := append([]string{"region"}, columnNames(reflect.TypeFor[Result](), "")...)
	b.WriteString(strings.Join(append(header, "longest_gap_ms"), ",") + "\n")
	for i := range results {
		r := results[i]
		line := func(region string, gap float64) {
			cells := append([]string{region}, cellsOf(reflect.ValueOf(r))...)
			b.WriteString(strings.Join(append(cells, number(gap)), ",") + "\n")
		}
		line("all", worstGap(&r))
		for _, region := range results[i].Regions {
			r.Begun, r.Answered, r.Refused, r.Unanswered = region.Begun, region.Answered, region.Refused, region.Unanswered
			r.Commit, r.Execution = region.Commit, region.Execution
			r.Throughput = ratio(float64(region.Answered), r.DurationS)
			line(region.Site, region.GapMS)
		}
	}
	return b.String()
}

// columnNames are the JSON names of fields that are no lists; those of a structure are joined to its own.
func columnNames(t reflect.Type, prefix string) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case !f.IsExported() || f.Type.Kind() == reflect.Slice:
		case f.Type == reflect.TypeFor[Latency]():
			names = append(names, columnNames(f.Type, strings.TrimSuffix(name, "_ms")+"_")...)
		case prefix != "":
			names = append(names, prefix+name+"_ms")
		default:
			names = append(names, name)
		}
	}
	return names
}

func cellsOf(v reflect.Value) []string {
	var cells []string
	for i := range v.NumField() {
		f := v.Type().Field(i)
		switch value := v.Field(i); {
		case !f.IsExported() || f.Type.Kind() == reflect.Slice:
		case f.Type == reflect.TypeFor[Latency]():
			cells = append(cells, cellsOf(value)...)
		default:
			cells = append(cells, cell(value))
		}
	}
	return cells
}

func cell(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return cell(v.Elem())
	case reflect.Float64:
		return number(v.Float())
	case reflect.String:
		text := v.String()
		if strings.ContainsAny(text, ",\"\n") {
			text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
		}
		return text
	default:
		return fmt.Sprint(v.Interface())
	}
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// progress is a line that grows, for people who wait.
type progress struct {
	out   io.Writer
	total int
	done  int
	began time.Time
}

func newProgress(out io.Writer, total int) *progress {
	return &progress{out: out, total: total, began: time.Now()}
}

const progressWidth = 30

func (p *progress) step(point *Point) {
	p.done++
	if p.out == nil {
		return
	}
	filled := progressWidth * p.done / p.total
	fmt.Fprintf(p.out, "\r[%s%s] %d of %d runs, %.0f s  %-28s", strings.Repeat("#", filled),
		strings.Repeat(".", progressWidth-filled), p.done, p.total, time.Since(p.began).Seconds(),
		fmt.Sprintf("%s n=%d", point.Protocol.Name, point.Replicas))
}

func (p *progress) end() {
	if p.out != nil {
		fmt.Fprintln(p.out)
	}
}
