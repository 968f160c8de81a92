package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// Write makes a commented file of which Load returns c again. Settings that have their default
// stand in it commented out, so that a later default takes effect. Paths inside the file's
// directory are written relative to it, so that the directory can be moved. An invalid c, and a
// file that exists, are refused.
func Write(path string, c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	w := writer{dir: filepath.Dir(path), value: reflect.ValueOf(c)}
	w.line("# One replica of a cluster. docs/configuration.md describes every setting;")
	w.line("# what is commented out has its default.")
	w.table(keys)
	return w.create(path)
}

// writer renders a struct in the order of a table.
type writer struct {
	strings.Builder
	dir   string
	value reflect.Value
	group string
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.Builder, format+"\n", args...) }

func (w *writer) table(table []Key) {
	for _, k := range table {
		group, name, grouped := strings.Cut(k.Name, ".")
		if !grouped {
			group, name = "", k.Name
		}
		if group != w.group || !grouped {
			w.line("")
		}
		if group != w.group && grouped {
			w.line("%s%s:", w.comment(w.allDefault(group, table)), group)
		}
		w.group = group
		w.key(k, name, grouped && w.allDefault(group, table))
	}
}

// key writes one setting; hidden says that the whole group is commented out.
func (w *writer) key(k Key, name string, hidden bool) {
	value := lookup(w.value, k.Name)
	indent := ""
	if w.group != "" {
		indent = "  "
	}
	if hidden {
		indent = "# " + indent
	}
	w.line("%s# %s", indent, k.Help)
	switch {
	case k.kind.list != nil:
		w.line("%s:", name)
		for i := range value.Len() {
			w.entry(value.Index(i), *k.kind.list)
		}
	case k.kind.flat:
		w.line("%s:", name)
		for i := range value.Len() {
			w.line("  - %s", w.scalar(k.kind, value.Index(i)))
		}
	default:
		w.line("%s%s%s: %s", indent, w.comment(!hidden && w.isDefault(k)), name, w.scalar(k.kind, value))
	}
}

func (w *writer) entry(value reflect.Value, table []Key) {
	bullet := "- "
	for _, k := range table {
		field := lookup(value, k.Name)
		if !k.Required && field.IsZero() {
			continue
		}
		w.line("  %s%s: %s", bullet, k.Name, w.scalar(k.kind, field))
		bullet = "  "
	}
}

func (w *writer) comment(out bool) string {
	if out {
		return "# "
	}
	return ""
}

func (w *writer) isDefault(k Key) bool {
	return !k.Required && k.kind.format(lookup(w.value, k.Name)) == k.Default
}

func (w *writer) allDefault(group string, table []Key) bool {
	for _, k := range table {
		if strings.HasPrefix(k.Name, group+".") && !w.isDefault(k) {
			return false
		}
	}
	return true
}

func (w *writer) scalar(k *kind, value reflect.Value) string {
	text := k.format(value)
	if k.path {
		text = relative(w.dir, text)
	}
	switch k {
	case kindName, kindPath, kindAddress, kindAddresses, kindCluster, kindFingerprint:
		return strconv.Quote(text) // texts are printable, for which Go and YAML quote alike
	}
	return text
}

func (k *kind) format(value reflect.Value) string {
	if k.text != nil {
		return k.text(value.Interface())
	}
	return fmt.Sprint(value.Interface())
}

// lookup finds the field that a key of the table decodes into.
func lookup(value reflect.Value, name string) reflect.Value {
	first, rest, inner := strings.Cut(name, ".")
	for i := range value.NumField() {
		if value.Type().Field(i).Tag.Get("mapstructure") == first {
			if inner {
				return lookup(value.Field(i), rest)
			}
			return value.Field(i)
		}
	}
	panic("config: the table has a key without a field: " + name)
}

// relative is the inverse of resolve: how path is written in a file of dir.
func relative(dir, path string) string {
	base, errBase := filepath.Abs(dir)
	target, errTarget := filepath.Abs(path)
	if errBase != nil || errTarget != nil {
		return path
	}
	if inside, err := filepath.Rel(base, target); err == nil && filepath.IsLocal(inside) {
		return inside
	}
	return target
}

func (w *writer) create(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write configuration: %s exists: move it away first", path)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = f.WriteString(w.String())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
