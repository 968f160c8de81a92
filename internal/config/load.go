package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// Source is where the settings of a replica come from. Every field may be zero.
type Source struct {
	// File is the name of a YAML file; empty is none. Paths in it are relative to its directory.
	File string
	// Flags holds flags that AddFlags defined. Only those that were set count.
	Flags *pflag.FlagSet
	// Env looks up an environment variable, as os.LookupEnv does. An empty variable counts as unset.
	Env func(name string) (value string, found bool)
}

// Problem is one reason why a configuration cannot be used.
type Problem struct {
	Place string // file and line, flag, environment variable or "default"; empty if there is no value
	Key   string
	Text  string
}

// String is one line: place, key, reason.
func (p Problem) String() string {
	if p.Place == "" {
		return p.Key + ": " + p.Text
	}
	return p.Place + ": " + p.Key + ": " + p.Text
}

// Error holds everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error has one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// AddFlags defines a flag for every setting of a replica.
func AddFlags(flags *pflag.FlagSet) {
	for _, k := range keys {
		flags.Var(&flagValue{kind: k.kind, text: k.Default}, k.Flag(), k.Help)
	}
}

type flagValue struct {
	kind *kind
	text string
}

func (v *flagValue) String() string { return v.text }
func (v *flagValue) Type() string   { return v.kind.name }
func (v *flagValue) Set(text string) error {
	if err := v.kind.read(text); err != nil {
		return err
	}
	v.text = text
	return nil
}

// Load merges the sources, flags over environment over file over defaults, and validates the
// result. The error is an *Error where settings are at fault, with all of them; otherwise it tells
// what kept the file from being read.
func Load(source Source) (Config, error) {
	var c Config
	in := &file{}
	if source.File != "" {
		var err error
		if in, err = readFile(source.File, keys); err != nil {
			return Config{}, err
		}
	}
	if err := source.load(in, &c); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (source Source) load(in *file, c *Config) error {
	l := loader{v: merged(keys), places: map[string]string{}, problems: in.problems}
	if err := l.v.MergeConfigMap(in.settings); err != nil {
		return fmt.Errorf("merge %s: %w", in.name, err)
	}
	for key, place := range in.places {
		l.places[key] = place
	}
	if err := l.environment(source.Env); err != nil {
		return err
	}
	if err := l.flags(source.Flags); err != nil {
		return err
	}
	l.required(keys)
	if len(l.problems) > 0 {
		return &Error{Problems: l.problems}
	}
	if err := decode(l.v, c); err != nil {
		return err
	}
	return l.locate(c.check())
}

// loader merges sources in viper, and remembers which source gave each key.
type loader struct {
	v        *viper.Viper
	places   map[string]string
	problems []Problem
}

// merged is a viper of its own that knows every key of a table: viper decodes only keys it knows.
func merged(table []Key) *viper.Viper {
	v := viper.New()
	for _, k := range table {
		if !k.Required {
			v.SetDefault(k.Name, k.Default)
		}
	}
	return v
}

// environment lays variables over the file. They are merged as configuration rather than bound:
// bound ones would come from the process, which no test could vary.
func (l *loader) environment(lookup func(string) (string, bool)) error {
	if lookup == nil {
		return nil
	}
	for _, k := range keys {
		text, found := lookup(k.Env())
		if !found || text == "" {
			continue
		}
		place := "environment " + k.Env()
		l.places[k.Name] = place
		if err := k.kind.read(text); err != nil {
			l.problems = append(l.problems, Problem{Place: place, Key: k.Name, Text: err.Error()})
			continue
		}
		if err := l.v.MergeConfigMap(nest(k.Name, text)); err != nil {
			return fmt.Errorf("merge %s: %w", place, err)
		}
	}
	return nil
}

func (l *loader) flags(flags *pflag.FlagSet) error {
	if flags == nil {
		return nil
	}
	for _, k := range keys {
		flag := flags.Lookup(k.Flag())
		if flag == nil || !flag.Changed {
			continue // a flag's default must not hide that a required key is missing
		}
		l.places[k.Name] = "flag --" + k.Flag()
		if err := l.v.BindPFlag(k.Name, flag); err != nil {
			return fmt.Errorf("bind flag --%s: %w", k.Flag(), err)
		}
	}
	return nil
}

func (l *loader) required(table []Key) {
	for _, k := range table {
		// A value that was given and refused has its own problem already.
		if _, given := l.places[k.Name]; k.Required && !given {
			text := fmt.Sprintf("is not set: give it in the file, as --%s or as %s", k.Flag(), k.Env())
			l.problems = append(l.problems, Problem{Key: k.Name, Text: text})
		}
	}
}

// locate adds to each problem the place of its value, or of the nearest key around it.
func (l *loader) locate(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	for i := range problems {
		key := problems[i].Key
		for key != "" && problems[i].Place == "" {
			problems[i].Place = l.places[key]
			key = key[:max(strings.LastIndexAny(key, ".["), 0)]
		}
		if problems[i].Place == "" {
			problems[i].Place = "default" // given values leave no room for it
		}
	}
	return &Error{Problems: problems}
}

// nest makes the groups of a dotted name.
func nest(name, text string) map[string]any {
	first, rest, inner := strings.Cut(name, ".")
	if !inner {
		return map[string]any{first: text}
	}
	return map[string]any{first: nest(rest, text)}
}

// decode fills a struct from the merged texts. All texts were checked in their sources, so an error
// means that the table and the struct do not fit each other.
func decode(v *viper.Viper, into any) error {
	if err := v.UnmarshalExact(into, viper.DecodeHook(mapstructure.DecodeHookFuncType(decodeText))); err != nil {
		return fmt.Errorf("decode configuration: %w", err)
	}
	return nil
}

// decodeText reads a text as the type of the field that it is for, by the rules of its kind.
func decodeText(from, to reflect.Type, data any) (any, error) {
	text, isText := data.(string)
	if !isText {
		return data, nil
	}
	if unmarshaler, ok := reflect.New(to).Interface().(encoding.TextUnmarshaler); ok {
		return unmarshaler, unmarshaler.UnmarshalText([]byte(text))
	}
	switch {
	case to == reflect.TypeFor[time.Duration]():
		return parseDuration(text)
	case to == reflect.TypeFor[Bytes]():
		return parseBytes(text)
	case to == reflect.TypeFor[[]Member]():
		return parseMembers(text)
	case to.Kind() == reflect.Bool:
		return parseBool(text)
	case to.Kind() == reflect.Int:
		return parseQuorum(text)
	case to.Kind() == reflect.Uint32:
		return parseReplica(text)
	case to.Kind() == reflect.Uint64:
		return parseIncarnation(text)
	}
	return data, nil
}
