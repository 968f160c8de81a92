package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

// yamlFactor is what the parser of YAML takes for each byte, whose nodes, events and tokens are ten times
// the size of our values. A file of fileBytesMax is refused before, and the operator writes it.
const yamlFactor = 1024

// yamlSeeds are files of which each has one thing in it that YAML offers and no configuration needs.
var yamlSeeds = []string{
	"a: &a [*a]\n", "? {x: y}\n: z\n<<: {}\n", "limits: {queue: 0x10}\ntiming: {tick: !!str 5}\n",
	"a: b\n---\nc: d\n", "%YAML 1.1\n---\na: !!binary aGk=\n", "replica: 1\nreplica: 2\n", "a.b: c\n", "- a\n", "cluster: [\n",
	"dir: |\n  folded\n  text\n", "log: null\n", "members: [1, {}, [], ~, {id: 1, id: 2}]\n", "\t", "\xff\xfe",
	strings.Repeat("[", 200), strings.Repeat("a: {", 50), "name: \"\\u0007\"\n",
}

// FuzzLoad checks that no file crashes the loader, and that what it accepts can be written and read
// again.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	for _, seed := range yamlSeeds {
		f.Add([]byte(seed))
		f.Add([]byte(good + seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		hostile.Cheap(t, yamlFactor, len(data), func() { _, _ = parseFile("fuzz.yaml", data, keys) })
		in, err := parseFile("fuzz.yaml", data, keys)
		if err != nil {
			told(t, err)
			return
		}
		var c Config
		if err := (Source{}).load(in, &c); err != nil {
			told(t, err)
			var problems *Error
			if !errors.As(err, &problems) {
				t.Fatalf("violation of integrity: the table let through what the struct refuses: %v", err)
			}
			return
		}
		again(t, c)
	})
}

// told expects an error that says which file it is about.
func told(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); !strings.Contains(text, "fuzz.yaml") && !strings.Contains(text, "is not set") {
		t.Errorf("the error names no file: %v", err)
	}
}

// again writes a configuration and reads it.
func again(t *testing.T, c Config) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "again.yaml")
	if err := Write(path, c); err != nil {
		t.Fatal(err)
	}
	read, err := Load(Source{File: path})
	if err != nil {
		t.Fatalf("violation of integrity: what was written is refused: %v", err)
	}
	absolute(t, &c)
	absolute(t, &read)
	if !reflect.DeepEqual(read, c) {
		t.Fatalf("violation of integrity: wrote\n%+v\nread\n%+v", c, read)
	}
}

func absolute(t *testing.T, c *Config) {
	for _, path := range []*string{&c.Dir, &c.TLS.CA, &c.TLS.Cert, &c.TLS.Key} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzProfile is FuzzLoad for the profiles of clients.
func FuzzProfile(f *testing.F) {
	const profile = "cluster: 0123456789abcdef0123456789abcdef\nendpoints: [a:1, '[::1]:7']\nca: a\ncert: b\nkey: c\n"
	f.Add([]byte(profile))
	for _, seed := range yamlSeeds {
		f.Add([]byte(seed))
		f.Add([]byte(profile + seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := parseFile("fuzz.yaml", data, profileKeys)
		if err != nil {
			told(t, err)
			return
		}
		p, err := in.profile()
		if err != nil {
			told(t, err)
			return
		}
		path := filepath.Join(t.TempDir(), "again.yaml")
		if err := WriteProfile(path, p); err != nil {
			t.Fatal(err)
		}
		read, err := LoadProfile(path)
		if err != nil || len(read.Endpoints) != len(p.Endpoints) || read.Cluster != p.Cluster {
			t.Fatalf("violation of integrity: wrote %+v, read %+v, %v", p, read, err)
		}
	})
}

// FuzzSetting gives one setting as a variable of the environment, in the form of flags: it is refused with
// the name of the variable, or holds.
func FuzzSetting(f *testing.F) {
	for i, k := range keys {
		f.Add(byte(i), k.Default)
		f.Add(byte(i), "0")
	}
	members := "1=a:1#" + strings.Repeat("1", 64) + "#0x1#site,2=b:1#" + strings.Repeat("2", 64) + "#2"
	f.Add(byte(6), members)
	for i, text := range []string{
		"18446744073709551616", "-1", "1e3", "0x10", "010", "1.5h", "9999999999h", "9GiB", "9223372036854775807GiB", "\x00", "é:1", "[::1]:70000",
		"::", ":", "=", "1=,", "#", "auto", "debug", "json", " 1",
	} {
		f.Add(byte(i), text)
		f.Add(byte(i+12), text)
	}
	path := filepath.Join(f.TempDir(), "fuzz.yaml")
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, which byte, text string) {
		k := keys[int(which)%len(keys)]
		hostile.Cheap(t, hostile.Factor, len(text), func() { _ = k.kind.read(text) })
		c, err := Load(Source{File: path, Env: environment{k.Env(): text}.lookup})
		if err == nil {
			again(t, c)
			return
		}
		if !strings.Contains(err.Error(), k.Env()) && !strings.Contains(err.Error(), "fuzz.yaml") &&
			!strings.Contains(err.Error(), "default: ") {
			t.Errorf("the error says nothing of %s: %v", k.Env(), err)
		}
	})
}
