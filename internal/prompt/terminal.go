package prompt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Candidate is a word that may stand under the cursor.
type Candidate struct {
	Text  string
	About string // a few words on it; may be empty
	More  bool   // it goes on: no blank follows
}

// Completer lists what may stand in the place of the last word, given those before it.
type Completer func(words []string, last string) []Candidate

// Terminal reads lines from a terminal. It is raw only while a line is read: what runs in between gets signals from
// Ctrl-C as any program does. It is not safe for concurrent use.
type Terminal struct {
	keys     *keys
	editor   *term.Terminal
	history  *History
	complete Completer
	raw      func() (restore func() error, err error)
	width    func() int
	quiet    bool // the line belongs to the one before
}

// IsTerminal reports whether a file is a terminal.
func IsTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) } //nolint:gosec // as x/term wants it

// NewTerminal makes a reader for the terminal that both files are. The history must not be nil.
func NewTerminal(in, out *os.File, history *History, complete Completer) *Terminal {
	fd := int(in.Fd()) //nolint:gosec // as x/term wants it
	t := newTerminal(in, out, history, complete)
	t.raw = func() (func() error, error) {
		state, err := term.MakeRaw(fd)
		if err != nil {
			return nil, fmt.Errorf("take over the terminal: %w", err)
		}
		return func() error { return term.Restore(fd, state) }, nil
	}
	t.width = func() int {
		width, height, err := term.GetSize(int(out.Fd())) //nolint:gosec // as x/term wants it
		if err != nil || width <= 0 {
			return widthDefault
		}
		_ = t.editor.SetSize(width, height) // it says how its own drawing ended
		return width
	}
	return t
}

const widthDefault = 80

func newTerminal(in io.Reader, out io.Writer, history *History, complete Completer) *Terminal {
	t := &Terminal{keys: &keys{in: in}, history: history, complete: complete}
	t.editor = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{t.keys, out}, "")
	t.editor.History = (*recent)(t)
	t.editor.AutoCompleteCallback = t.key
	t.raw = func() (func() error, error) { return func() error { return nil }, nil }
	t.width = func() int { return widthDefault }
	return t
}

// Line is part of Lines.
func (t *Terminal) Line(prompt string) (string, error) { return t.read(prompt, false) }

// Continue is part of Lines.
func (t *Terminal) Continue(prompt string) (string, error) { return t.read(prompt, true) }

func (t *Terminal) read(prompt string, quiet bool) (string, error) {
	restore, err := t.raw()
	if err != nil {
		return "", err
	}
	t.quiet = quiet
	t.keys.interrupted = false
	t.width()
	t.editor.SetPrompt(prompt)
	line, err := t.editor.ReadLine()
	if failed := restore(); failed != nil {
		return "", fmt.Errorf("give back the terminal: %w", failed)
	}
	switch {
	case err != nil && !errors.Is(err, term.ErrPasteIndicator): // a line that was pasted is one that was typed
		return "", err
	case t.keys.interrupted:
		return "", ErrInterrupted
	}
	return line, nil
}

// recent is the history as the editor uses it.
type recent Terminal

func (r *recent) Add(line string) {
	if !r.quiet && !r.keys.interrupted {
		r.history.Add(line)
	}
}

func (r *recent) Len() int { return r.history.Len() }

func (r *recent) At(i int) string { return r.history.At(i) }

// keys hands what is typed to the editor, which takes Ctrl-C for the end of all input. So it becomes the end of the
// line, behind a visible mark, and is remembered. What is typed ahead stays here until the line has ended: otherwise
// nobody could tell which of several lines the Ctrl-C was for.
type keys struct {
	in          io.Reader
	ahead       []byte
	interrupted bool
}

const (
	ctrlC = 3
	ctrlE = 5 // to the end of the line
	enter = '\r'

	roomMin = 4 // bytes of an interrupt
)

