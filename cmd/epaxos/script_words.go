package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// misplaced is a mistake in one word of a line, or at its end if there is no such word.
type misplaced struct {
	word int // from 0
	text string
}

func (m *misplaced) Error() string { return m.text }

func at(word int, format string, args ...any) error {
	return &misplaced{word, fmt.Sprintf(format, args...)}
}

// line reads one line of the plain form. After an error, the column, from 1, is where it was found.
func (s *script) line(line string) (column int, err error) {
	words, columns, err := split(line)
	if err == nil && len(words) > 0 {
		err = s.words(words)
	}
	if err == nil {
		return 0, nil
	}
	if m, ok := errors.AsType[*misplaced](err); ok && m.word < len(columns) {
		return columns[m.word], err
	}
	return utf8.RuneCountInString(strings.TrimRightFunc(line, unicode.IsSpace)) + 1, err
}

func (s *script) words(words []string) error {
	switch words[0] {
	case "then", "else":
		one, err := parseStep(words)
		if err != nil {
			return err
		}
		if words[0] == "then" {
			s.Then = append(s.Then, one)
		} else {
			s.Else = append(s.Else, one)
		}
		return nil
	}
	c, err := parseCondition(words)
	if err == nil {
		s.If = append(s.If, c)
	}
	return err
}

func parseCondition(words []string) (condition, error) {
	need := 4
	switch words[0] {
	case "if", "if-version", "if-count", "if-lease":
	case "if-exists", "if-absent":
		need = 2
	default:
		return condition{}, at(0, "begins with %q: need then, else, if, if-version, if-exists, if-absent, if-count "+
			"or if-lease", words[0])
	}
	if len(words) != need {
		return condition{}, at(min(need, len(words)), "%s has %d words after it: needs %s; quote what has blanks", words[0],
			len(words)-1, keyword(need == 2, "a key", "a key, a relation and one more"))
	}
	switch words[0] {
	case "if-exists":
		return condition{Key: words[1], Exists: new(true)}, nil
	case "if-absent":
		return condition{Key: words[1], Exists: new(false)}, nil
	}
	if _, known := relations[words[2]]; !known {
		return condition{}, at(2, "relation %q: need = != < or >", words[2])
	}
	switch words[0] {
	case "if-lease":
		return condition{Key: words[1], Relation: words[2], Lease: words[3]}, nil
	case "if":
		return condition{Key: words[1], Relation: words[2], text: textOf([]byte(words[3]))}, nil
	}
	number, err := strconv.ParseUint(words[3], 10, 64)
	switch {
	case err != nil:
		return condition{}, at(3, "%s %q is not a whole number", strings.TrimPrefix(words[0], "if-"), words[3])
	case words[0] == "if-count":
		return condition{reach: reach{Prefix: &words[1]}, Relation: words[2], Count: &number}, nil
	default:
		return condition{Key: words[1], Relation: words[2], Version: &number}, nil
	}
}

// parseStep reads what follows then or else.
func parseStep(words []string) (step, error) {
	if len(words) == 1 {
		return step{}, at(1, "names no operation: need one of %s", stepNames())
	}
	s := step{Op: words[1]}
	kind, known := stepKinds[s.Op]
	if !known {
		return step{}, at(1, "%q: need one of %s", s.Op, stepNames())
	}
	if kind.leased && len(words) == 6 && words[4] == "under" {
		s.Lease, words = words[5], words[:4]
	}
	least := 3 + count(kind.value)
	most := least + count(kind.delta, kind.limit)
	if len(words) < least || len(words) > most {
		return step{}, at(min(most, len(words)), "%s has %d words after it: see epaxos txn --help; quote what has blanks",
			s.Op, len(words)-2)
	}
	if kind.ranged {
		s.Prefix = &words[2]
	} else {
		s.Key = words[2]
	}
	if len(words) == 3 {
		return s, nil
	}
	if kind.value {
		s.text = textOf([]byte(words[3]))
		return s, nil
	}
	number, err := strconv.ParseInt(words[3], 10, 64)
	switch {
	case err != nil:
		return step{}, at(3, "%q is not a whole number", words[3])
	case kind.delta:
		s.Delta = &number
	case number < 0:
		return step{}, at(3, "%s takes no limit %d", s.Op, number)
	default:
		s.Limit = int(number)
	}
	return s, nil
}

// split cuts a line into words, and tells the column where each begins, from 1. A quoted word may hold anything;
// # begins a comment.
func split(line string) (words []string, columns []int, err error) {
	whole := line
	for {
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			return words, columns, nil
		}
		columns = append(columns, utf8.RuneCountInString(whole[:len(whole)-len(line)])+1)
		if line[0] != '"' {
			end := strings.IndexFunc(line, unicode.IsSpace)
			if end < 0 {
				end = len(line)
			}
			words, line = append(words, line[:end]), line[end:]
			continue
		}
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, columns, at(len(words), "the quotes of %s do not close, or hold what Go does not know",
				strings.TrimSpace(line))
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, columns, at(len(words), "cannot read %s: %v", quoted, err)
		}
		line = line[len(quoted):]
		if line != "" && !strings.ContainsRune(" \t\r\n", rune(line[0])) {
			return nil, columns, at(len(words), "%s is followed by %q without a blank", quoted, line[:1])
		}
		words = append(words, word)
	}
}
