package prompt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a history. A file that another program wrote may be of any size: no more of it is read than this.
const (
	historyLines = 1000
	lineBytesMax = 4096
	historyBytes = historyLines * lineBytesMax
)

// History is the lines that were entered, the latest first, and the file that keeps them: readable to its owner alone,
// one line each, the oldest first, at most 1,000 of them, 4 KiB each. Lines that begin with a blank are left out, as
// are those that repeat the one before, and those with characters that no terminal should see again.
//
// Shells that run at a time add to one file; each sees the lines of the others when it starts. The zero value keeps
// lines in memory. It is not safe for concurrent use.
type History struct {
	path  string // empty: no file
	lines []string
	fault error // the first of the file; nothing is written after it
}

// OpenHistory reads a history file, and makes it, with its directory, if it is not there. An error says that the file
// cannot be used; the history returned with it works, in memory.
func OpenHistory(path string) (*History, error) {
	h := &History{}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return h, fmt.Errorf("keep a history: %w", err)
	}
	content, total, err := readTail(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("keep a history: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSuffix(line, "\n"); keeps(line) {
			h.lines = append(h.lines, line)
		}
	}
	h.lines = h.lines[max(0, len(h.lines)-historyLines):]
	h.path = path
	if strings.Count(string(content), "\n") > historyLines+historyLines/10 || total > historyBytes {
		err = h.rewrite()
	} else {
		err = h.append("")
	}
	if err != nil {
		h.path = ""
		return h, fmt.Errorf("keep a history: %w", err)
	}
	return h, nil
}

// readTail reads as much of the end of a file as a history can hold, from the begin of a line on.
func readTail(path string) ([]byte, int64, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close() //nolint:errcheck // nothing was written
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is no file", path)
	}
	from := max(0, info.Size()-historyBytes)
	content := make([]byte, info.Size()-from)
	n, err := file.ReadAt(content, from)
	content = content[:n] // less, if somebody cuts it at this moment
	if from > 0 {
		_, content, _ = bytes.Cut(content, []byte("\n"))
	}
	if n > 0 {
		err = nil
	}
	return content, info.Size(), ignoreEnd(err)
}

// keeps reports whether a line belongs into a history.
func keeps(line string) bool {
	return line != "" && len(line) <= lineBytesMax && line[0] != ' ' && utf8.ValidString(line) &&
		!strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' })
}

// Add takes a line that was entered. The editor, which calls it, has no use for an error: Err tells.
func (h *History) Add(line string) {
	line = strings.TrimRightFunc(line, unicode.IsSpace)
	if !keeps(line) || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > historyLines {
		h.lines = slices.Delete(h.lines, 0, len(h.lines)-historyLines)
	}
	if h.path == "" || h.fault != nil {
		return
	}
	h.fault = h.append(line + "\n")
}

// Len is the number of lines.
func (h *History) Len() int { return len(h.lines) }

// At is a line; that of 0 was added last.
func (h *History) At(i int) string { return h.lines[len(h.lines)-1-i] }

// Err is the reason why lines are no longer written to the file; nil if they are, or if there is none.
func (h *History) Err() error { return h.fault }

// append writes to the end of the file, where the lines of other shells may have come meanwhile.
func (h *History) append(text string) error {
	file, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// A file that was there may be readable to others.
	err = file.Chmod(0o600)
	if err == nil && text != "" {
		_, err = file.WriteString(text)
	}
	return errors.Join(err, file.Close())
}

// rewrite drops what is too old from the file. Whoever reads meanwhile sees the former or the new one.
func (h *History) rewrite() error {
	file, err := os.CreateTemp(filepath.Dir(h.path), filepath.Base(h.path)+".*") // readable to its owner alone
	if err != nil {
		return err
	}
	_, err = file.WriteString(strings.Join(h.lines, "\n") + "\n")
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), h.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