func (k *keys) Read(p []byte) (int, error) {
	// There is no room left where a control sequence has no end, and the editor waits for one.
	if len(p) < 2*roomMin {
		return copy(p, "~"), nil
	}
	p = p[:len(p)-roomMin]
	if len(k.ahead) == 0 {
		buffer := make([]byte, 256)
		n, err := k.in.Read(buffer)
		if n == 0 {
			return 0, err
		}
		k.ahead = buffer[:n]
	}
	end := bytes.IndexFunc(k.ahead, func(r rune) bool { return r == ctrlC || r == enter || r == '\n' })
	switch {
	case end == 0 && k.ahead[0] == ctrlC:
		k.ahead = k.ahead[1:]
		k.interrupted = true
		return copy(p, []byte{ctrlE, '^', 'C', enter}), nil
	case end == 0:
		end = 1
	case end < 0:
		end = len(k.ahead)
	}
	n := copy(p, k.ahead[:end])
	k.ahead = k.ahead[n:]
	return n, nil
}

// key is called by the editor for keys that it does not know.
func (t *Terminal) key(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' || t.quiet || t.complete == nil {
		return "", 0, false
	}
	words, last, ok := Cursor(line[:pos])
	if !ok {
		return "", 0, false
	}
	candidates := t.complete(words, last.Text)
	candidates = slices.DeleteFunc(candidates, func(c Candidate) bool { return !strings.HasPrefix(c.Text, last.Text) })
	slices.SortFunc(candidates, func(a, b Candidate) int { return cmp.Compare(a.Text, b.Text) })
	candidates = slices.CompactFunc(candidates, func(a, b Candidate) bool { return a.Text == b.Text })
	if len(candidates) == 0 {
		return "", 0, false
	}
	text := common(candidates)
	if len(candidates) > 1 && text == last.Text {
		t.list(candidates)
		return line, pos, true
	}
	text = requote(text, last.Quote, len(candidates) == 1 && !candidates[0].More)
	return line[:last.Start] + text + line[pos:], last.Start + len(text), true
}

// requote writes a word, or the begin of one that goes on.
func requote(text string, quote byte, whole bool) string {
	text = Quote(text)
	if text[0] != '"' && quote != 0 {
		text = string(quote) + text + string(quote)
	}
	if whole {
		return text + " "
	}
	if text[0] == '"' || quote != 0 {
		return text[:len(text)-1]
	}
	return text
}

// common is what all candidates begin with.
func common(candidates []Candidate) string {
	first, last := candidates[0].Text, candidates[len(candidates)-1].Text // of sorted ones, these differ the most
	n := 0
	for n < min(len(first), len(last)) && first[n] == last[n] {
		n++
	}
	for n > 0 && n < len(first) && !utf8.RuneStart(first[n]) {
		n--
	}
	return first[:n]
}

// list shows the candidates above the line.
func (t *Terminal) list(candidates []Candidate) {
	var text strings.Builder
	widest, about := 0, false
	for _, c := range candidates {
		widest = max(widest, utf8.RuneCountInString(visible(c.Text)))
		about = about || c.About != ""
	}
	columns, width := 1, t.width()
	if !about {
		columns = max(1, width/(widest+2))
	}
	for i, c := range candidates {
		shown := visible(c.Text)
		padding := strings.Repeat(" ", widest+2-utf8.RuneCountInString(shown))
		switch {
		case about && c.About != "":
			text.WriteString(cut(shown+padding+visible(c.About), width-1) + "\n")
		case (i+1)%columns == 0 || i+1 == len(candidates):
			text.WriteString(cut(shown, width-1) + "\n")
		default:
			text.WriteString(shown + padding)
		}
	}
	_, _ = t.editor.Write([]byte(text.String())) // a terminal that is gone is told of by the next read
}

// visible shows text that comes from a cluster so that no terminal acts on it.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

func cut(text string, width int) string {
	if runes := []rune(text); len(runes) > max(width, 1) {
		return string(runes[:max(width, 1)-1]) + "…"
	}
	return text
}
