package main

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func catalogue(t *testing.T) (root string, mutants []mutant) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	mutants, err = readCatalogue("catalogue")
	if err != nil {
		t.Fatal(err)
	}
	return root, mutants
}

// TestCatalogue: every mutant fits the product as it is now, and compiles. What it finds is not asked here.
func TestCatalogue(t *testing.T) {
	root, mutants := catalogue(t)
	if len(mutants) < 55 {
		t.Fatalf("%d mutants", len(mutants))
	}
	rules, err := os.ReadFile(filepath.Join(root, "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	checker := newTypeChecker(t, root)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if !bytes.Contains(rules, []byte("\n**"+m.rule+". ")) || !strings.HasPrefix(m.name, m.rule[:1]) {
				t.Errorf("rule %q is not in docs/protocol.md, or the name does not begin with its letter", m.rule)
			}
			changed, err := m.apply(root)
			if err != nil {
				t.Fatal(err)
			}
			for path := range changed {
				checker.check(t, filepath.Dir(path), changed)
			}
		})
	}
}

// typeChecker checks single packages against the compiled form of what they import.
type typeChecker struct {
	files    *token.FileSet
	importer types.Importer
}

func newTypeChecker(t *testing.T, root string) *typeChecker {
	t.Helper()
	command := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}",
		"./internal/node", "./clients/recipes")
	command.Dir = root
	list, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	compiled := map[string]string{}
	for _, line := range strings.Split(string(list), "\n") {
		path, file, _ := strings.Cut(line, " ")
		compiled[path] = file
	}
	files := token.NewFileSet()
	open := func(path string) (io.ReadCloser, error) { return os.Open(compiled[path]) }
	return &typeChecker{files, importer.ForCompiler(files, "gc", open)}
}

func (c *typeChecker) check(t *testing.T, folder string, changed map[string][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var parsed []*ast.File
	for _, name := range names {
		here, err := build.Default.MatchFile(folder, filepath.Base(name))
		if err != nil {
			t.Fatal(err)
		}
		if !here || strings.HasSuffix(name, "_test.go") {
			continue
		}
		var source any
		if text, mutated := changed[name]; mutated {
			source = text
		}
		file, err := parser.ParseFile(c.files, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	config := types.Config{Importer: c.importer}
	if _, err := config.Check(filepath.Base(folder), c.files, parsed, nil); err != nil {
		t.Error(err)
	}
}

// TestMisfits: a mutant that the product has outgrown is an error that names it.
func TestMisfits(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("package a\n\nvar x = 1\nvar y = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	head := "rule: A1\nfault: f\nsource: s\nhunt: sim 5\n"
	for _, c := range []struct{ name, text, want string }{
		{"absent", head + "\n--- file a.go\n--- old\nvar z = 1\n--- new\n", "fits in 0 places"},
		{"twice", head + "\n--- file a.go\n--- old\nvar \n--- new\n", "fits in 0 places"},
		{"no file", head + "\n--- file b.go\n--- old\nvar z = 1\n--- new\n", "b.go"},
		{"no Go", head + "\n--- file a.go\n--- old\nvar x = 1\n--- new\nvar x = \n", "does not parse"},
		{"no hunt", "rule: A1\nfault: f\nsource: s\n\n--- file a.go\n--- old\nvar x = 1\n--- new\n", "at least one hunt"},
		{"hunter", "hunt: cats 5\n", "no hunt"},
		{"field", "hunted: sim 5\n", "unknown field"},
		{"marks", head + "\n--- file a.go\n--- new\nvar x = 1\n", "an edit is"},
	} {
		m, err := parseMutant(c.text)
		if err == nil {
			_, err = m.apply(root)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	m, err := parseMutant(head + "\n--- file a.go\n--- old\nvar x = 1\n--- new\nvar x = 2\n\n" +
		"--- file a.go\n--- old\nvar y = 1\n--- new\n")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := m.apply(root)
	if got := string(changed[filepath.Join(root, "a.go")]); err != nil || got != "package a\n\nvar x = 2\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestJudge: only a checker of an invariant kills.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		output  string
		checker string
		seeds   int
	}{
		{"--- FAIL: TestSeeds\n    x.go:1: seed 17: violation of order: r1 and r2\n", "order", 17},
		{"x.go:1: violation of commit-votes: 1.1\nfound after 345 states, with\n", "commit-votes", 345},
		{"--- FAIL: TestScripts/story (0.0s)\n deliver: violation of agreement: r2 commits 1.1\n", "agreement", 0},
		{"panic: runtime error\n\ngoroutine 7\n", "", 0},
		{"script.txt:12: expected:\nr1 commits\nfound:\nr1 waits\n", "", 0},
		{"seed 5: violation of taste: it is ugly\n", "", 0},
		{"seed 5: violation of order\n", "", 0},
	} {
		k := judge(c.output)
		if (k == nil) != (c.checker == "") || k != nil && (k.checker != c.checker || k.seeds != c.seeds) {
			t.Errorf("%q: %+v", c.output, k)
		}
	}
}

// TestVerdict: a survivor fails the campaign unless it is argued away, and the table shows both.
func TestVerdict(t *testing.T) {
	var out bytes.Buffer
	c := campaign{out: &out}
	c.add(result{mutant: mutant{name: "A", rule: "A1"}, hunt: hunt{hunter: "sim"}, kill: &kill{checker: "once", seeds: 7}})
	c.add(result{mutant: mutant{name: "B", equivalent: "the same"}})
	if err := c.verdict(); err != nil {
		t.Error(err)
	}
	c.add(result{mutant: mutant{name: "C"}})
	if err := c.verdict(); err == nil || !strings.HasSuffix(err.Error(), ": C") {
		t.Errorf("verdict %v", err)
	}
	c.table()
	row := regexp.MustCompile(`(?m)^\| A +\| A1 +\| +\| sim +\| once +\| 7 +\| 0\.00 +\|$`)
	if !row.MatchString(out.String()) {
		t.Errorf("no row for A in\n%s", &out)
	}
}
