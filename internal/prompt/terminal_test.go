package prompt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// offered completes commands, and keys after get.
func offered(words []string, last string) []Candidate {
	if len(words) == 0 {
		return []Candidate{{Text: "get", About: "Read"}, {Text: "put"}, {Text: "range"}, {Text: "get", About: "again"}}
	}
	return []Candidate{{Text: "jobs/", More: true}, {Text: "job x"}, {Text: "日本"}, {Text: "日木"}, {Text: "nothing to do with " + last}}
}

func TestTerminal(t *testing.T) {
	const up, left = "\x1b[A", "\x1b[D"
	for _, c := range []struct {
		name, typed string
		want        []string // lines, ^C for interrupts, ^D for the end
	}{
		{"plain", "get a\r", []string{"get a", "^D"}},
		{"edited", "gt a" + left + left + left + "e\r", []string{"get a", "^D"}},
		{"history", "get a\rget b\r" + up + up + "c\r", []string{"get a", "get b", "get ac", "^D"}},
		{"interrupted", "get a\rget\x03" + up + "\r", []string{"get a", "^C", "get a", "^D"}},
		{"interrupted in the middle", "get a" + left + left + "\x03put\r", []string{"^C", "put", "^D"}},
		{"interrupts typed ahead", "a\rb\x03\x03c\r", []string{"a", "^C", "^C", "c", "^D"}},
		{"left", "get a\r\x04never read", []string{"get a", "^D"}},
		{"one candidate", "ra\ta\r", []string{"range a", "^D"}},
		{"it goes on", "get jobs\t1\r", []string{"get jobs/1", "^D"}},
		{"two candidates", "get j\t/\r", []string{"get job/", "^D"}},
		{"a common part is no half of a character", "get 日\t\r", []string{"get 日", "^D"}},
		{"quoted", "get job\\ \t\r", []string{`get "job x" `, "^D"}},
		{"in quotes", "get 'job \t\r", []string{`get "job x" `, "^D"}},
		{"a quote that stays open", "get 'jobs\t1'\r", []string{"get 'jobs/1'", "^D"}},
		{"nothing fits", "put\tx\t \r", []string{"put x ", "^D"}},
		{"before the end", "pu a" + left + left + "\t\r", []string{"put  a", "^D"}},
		{"in a comment", "get # j\t\r", []string{"get # j", "^D"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			terminal := newTerminal(strings.NewReader(c.typed), io.Discard, &History{}, offered)
			if got := dialogue(t, terminal); !slices.Equal(got, c.want) {
				t.Errorf("%q reads as %q, want %q", c.typed, got, c.want)
			}
		})
	}
}

func dialogue(t *testing.T, lines Lines) (all []string) {
	t.Helper()
	for {
		line, err := lines.Line("> ")
		switch {
		case errors.Is(err, ErrInterrupted):
			all = append(all, "^C")
		case errors.Is(err, io.EOF):
			return append(all, "^D")
		case err != nil:
			t.Fatal(err)
		default:
			all = append(all, line)
		}
	}
}

// TestCandidatesAreListed shows them in columns, or with what is said about them, and nothing that moves the cursor.
func TestCandidatesAreListed(t *testing.T) {
	for _, c := range []struct {
		name  string
		all   []Candidate
		shows string
	}{
		{"columns", []Candidate{{Text: "a1"}, {Text: "a2"}, {Text: "a3"}}, "a1  a2  a3\r\n"},
		{"about", []Candidate{{Text: "a1", About: "first"}, {Text: "a23"}}, "a1   first\r\na23\r\n"},
		{"hostile", []Candidate{{Text: "a1", About: "\x1b[2J"}, {Text: "a2"}}, "a1  ?[2J\r\na2\r\n"},
		{"long", []Candidate{{Text: "a1", About: strings.Repeat("x", 200)}, {Text: "a2"}},
			"a1  " + strings.Repeat("x", 74) + "…\r\na2\r\n"},
	} {
		var screen bytes.Buffer
		complete := func([]string, string) []Candidate { return c.all }
		terminal := newTerminal(strings.NewReader("a\t\r"), &screen, &History{}, complete)
		if _, err := terminal.Line("> "); err != nil || !strings.Contains(screen.String(), c.shows) {
			t.Errorf("%s: %v, %q lacks %q", c.name, err, screen.String(), c.shows)
		}
	}
}

// TestContinue: what belongs to the line before is neither completed nor remembered.
func TestContinue(t *testing.T) {
	history := &History{}
	terminal := newTerminal(strings.NewReader("put a\rra\tsecret\rx\x03get b\r"), io.Discard, history, offered)
	for _, want := range []struct {
		read func(string) (string, error)
		line string
		err  error
	}{
		{terminal.Line, "put a", nil}, {terminal.Continue, "rasecret", nil}, {terminal.Continue, "", ErrInterrupted},
		{terminal.Line, "get b", nil},
	} {
		if line, err := want.read("> "); line != want.line || !errors.Is(err, want.err) {
			t.Errorf("%q, %v, want %q, %v", line, err, want.line, want.err)
		}
	}
	if got := linesOf(history); !slices.Equal(got, []string{"get b", "put a"}) {
		t.Errorf("remembered: %q", got)
	}
}

// TestTerminalIsGivenBack: it is raw while a line is read, and at no other time.
func TestTerminalIsGivenBack(t *testing.T) {
	raw, times := false, 0
	terminal := newTerminal(strings.NewReader("a\rb\x03"), io.Discard, &History{}, nil)
	terminal.raw = func() (func() error, error) {
		raw = true
		times++
		return func() error { raw = false; return nil }, nil
	}
	for range 3 {
		_, _ = terminal.Line("> ")
		if raw {
			t.Error("the terminal stays raw")
		}
	}
	if times != 3 {
		t.Errorf("raw for %d lines", times)
	}
	terminal.raw = func() (func() error, error) { return nil, errors.New("gone") }
	if _, err := terminal.Line("> "); err == nil {
		t.Error("a terminal that is gone is no error")
	}
}

func TestPlain(t *testing.T) {
	got := dialogue(t, Plain(strings.NewReader("get a\r\n\n"+strings.Repeat("x", 5000)+"\nlast")))
	if want := []string{"get a", "", strings.Repeat("x", 5000), "last", "^D"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	endless := Plain(repeating('x'))
	if _, err := endless.Continue("> "); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a line without end: %v", err)
	}
}

type repeating byte

func (r repeating) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// FuzzTerminal types anything.
func FuzzTerminal(f *testing.F) {
	for _, typed := range []string{"get \t\x03\r\x1b[A\r\x04", "\x1b[200~a\tb\r\x1b[201~\r", "\xff\xfe\r", "'\t\"\t\\\t"} {
		f.Add(typed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		terminal := newTerminal(strings.NewReader(typed), io.Discard, &History{}, offered)
		for range len(typed) + 2 {
			if _, err := terminal.Line("> "); err != nil && !errors.Is(err, ErrInterrupted) {
				if !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatal(fmt.Sprintf("%q has no end", typed))
	})
}
