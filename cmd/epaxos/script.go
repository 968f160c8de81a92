package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/264bc8cf/epaxos/clients"
)

// script is a transaction as a person writes it down.
type script struct {
	If   []condition `json:"if"`
	Then []step      `json:"then"`
	Else []step      `json:"else"`
}

// condition compares a value, or else what is set: a version, whether there is such a key, or how many keys
// there are in a range.
type condition struct {
	Key      string `json:"key"`
	Relation string `json:"relation"`
	text
	Version *uint64 `json:"version"`
	Exists  *bool   `json:"exists"`
	reach
	Count *uint64 `json:"count"`
	Lease string  `json:"lease"` // - is none

	lease clients.LeaseID
}

// step is one operation.
type step struct {
	Op  string `json:"op"`
	Key string `json:"key"`
	text
	Delta *int64 `json:"delta"`
	reach
	Limit int    `json:"limit"`
	Lease string `json:"lease"`

	lease clients.LeaseID
}

// reach is a range: the keys with a prefix, or those from one on and before another.
type reach struct {
	Prefix *string `json:"prefix"`
	From   string  `json:"from"`
	To     string  `json:"to"`
}

func (r *reach) span() clients.Span {
	if r.Prefix != nil {
		return clients.Prefix(*r.Prefix)
	}
	return clients.Span{From: r.From, End: r.To}
}

// check refuses what names a range in two ways, and, unless one is needed, what names one.
func (r *reach) check(needed bool) error {
	bounds := r.From != "" || r.To != ""
	switch {
	case r.Prefix != nil && bounds:
		return errors.New("need prefix, or from and to, not both")
	case !needed && (r.Prefix != nil || bounds):
		return errors.New("takes no range")
	}
	return nil
}

// stepKind says what a step of one kind needs, and what it does.
type stepKind struct {
	value  bool // takes one
	delta  bool // may take one
	ranged bool // on a range instead of a key
	limit  bool // may take one
	leased bool // may take a lease
	make   func(s *step) clients.Op
}

var stepKinds = map[string]stepKind{
	"get": {make: func(s *step) clients.Op { return clients.OpGet(s.Key) }},
	"put": {value: true, leased: true, make: func(s *step) clients.Op {
		return clients.OpPut(s.Key, s.bytes(), clients.WithLease(s.lease))
	}},
	"put-if-absent": {value: true, leased: true, make: func(s *step) clients.Op {
		return clients.OpPutIfAbsent(s.Key, s.bytes(), clients.WithLease(s.lease))
	}},
	"append": {value: true, make: func(s *step) clients.Op { return clients.OpAppend(s.Key, s.bytes()) }},
	"swap": {value: true, leased: true, make: func(s *step) clients.Op {
		return clients.OpSwap(s.Key, s.bytes(), clients.WithLease(s.lease))
	}},
	"take": {make: func(s *step) clients.Op { return clients.OpTake(s.Key) }},
	"del":  {make: func(s *step) clients.Op { return clients.OpDelete(s.Key) }},
	"incr": {delta: true, make: func(s *step) clients.Op { return clients.OpIncrement(s.Key, s.delta()) }},
	"add":  {delta: true, make: func(s *step) clients.Op { return clients.OpAdd(s.Key, s.delta()) }},
	"range": {ranged: true, limit: true, make: func(s *step) clients.Op {
		return clients.OpRange(s.span(), clients.Limit(s.Limit))
	}},
	"del-range": {ranged: true, make: func(s *step) clients.Op { return clients.OpDeleteRange(s.span()) }},
}

func stepNames() string { return strings.Join(slices.Sorted(maps.Keys(stepKinds)), ", ") }

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
func (t *text) given() int { return count(t.Text != nil, t.Bytes != nil) }

func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

func (c *condition) compare() clients.Compare {
	switch relation := relations[c.Relation]; {
	case c.Version != nil:
		return clients.CompareVersion(c.Key, relation, *c.Version)
	case c.Exists != nil && *c.Exists:
		return clients.Exists(c.Key)
	case c.Exists != nil:
		return clients.Absent(c.Key)
	case c.Count != nil:
		return clients.CompareCount(c.span(), relation, *c.Count)
	case c.Lease != "":
		return clients.CompareLease(c.Key, relation, c.lease)
	default:
		return clients.CompareValue(c.Key, relation, c.bytes())
	}
}

func (s *step) operation() clients.Op { return stepKinds[s.Op].make(s) }

func (s *step) delta() int64 {
	if s.Delta == nil {
		return 1
	}
	return *s.Delta
}

