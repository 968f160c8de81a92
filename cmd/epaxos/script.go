package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/264bc8cf/epaxos/clients"
)

// script is a transaction as a person writes it down.
type script struct {
	If   []condition `json:"if"`
	Then []step      `json:"then"`
	Else []step      `json:"else"`
}

// condition compares a value or, if Version is set, a version.
type condition struct {
	Key      string `json:"key"`
	Relation string `json:"relation"`
	text
	Version *uint64 `json:"version"`
}

// step is one operation: get, put, del or incr.
type step struct {
	Op  string `json:"op"`
	Key string `json:"key"`
	text
	Delta *int64 `json:"delta"`
}

var relations = map[string]clients.Relation{
	"=": clients.Equal, "!=": clients.NotEqual, "<": clients.Less, ">": clients.Greater,
}

// bytes is the value that was given; empty if none was.
func (t *text) bytes() []byte {
	if t.Text != nil {
		return []byte(*t.Text)
	}
	return t.Bytes
}

// given counts the forms in which the value was given.
func (t *text) given() int {
	n := 0
	if t.Text != nil {
		n++
	}
	if t.Bytes != nil {
		n++
	}
	return n
}

func (c *condition) compare() clients.Compare {
	if c.Version != nil {
		return clients.CompareVersion(c.Key, relations[c.Relation], *c.Version)
	}
	return clients.CompareValue(c.Key, relations[c.Relation], c.bytes())
}

func (s *step) operation() clients.Op {
	switch s.Op {
	case "put":
		return clients.OpPut(s.Key, s.bytes())
	case "del":
		return clients.OpDelete(s.Key)
	case "incr":
		return clients.OpIncrement(s.Key, s.delta())
	default:
		return clients.OpGet(s.Key)
	}
}

func (s *step) delta() int64 {
	if s.Delta == nil {
		return 1
	}
	return *s.Delta
}

// parseScript reads lines or JSON, whichever it is. Its errors are about usage.
func parseScript(content []byte) (script, error) {
	var s script
	if trimmed := bytes.TrimSpace(content); len(trimmed) > 0 && trimmed[0] == '{' {
		decoder := json.NewDecoder(bytes.NewReader(trimmed))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&s); err != nil {
			return script{}, usage("the transaction is not as JSON should be: %v", err)
		}
		if _, err := decoder.Token(); err != io.EOF {
			return script{}, usage("the transaction goes on after its closing brace")
		}
		return s, s.check()
	}
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		if err := s.line(line); err != nil {
			return script{}, usage("line %d of the transaction: %v", number, err)
		}
	}
	return s, s.check()
}

// check completes what may be left out and refuses what the fields alone do not.
func (s *script) check() error {
	if len(s.If)+len(s.Then)+len(s.Else) == 0 {
		return usage("the transaction is empty: see epaxos txn --help")
	}
	for i := range s.If {
		c := &s.If[i]
		if c.Relation == "" {
			c.Relation = "="
		}
		if _, known := relations[c.Relation]; !known {
			return usage("condition %d: relation %q: need = != < or >", i+1, c.Relation)
		}
		if given := c.given(); c.Version != nil && given > 0 || c.Version == nil && given != 1 {
			return usage("condition %d: need one of value, value_base64 and version", i+1)
		}
	}
	for _, branch := range []struct {
		name  string
		steps []step
	}{{"then", s.Then}, {"else", s.Else}} {
		for i := range branch.steps {
			if err := branch.steps[i].check(); err != nil {
				return usage("operation %d of %s: %v", i+1, branch.name, err)
			}
		}
	}
	return nil
}

func (s *step) check() error {
	switch {
	case s.Op != "get" && s.Op != "put" && s.Op != "del" && s.Op != "incr":
		return fmt.Errorf("%q: need get, put, del or incr", s.Op)
	case s.Op == "put" && s.given() != 1:
		return fmt.Errorf("put: need one of value and value_base64")
	case s.Op != "put" && s.given() > 0:
		return fmt.Errorf("%s takes no value", s.Op)
	case s.Op != "incr" && s.Delta != nil:
		return fmt.Errorf("%s takes no delta", s.Op)
	}
	return nil
}

// line reads one line of the plain form.
func (s *script) line(line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 {
		return err
	}
	rest := words[1:]
	switch words[0] {
	case "if", "if-version":
		if len(rest) != 3 {
			return fmt.Errorf("%s has %d words after it: need KEY RELATION and one more; quote what has blanks",
				words[0], len(rest))
		}
		c := condition{Key: rest[0], Relation: rest[1], text: textOf([]byte(rest[2]))}
		if words[0] == "if-version" {
			version, err := strconv.ParseUint(rest[2], 10, 64)
			if err != nil {
				return fmt.Errorf("version %q is not a whole number", rest[2])
			}
			c.text, c.Version = text{}, &version
		}
		s.If = append(s.If, c)
		return nil
	case "then", "else":
		one, err := parseStep(rest)
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
	return fmt.Errorf("begins with %q: need if, if-version, then or else", words[0])
}

// stepWords is how many words each operation has, itself included.
var stepWords = map[string]struct{ least, most int }{
	"get": {2, 2}, "del": {2, 2}, "put": {3, 3}, "incr": {2, 3},
}

func parseStep(words []string) (step, error) {
	if len(words) == 0 {
		return step{}, fmt.Errorf("names no operation: need get, put, del or incr")
	}
	s := step{Op: words[0]}
	bounds, known := stepWords[s.Op]
	if !known {
		return step{}, fmt.Errorf("%q: need get, put, del or incr", s.Op)
	}
	if len(words) < bounds.least || len(words) > bounds.most {
		return step{}, fmt.Errorf("%s has %d words after it: see epaxos txn --help; quote what has blanks",
			s.Op, len(words)-1)
	}
	s.Key = words[1]
	switch {
	case s.Op == "put":
		s.text = textOf([]byte(words[2]))
	case len(words) == 3:
		delta, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return step{}, fmt.Errorf("%q is not a whole number", words[2])
		}
		s.Delta = &delta
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
