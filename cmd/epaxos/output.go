package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
)

// text is bytes in JSON: a string where they are UTF-8, or else their base64 under another name, so
// that no value is ever changed by being shown.
type text struct {
	Text  *string `json:"value,omitempty"`
	Bytes []byte  `json:"value_base64,omitempty"`
}

func textOf(b []byte) text {
	if utf8.Valid(b) {
		return text{Text: new(string(b))}
	}
	return text{Bytes: b}
}

// shown is the result of one operation, as JSON.
type shown struct {
	Op        string `json:"op,omitempty"`
	Key       string `json:"key,omitempty"`
	Succeeded bool   `json:"succeeded"`
	Found     bool   `json:"found"`
	text
	Omitted bool             `json:"omitted,omitempty"` // the value is too large to come with the others
	Version uint64           `json:"version"`
	Lease   string           `json:"lease,omitempty"` // of a get: the key goes with it
	Pairs   []shownPair      `json:"pairs,omitempty"` // of a range
	Count   *int             `json:"count,omitempty"`
	Next    string           `json:"next,omitempty"` // where the range goes on
	Replica epaxos.ReplicaID `json:"replica,omitempty"`
	Fast    bool             `json:"fast"`
	AgeMS   *float64         `json:"age_ms,omitempty"` // of a stale read: it shows all that was answered before
	Token   string           `json:"token,omitempty"`  // for session reads that are to show what this command has seen

	path      string // instead of fast or slow
	leaseGone bool
}

// shownPair is a key of a range, as JSON.
type shownPair struct {
	Key string `json:"key"`
	text
	Version uint64 `json:"version"`
}

func shownPairs(pairs []clients.Pair) []shownPair {
	all := make([]shownPair, len(pairs))
	for i, p := range pairs {
		all[i] = shownPair{Key: p.Key, Version: p.Version}
		if p.Value != nil {
			all[i].text = textOf(p.Value)
		}
	}
	return all
}

func shownOf(op, key string, r clients.Result) shown {
	s := shown{
		Op: op, Key: key, Succeeded: r.Succeeded, Found: r.Found, Omitted: r.Omitted, Version: r.Version,
		Replica: r.Replica, Fast: r.Fast,
	}
	if !r.Lease.IsZero() {
		s.Lease = r.Lease.String()
	}
	s.leaseGone = r.LeaseGone
	if stepKinds[op].ranged {
		s.Pairs, s.Count, s.Next = shownPairs(r.Page.Pairs), &r.Page.Count, r.Page.Next
		return s
	}
	if r.Value != nil || showsValue[op] && r.Found && !r.Omitted {
		s.text = textOf(r.Value)
	}
	return s
}

// showsValue are the operations that tell the value of a key that exists, though it be empty.
var showsValue = map[string]bool{"get": true, "swap": true, "take": true}

// value is the form of a table.
func (s *shown) value() string {
	switch {
	case s.Omitted:
		return "(left out)"
	case s.Count != nil && s.Next != "":
		return fmt.Sprintf("(%s, more from %s)", counted(*s.Count), printable([]byte(s.Next)))
	case s.Count != nil:
		return "(" + counted(*s.Count) + ")"
	}
	return s.text.printable()
}

func (t *text) printable() string {
	switch {
	case t.Text != nil:
		return printable([]byte(*t.Text))
	case t.Bytes != nil:
		return printable(t.Bytes)
	}
	return "-"
}

// missing are the operations whose Found tells that the key was there before; without it they changed nothing.
var missing = map[string]bool{"get": true, "del": true, "take": true}

// outcome is one word on what became of an operation.
func (s *shown) outcome() string {
	switch {
	case s.leaseGone:
		return "lease gone"
	case !s.Succeeded:
		return "not as expected"
	case missing[s.Op] && !s.Found:
		return "not found"
	}
	return "ok"
}

func (c *connection) show(s shown) error {
	if c.seen != nil {
		s.Token = c.seen().String()
	}
	switch c.output {
	case formJSON:
		return printJSON(c.sh.out, s)
	case formRaw:
		return c.showRaw(s.bytes())
	}
	t := newTable(c.sh.out, "KEY", "RESULT", "VALUE", "VERSION", "REPLICA", "PATH")
	way := cmp.Or(s.path, path(s.Fast))
	if s.AgeMS != nil {
		way += fmt.Sprintf(" (at most %.1fms old)", *s.AgeMS)
	}
	t.row(printable([]byte(s.Key)), s.outcome(), s.value(), s.Version, s.Replica, way)
	return t.flush()
}

// showRaw writes bytes as they are.
func (c *connection) showRaw(value []byte) error {
	if _, err := c.sh.out.Write(value); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

func path(fast bool) string { return keyword(fast, "fast", "slow") }

// printable shows bytes so that no terminal acts on them and no two look alike: as they are if they
// are plain text without quotes around, quoted as in Go otherwise.
func printable(b []byte) string {
	s := string(b)
	plain := s != "" && utf8.ValidString(s) && !strings.HasPrefix(s, `"`) && s != "-" &&
		s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func printJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// table writes aligned columns.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer, head ...string) table {
	t := table{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	cells := make([]any, len(head))
	for i, name := range head {
		cells[i] = name
	}
	t.row(cells...)
	return t
}

func (t table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t.w, "\t")
		}
		fmt.Fprint(t.w, cell)
	}
	fmt.Fprintln(t.w)
}

func (t table) flush() error {
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}