// name is what a result shows as the key.
func (s *step) name() string {
	switch {
	case !stepKinds[s.Op].ranged:
		return s.Key
	case s.Prefix != nil:
		return *s.Prefix
	default:
		return s.From
	}
}

// parseScript reads lines or JSON, whichever it is. Its errors are about usage, and begin with name, line and column,
// as those of compilers do.
func parseScript(name string, content []byte) (script, error) {
	var s script
	if trimmed := bytes.TrimSpace(content); len(trimmed) > 0 && trimmed[0] == '{' {
		return parseJSON(name, content)
	}
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		if column, err := s.line(line); err != nil {
			return script{}, usage("%s:%d:%d: %v", name, number, column, err)
		}
	}
	return s, s.check(name)
}

func parseJSON(name string, content []byte) (script, error) {
	var s script
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&s)
	if err == nil {
		if _, err := decoder.Token(); err != io.EOF {
			return script{}, usage("%s:%s: the transaction goes on after its closing brace", name,
				placeOf(content, decoder.InputOffset()))
		}
		return s, s.check(name)
	}
	offset := decoder.InputOffset()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	} else if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = wrong.Offset
	}
	return script{}, usage("%s:%s: not as JSON should be: %v", name, placeOf(content, offset), err)
}

// placeOf is a byte of a text as LINE:COLUMN, both from 1.
func placeOf(content []byte, offset int64) string {
	before := content[:min(max(offset, 0), int64(len(content)))]
	begin := bytes.LastIndexByte(before, '\n') + 1
	return fmt.Sprintf("%d:%d", bytes.Count(before, []byte("\n"))+1, max(utf8.RuneCount(before[begin:]), 1))
}

// check completes what may be left out and refuses what the fields alone do not.
func (s *script) check(name string) error {
	if len(s.If)+len(s.Then)+len(s.Else) == 0 {
		return usage("%s: the transaction is empty: see epaxos txn --help", name)
	}
	for i := range s.If {
		if err := s.If[i].check(); err != nil {
			return usage("%s: condition %d: %v", name, i+1, err)
		}
	}
	for _, branch := range []struct {
		name  string
		steps []step
	}{{"then", s.Then}, {"else", s.Else}} {
		for i := range branch.steps {
			if err := branch.steps[i].check(); err != nil {
				return usage("%s: operation %d of %s: %v", name, i+1, branch.name, err)
			}
		}
	}
	return nil
}

func (c *condition) check() error {
	if c.Relation == "" {
		c.Relation = "="
	}
	if _, known := relations[c.Relation]; !known {
		return fmt.Errorf("relation %q: need = != < or >", c.Relation)
	}
	if c.given()+count(c.Version != nil, c.Exists != nil, c.Count != nil, c.Lease != "") != 1 {
		return errors.New("need one of value, value_base64, version, exists, count and lease")
	}
	if err := c.checkLease(); err != nil {
		return err
	}
	if c.Exists != nil && c.Relation != "=" {
		return errors.New("exists takes no relation")
	}
	return c.reach.check(c.Count != nil)
}

func (c *condition) checkLease() (err error) {
	if c.Lease == "" {
		return nil
	}
	if c.Relation != "=" && c.Relation != "!=" {
		return fmt.Errorf("relation %q of a lease: need = or !=", c.Relation)
	}
	c.lease, err = parseLease(c.Lease)
	return err
}

func (s *step) check() error {
	kind, known := stepKinds[s.Op]
	switch {
	case !known:
		return fmt.Errorf("%q: need one of %s", s.Op, stepNames())
	case kind.value && s.given() != 1:
		return fmt.Errorf("%s: need one of value and value_base64", s.Op)
	case !kind.value && s.given() > 0:
		return fmt.Errorf("%s takes no value", s.Op)
	case !kind.delta && s.Delta != nil:
		return fmt.Errorf("%s takes no delta", s.Op)
	case !kind.limit && s.Limit != 0, s.Limit < 0:
		return fmt.Errorf("%s takes no limit %d", s.Op, s.Limit)
	case !kind.leased && s.Lease != "":
		return fmt.Errorf("%s takes no lease", s.Op)
	case kind.ranged && s.Key != "":
		return fmt.Errorf("%s takes no key: need prefix, or from and to", s.Op)
	}
	err := s.reach.check(kind.ranged)
	if err == nil && s.Lease != "" {
		s.lease, err = parseLease(s.Lease)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.Op, err)
	}
	return nil
}
