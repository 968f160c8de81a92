package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// line reads one line of the plain form.
func (s *script) line(line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 {
		return err
	}
	switch words[0] {
	case "then", "else":
		one, err := parseStep(words[1:])
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
	rest := words[1:]
	need := 3
	switch words[0] {
	case "if", "if-version", "if-count", "if-lease":
	case "if-exists", "if-absent":
		need = 1
	default:
		return condition{}, fmt.Errorf("begins with %q: need then, else, if, if-version, if-exists, if-absent, "+
			"if-count or if-lease", words[0])
	}
	if len(rest) != need {
		return condition{}, fmt.Errorf("%s has %d words after it: needs %s; quote what has blanks", words[0], len(rest),
			keyword(need == 1, "a key", "a key, a relation and one more"))
	}
	switch words[0] {
	case "if-exists":
		return condition{Key: rest[0], Exists: new(true)}, nil
	case "if-absent":
		return condition{Key: rest[0], Exists: new(false)}, nil
	case "if-lease":
		return condition{Key: rest[0], Relation: rest[1], Lease: rest[2]}, nil
	case "if":
		return condition{Key: rest[0], Relation: rest[1], text: textOf([]byte(rest[2]))}, nil
	}
	number, err := strconv.ParseUint(rest[2], 10, 64)
	switch {
	case err != nil:
		return condition{}, fmt.Errorf("%s %q is not a whole number", strings.TrimPrefix(words[0], "if-"), rest[2])
	case words[0] == "if-count":
		return condition{reach: reach{Prefix: &rest[0]}, Relation: rest[1], Count: &number}, nil
	default:
		return condition{Key: rest[0], Relation: rest[1], Version: &number}, nil
	}
}

func parseStep(words []string) (step, error) {
	if len(words) == 0 {
		return step{}, fmt.Errorf("names no operation: need one of %s", stepNames())
	}
	s := step{Op: words[0]}
	kind, known := stepKinds[s.Op]
	if !known {
		return step{}, fmt.Errorf("%q: need one of %s", s.Op, stepNames())
	}
	if kind.leased && len(words) == 5 && words[3] == "under" {
		s.Lease, words = words[4], words[:3]
	}
	least := 2 + count(kind.value)
	if len(words) < least || len(words) > least+count(kind.delta, kind.limit) {
		return step{}, fmt.Errorf("%s has %d words after it: see epaxos txn --help; quote what has blanks",
			s.Op, len(words)-1)
	}
	if kind.ranged {
		s.Prefix = &words[1]
	} else {
		s.Key = words[1]
	}
	if len(words) == 2 {
		return s, nil
	}
	if kind.value {
		s.text = textOf([]byte(words[2]))
		return s, nil
	}
	number, err := strconv.ParseInt(words[2], 10, 64)
	switch {
	case err != nil:
		return step{}, fmt.Errorf("%q is not a whole number", words[2])
	case kind.delta:
		s.Delta = &number
	default:
		s.Limit = int(number)
	}
	return s, nil
}

// split cuts a line into words. A quoted word may hold anything; # begins a comment.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			return words, nil
		}
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
			return nil, fmt.Errorf("the quotes of %s do not close, or hold what Go does not know", strings.TrimSpace(line))
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", quoted, err)
		}
		line = line[len(quoted):]
		if line != "" && !strings.ContainsRune(" \t\r\n", rune(line[0])) {
			return nil, fmt.Errorf("%s is followed by %q without a blank", quoted, line[:1])
		}
		words = append(words, word)
	}
}
