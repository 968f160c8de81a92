// Package report keeps what a failed run leaves behind: what went wrong, the history of the clients, a
// page that shows where it cannot be explained, and beside them the logs and the data directories
// of the replicas.
package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Report is one run. Nothing but Dir and Problem is needed.
type Report struct {
	Dir     string // that the cluster was made in
	Command string // that runs the scenario again
	Summary string
	Problem error
	History []history.Operation
	Verdict history.Report
}

// Names of files in the directory of a report.
const (
	readmeFile  = "README.txt"
	historyFile = "history.jsonl"
	pageFile    = "history.html"
)

// drawTime bounds the search for orders to be shown.
const drawTime = 20 * time.Second

// Write adds the report to the directory.
func (r Report) Write() error {
	text := fmt.Sprintf("%v\n\n%s\n\nAgain (processes are never scheduled twice alike, so try it some times):\n  %s\n\n"+
		"%s: one line for each operation of a client, by the time of its call, in nanoseconds\n"+
		"%s: where no order was found, if that is what went wrong\n"+
		"replica-*.log, cluster/, copies/: what the replicas printed, their directories, and copies of them\n",
		r.Problem, r.Summary, r.Command, historyFile, pageFile)
	return errors.Join(
		os.WriteFile(filepath.Join(r.Dir, readmeFile), []byte(text), 0o600),
		r.writeHistory(),
		r.Verdict.Visualize(filepath.Join(r.Dir, pageFile), drawTime),
	)
}

// line is an operation as it stands in the file: for people, and, in the encodings of internal/wire, for
// programs that are to look at it again.
type line struct {
	Client  int           `json:"client"`
	Call    time.Duration `json:"call"`
	Return  time.Duration `json:"return"`
	Unknown bool          `json:"unknown,omitempty"`
	Text    string        `json:"text"`
	Op      []byte        `json:"op"`
	Result  []byte        `json:"result,omitempty"`
}

func (r Report) writeHistory() error {
	file, err := os.Create(filepath.Join(r.Dir, historyFile))
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	out := bufio.NewWriter(file)
	encoder := json.NewEncoder(out)
	ordered := slices.Clone(r.History)
	slices.SortStableFunc(ordered, func(a, b history.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for i := range ordered {
		o := &ordered[i]
		l := line{
			Client: o.Client, Call: o.Call, Return: o.Return, Text: o.String(), Op: wire.AppendOp(nil, &o.Op),
			Unknown: o.Outcome == wire.OutcomeUnknown,
		}
		if !l.Unknown {
			l.Result = wire.AppendResult(nil, &o.Result)
		}
		if err := encoder.Encode(l); err != nil {
			return errors.Join(fmt.Errorf("write the history: %w", err), file.Close())
		}
	}
	return errors.Join(out.Flush(), file.Close())
}
