package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fileBytesMax is far above any honest configuration: 63 members take 10 KiB.
const fileBytesMax = 1 << 20

// file is a parsed configuration: texts in the nesting that viper wants, and the line of each key.
type file struct {
	name     string
	settings map[string]any
	places   map[string]string
	problems []Problem
}

func readFile(name string, table []Key) (*file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseFile(name, data, table)
}

// parseFile reads one YAML document strictly. It walks the parsed tree itself rather than let a
// decoder convert, since only the tree still knows what was written (true is no id, 5 is no
// duration) and where.
func parseFile(name string, data []byte, table []Key) (*file, error) {
	if len(data) > fileBytesMax {
		return nil, fmt.Errorf("%s: larger than %v: this is no configuration", name, Bytes(fileBytesMax))
	}
	f := &file{name: name, settings: map[string]any{}, places: map[string]string{}}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return f, nil // empty, or comments only
		}
		return nil, fmt.Errorf("%s: not YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: holds more than one document", name)
	}
	root := document.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return f, nil
	}
	f.settings = f.group(root, "", table)
	return f, nil
}

func (f *file) refuse(node *yaml.Node, key, format string, args ...any) {
	f.problems = append(f.problems, Problem{Place: f.at(node), Key: key, Text: fmt.Sprintf(format, args...)})
}

func (f *file) at(node *yaml.Node) string { return fmt.Sprintf("%s:%d", f.name, node.Line) }

// group reads a mapping. Keys of table are relative to the group; path is where the group stands.
func (f *file) group(node *yaml.Node, path string, table []Key) map[string]any {
	if node.Kind != yaml.MappingNode {
		if path == "" {
			path = "the file"
		}
		f.refuse(node, path, "must be a group of keys, is %s", describe(node))
		return nil
	}
	settings := map[string]any{}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key := join(path, name.Value)
		if first, repeated := lines[name.Value]; repeated {
			f.refuse(name, key, "is given twice, first on line %d", first)
			continue
		}
		lines[name.Value] = name.Line
		f.places[key] = f.at(name)
		if given := f.member(name, value, key, table); given != nil {
			settings[name.Value] = given
		}
	}
	return settings
}

// member reads what stands under one key of a group; nil if that is no value.
func (f *file) member(name, value *yaml.Node, key string, table []Key) any {
	if name.Kind != yaml.ScalarNode || strings.Contains(name.Value, ".") {
		f.refuse(name, key, "is no key: groups are nested, not written with dots")
		return nil
	}
	var inner []Key
	for _, k := range table {
		if k.Name == name.Value {
			return f.value(value, key, k.kind)
		}
		if rest, inside := strings.CutPrefix(k.Name, name.Value+"."); inside {
			k.Name = rest
			inner = append(inner, k)
		}
	}
	if inner == nil {
		f.refuse(name, key, "unknown key%s", suggestion(name.Value, table))
		return nil
	}
	if settings := f.group(value, key, inner); len(settings) > 0 {
		return settings
	}
	return nil
}

func (f *file) value(node *yaml.Node, key string, kind *kind) any {
	switch {
	case kind.list == nil && !kind.flat:
		if text, ok := f.scalar(node, key, kind); ok {
			return text
		}
		return nil
	case node.Kind != yaml.SequenceNode:
		f.refuse(node, key, "must be a list, is %s", describe(node))
		return nil
	}
	list := make([]any, 0, len(node.Content))
	for i, item := range node.Content {
		place := fmt.Sprintf("%s[%d]", key, i)
		f.places[place] = f.at(item)
		if kind.flat {
			if text, ok := f.scalar(item, place, kind); ok {
				list = append(list, text)
			}
		} else if settings := f.group(item, place, *kind.list); settings != nil {
			f.complete(item, place, settings, *kind.list)
			list = append(list, settings)
		}
	}
	return list
}

func (f *file) complete(node *yaml.Node, path string, settings map[string]any, table []Key) {
	for _, k := range table {
		if _, given := f.places[join(path, k.Name)]; k.Required && settings[k.Name] == nil && !given {
			f.refuse(node, join(path, k.Name), "is not set")
		}
	}
}

func (f *file) scalar(node *yaml.Node, key string, kind *kind) (string, bool) {
	tag := node.ShortTag()
	switch {
	case node.Kind != yaml.ScalarNode || tag == "!!null" || tag == tagBool && kind != kindBool:
		f.refuse(node, key, "must be %s, is %s", article(kind.name), describe(node))
		return "", false
	case kind == kindDuration && (tag == tagInt || tag == tagFloat):
		// Falls through to read, whose message names the missing unit.
	case !slices.Contains(kind.tags, tag):
		hint := ""
		if kind == kindName || kind == kindPath {
			hint = ": put quotes around it"
		}
		f.refuse(node, key, "must be %s, is %s%s", article(kind.name), describe(node), hint)
		return "", false
	}
	if err := kind.read(node.Value); err != nil {
		f.refuse(node, key, "%v", err)
		return "", false
	}
	if kind.path {
		return resolve(filepath.Dir(f.name), node.Value), true
	}
	return node.Value, true
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a group of keys"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias, which is not supported"
	}
	switch node.ShortTag() {
	case "!!null":
		return "empty: leave the line out, or give a value"
	case tagBool:
		return "the truth value " + node.Value
	case tagInt, tagFloat:
		return "the number " + node.Value
	case tagString:
		return fmt.Sprintf("the text %q", node.Value)
	}
	return fmt.Sprintf("%q of type %s", node.Value, node.ShortTag())
}

func article(noun string) string {
	if noun == "text" || noun == kindBool.name || noun == "bytes" || noun[0] >= '0' && noun[0] <= '9' {
		return noun
	}
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// suggestion names the key that a misspelt one most resembles, if any.
func suggestion(name string, table []Key) string {
	best, bestDistance := "", 3
	for _, k := range table {
		first, _, _ := strings.Cut(k.Name, ".")
		if d := distance(strings.ToLower(name), first); d < bestDistance && d < len(first) {
			best, bestDistance = first, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance counts the insertions, deletions and substitutions between two short texts.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
