package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mutant is one planted fault.
type mutant struct {
	name       string
	rule       string // of docs/protocol.md
	fault      string // what is left out, in one sentence
	source     string // where it has happened, or been proved wrong
	equivalent string // why no checker can notice, if none can; such a mutant may survive
	short      bool   // belongs to the subset that every change must pass
	hunts      []hunt
	edits      []edit
}

// hunt is one search, in the words of a catalogue file: "schedules n=5,f=2,e=2 20000".
type hunt struct {
	hunter string
	where  string // what of the hunter, if there is a choice
	runs   int
}

func (h hunt) String() string { return strings.TrimSpace(h.hunter + " " + h.where) }

// edit replaces lines of one file.
type edit struct {
	file     string
	old, new string
}

const extension = ".mutant"

// readCatalogue reads all mutants of a folder, by name.
func readCatalogue(folder string) ([]mutant, error) {
	names, err := filepath.Glob(filepath.Join(folder, "*"+extension))
	if err != nil {
		return nil, err
	}
	var mutants []mutant
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parseMutant(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m.name = strings.TrimSuffix(filepath.Base(name), extension)
		mutants = append(mutants, m)
	}
	return mutants, nil
}

// parseMutant reads one file: lines of "key: value", where an indented line continues the one before, and
// then, for each edit, the marks "--- file", "--- old", "--- new", each followed by what it announces.
func parseMutant(text string) (mutant, error) {
	var m mutant
	head, body, _ := strings.Cut(text, "\n--- file ")
	var fields []string
	for _, line := range strings.Split(strings.TrimSpace(head), "\n") {
		if continued, found := strings.CutPrefix(line, " "); found && len(fields) > 0 {
			fields[len(fields)-1] += " " + strings.TrimSpace(continued)
		} else {
			fields = append(fields, line)
		}
	}
	for _, field := range fields {
		if err := m.field(field); err != nil {
			return m, err
		}
	}
	for _, part := range strings.Split(body, "\n--- file ") {
		file, rest, _ := strings.Cut(part, "\n--- old\n")
		old, replacement, found := strings.Cut(rest, "--- new\n")
		if !found || strings.ContainsAny(file, " \n") || strings.Contains(replacement, "\n--- ") {
			return m, fmt.Errorf("an edit is \"--- file\", \"--- old\" and \"--- new\", not:\n%s", part)
		}
		if replacement != "" && !strings.HasSuffix(replacement, "\n") {
			replacement += "\n" // it was cut off with the mark of the next edit
		}
		m.edits = append(m.edits, edit{file, old, replacement})
	}
	if m.rule == "" || m.fault == "" || m.source == "" || len(m.hunts) == 0 {
		return m, fmt.Errorf("rule, fault, source and at least one hunt must be given")
	}
	return m, nil
}

func (m *mutant) field(line string) error {
	key, value, _ := strings.Cut(line, ": ")
	switch key {
	case "rule":
		m.rule = value
	case "fault":
		m.fault = value
	case "source":
		m.source = value
	case "equivalent":
		m.equivalent = value
	case "short":
		m.short = value == "yes"
	case "hunt":
		h, err := parseHunt(value)
		if err != nil {
			return err
		}
		m.hunts = append(m.hunts, h)
	default:
		return fmt.Errorf("unknown field %q", line)
	}
	return nil
}

func parseHunt(text string) (h hunt, err error) {
	words := strings.Fields(text)
	last := len(words) - 1
	if last >= 1 {
		if h.runs, err = strconv.Atoi(words[last]); err == nil {
			words = words[:last]
		}
	}
	if len(words) > 2 || len(words) == 0 || hunters[words[0]] == nil {
		return h, fmt.Errorf("%q is no hunt: want a hunter, what of it, and how many runs", text)
	}
	h.hunter = words[0]
	if len(words) == 2 {
		h.where = words[1]
	}
	return h, nil
}

// apply returns the changed files of the tree at root, by path. Each edit must fit in exactly one place, so
// that a catalogue that the product has outgrown is noticed, and not a fault that was never planted survives.
func (m *mutant) apply(root string) (map[string][]byte, error) {
	changed := map[string][]byte{}
	for _, e := range m.edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		text, known := changed[path]
		if !known {
			var err error
			if text, err = os.ReadFile(path); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
		}
		old := "\n" + e.old
		if n := bytes.Count(text, []byte(old)); n != 1 {
			return nil, fmt.Errorf("%s: fits in %d places of %s, must in one:\n%s", m.name, n, e.file, e.old)
		}
		text = bytes.Replace(text, []byte(old), []byte("\n"+e.new), 1)
		changed[path] = text
	}
	for path, text := range changed {
		if _, err := format.Source(text); err != nil {
			return nil, fmt.Errorf("%s: %s does not parse: %w", m.name, path, err)
		}
	}
	return changed, nil
}
