package config

import (
	"fmt"
	"path/filepath"
	"reflect"
)

// Profile is what a client needs to reach a cluster. File names in it are relative to the working
// directory or absolute.
type Profile struct {
	Cluster   ClusterID `mapstructure:"cluster"`
	Endpoints []string  `mapstructure:"endpoints"` // host:port of replicas, nearest first
	CA        string    `mapstructure:"ca"`
	Cert      string    `mapstructure:"cert"`
	Key       string    `mapstructure:"key"`
}

// LoadProfile reads a client profile as strictly as Load reads a configuration.
func LoadProfile(path string) (Profile, error) {
	in, err := readFile(path, profileKeys)
	if err != nil {
		return Profile{}, err
	}
	return in.profile()
}

func (f *file) profile() (Profile, error) {
	l := loader{v: merged(profileKeys), places: f.places, problems: f.problems}
	for _, k := range profileKeys {
		if _, given := f.places[k.Name]; !given {
			l.problems = append(l.problems, Problem{Place: f.name, Key: k.Name, Text: "is not set"})
		}
	}
	if len(l.problems) > 0 {
		return Profile{}, &Error{Problems: l.problems}
	}
	if err := l.v.MergeConfigMap(f.settings); err != nil {
		return Profile{}, fmt.Errorf("merge %s: %w", f.name, err)
	}
	var p Profile
	if err := decode(l.v, &p); err != nil {
		return Profile{}, err
	}
	if err := l.locate(p.check()); err != nil {
		return Profile{}, err
	}
	return p, nil
}

// WriteProfile makes a commented file of which LoadProfile returns p again, under the rules of Write.
func WriteProfile(path string, p Profile) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	w := writer{dir: filepath.Dir(path), value: reflect.ValueOf(p)}
	w.line("# A client of a cluster: whom to connect to, and as whom.")
	w.table(profileKeys)
	return w.create(path)
}

// Validate reports everything no client can connect with, as an *Error, or nil.
func (p Profile) Validate() error {
	if problems := p.check(); len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

func (p Profile) check() []Problem {
	ch := &checker{}
	ch.that(p.Cluster != ClusterID{}, "cluster", "is zero: take the id that init made")
	ch.that(len(p.Endpoints) > 0, "endpoints", "is empty: list at least one replica")
	for i, endpoint := range p.Endpoints {
		ch.reachable(fmt.Sprintf("endpoints[%d]", i), endpoint)
	}
	for _, path := range []struct{ key, value string }{{"ca", p.CA}, {"cert", p.Cert}, {"key", p.Key}} {
		ch.path(path.key, path.value)
	}
	return ch.problems
}
