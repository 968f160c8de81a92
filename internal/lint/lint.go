package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the import path of this module.
const Module = "github.com/264bc8cf/epaxos"

// Finding is one breach of a rule.
type Finding struct {
	File    string // relative to the module, with slashes
	Line    int
	Rule    string
	Instead string // what is wrong, and what to do instead
}

// String is one line that editors can jump to.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Instead)
}

// Source is one text file of the module.
type Source struct {
	Name string // relative to the module, with slashes
	Text string
}

// Read collects the module's text files below root. Nested modules, dot directories other than
// .ci, and testdata are left out.
func Read(root string) ([]Source, error) {
	var sources []Source
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return enter(root, name, entry.Name())
		}
		if !isText(entry.Name()) {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		sources = append(sources, Source{Name: filepath.ToSlash(relative), Text: string(text)})
		return err
	})
	return sources, err
}

func enter(root, name, base string) error {
	if name == root {
		return nil
	}
	if base == "testdata" || strings.HasPrefix(base, ".") && base != ".ci" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func isText(base string) bool {
	return slices.Contains([]string{".go", ".md", ".yml", ".yaml", ".sh"}, path.Ext(base)) ||
		base == "Makefile" || base == "run"
}

// Check applies every rule to the sources and returns what it finds, by file and line. resolve is
// asked for the compiled packages that the pure ones import; see Exports.
func Check(sources []Source, resolve Resolver) []Finding {
	c := &checker{fset: token.NewFileSet(), rules: citable(sources)}
	for _, source := range sources {
		c.text(source)
		if path.Ext(source.Name) == ".go" {
			c.source(source)
		}
	}
	c.maps(resolve)
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return c.findings
}

type checker struct {
	fset     *token.FileSet
	rules    map[string]bool // ids that docs/protocol.md defines
	pure     []goFile
	findings []Finding
}

// goFile is a parsed source of a known package.
type goFile struct {
	Source
	syntax *ast.File
	folder string
	test   bool
}

func (c *checker) source(source Source) {
	syntax, err := parser.ParseFile(c.fset, source.Name, source.Text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		c.add(source.Name, 1, "syntax", "%v", err)
		return
	}
	f := goFile{
		Source: source, syntax: syntax,
		folder: path.Dir(source.Name), test: strings.HasSuffix(source.Name, "_test.go"),
	}
	c.imports(f)
	c.budgets(f)
	c.citations(f)
	if slices.Contains(purePackages, f.folder) && !f.test {
		c.pure = append(c.pure, f)
		c.purity(f)
	}
}

func (c *checker) add(file string, line int, rule, format string, args ...any) {
	c.findings = append(c.findings, Finding{File: file, Line: line, Rule: rule, Instead: fmt.Sprintf(format, args...)})
}

func (c *checker) at(f goFile, node ast.Node, rule, format string, args ...any) {
	c.add(f.Name, c.line(node.Pos()), rule, format, args...)
}

func (c *checker) line(pos token.Pos) int { return c.fset.Position(pos).Line }
