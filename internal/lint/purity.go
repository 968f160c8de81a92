package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// purePackages are machines of values: the same inputs give the same outputs, on every replica, in
// production and in the simulator. internal/node reaches the world through interfaces only, so it
// is held to the same.
var purePackages = []string{
	"epaxos", "deps", "execution", "internal/wire", "internal/watch", "internal/node", "internal/paxos",
}

// impureImports are packages that touch the world, or whose outcome depends on it. A name that ends
// in "/" stands for all packages below it.
var impureImports = []struct{ path, why string }{
	{"os", "I/O belongs to the shell: take bytes, return bytes"},
	{"os/", "I/O belongs to the shell: take bytes, return bytes"},
	{"net", "sockets belong to transport and clients"},
	{"net/", "sockets belong to transport and clients"},
	{"io/fs", "files belong to storage"},
	{"io/ioutil", "files belong to storage"},
	{"path/filepath", "files belong to storage"},
	{"syscall", "system calls belong to the shell"},
	{"log", "return what happened: the shell logs it"},
	{"log/", "return what happened: the shell logs it"},
	{"context", "nothing here waits, so nothing here is cancelled"},
	{"sync/atomic", "one goroutine owns this state"},
	{"crypto/rand", "take a seeded *rand.Rand, so that a seed replays"},
	{"math/rand", "take a *rand.Rand of math/rand/v2, so that a seed replays"},
	{"hash/maphash", "its seed differs in each process: use a hash that is the same everywhere"},
	{"runtime", "the outcome must not depend on the process"},
	{"runtime/", "the outcome must not depend on the process"},
	{"testing", "it belongs in test files"},
	{"unsafe", "write it in safe Go"},
	{"C", "write it in Go"},
}

// partly are packages of which a pure package may use only some names.
var partly = []struct {
	path   string
	names  []string
	only   string // the one folder where names hold; empty is everywhere
	reason string
}{
	{"time", []string{"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"}, "",
		"time is an argument: count ticks, or take a Duration"},
	{"math/rand/v2", []string{"Rand", "Source", "PCG", "ChaCha8", "Zipf", "New", "NewPCG", "NewChaCha8", "NewZipf"}, "",
		"the global generator cannot be replayed: take a *rand.Rand"},
	{"sync", []string{"Pool"}, "internal/wire",
		"one goroutine owns this state: locks belong to the shell"},
}

// printers are functions of fmt that write to the process's output.
var printers = []string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}

func (c *checker) purity(f goFile) {
	aliases := map[string]string{}
	for _, spec := range f.syntax.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		aliases[localName(spec, imported)] = imported
		for _, ban := range impureImports {
			if imported == ban.path || strings.HasSuffix(ban.path, "/") && strings.HasPrefix(imported, ban.path) {
				c.at(f, spec, "purity", "%s imports %s: %s", f.folder, imported, ban.why)
			}
		}
		if spec.Name != nil && spec.Name.Name == "." {
			c.at(f, spec, "purity", "a dot import hides what is used of %s: name it", imported)
		}
	}
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.SelectorExpr:
			c.selector(f, n, aliases)
		case *ast.GoStmt:
			c.at(f, n, "purity", "no goroutines here: return what is to be done, the shell does it")
		case *ast.SelectStmt:
			c.at(f, n, "purity", "no select here: inputs are arguments")
		case *ast.SendStmt:
			c.at(f, n, "purity", "no channels here: outputs are results")
		case *ast.ChanType:
			c.at(f, n, "purity", "no channels here: inputs are arguments, outputs are results")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				c.at(f, n, "purity", "no channels here: inputs are arguments")
			}
		}
		return true
	})
}

func localName(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	parts := strings.Split(imported, "/")
	last := parts[len(parts)-1]
	if len(parts) > 1 && len(last) == 2 && last[0] == 'v' { // math/rand/v2 is rand
		last = parts[len(parts)-2]
	}
	return last
}

func (c *checker) selector(f goFile, n *ast.SelectorExpr, aliases map[string]string) {
	ident, ok := n.X.(*ast.Ident)
	if !ok {
		return
	}
	imported := aliases[ident.Name]
	if imported == "fmt" && slices.Contains(printers, n.Sel.Name) {
		c.at(f, n, "purity", "fmt.%s writes to the process's output: return the text", n.Sel.Name)
	}
	for _, p := range partly {
		if imported != p.path {
			continue
		}
		if !slices.Contains(p.names, n.Sel.Name) || p.only != "" && p.only != f.folder {
			c.at(f, n, "purity", "%s.%s: %s", ident.Name, n.Sel.Name, p.reason)
		}
	}
}

// ordered marks a range over a map whose outcome does not depend on the order, with the reason.
const ordered = "//lint:ordered "

// maps finds ranges over Go maps in the pure packages. It needs types: a range says nothing about
// what it runs over.
func (c *checker) maps(resolve Resolver) {
	for _, folder := range purePackages {
		var files []*ast.File
		var sources []goFile
		for _, f := range c.pure {
			if f.folder == folder {
				files, sources = append(files, f.syntax), append(sources, f)
			}
		}
		if len(files) == 0 {
			continue
		}
		info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
		// Faults in types are the compiler's to report; what could be typed is checked all the same.
		conf := types.Config{Importer: resolve, Error: func(error) {}}
		_, _ = conf.Check(Module+"/"+folder, c.fset, files, info)
		for _, f := range sources {
			c.ranges(f, info)
		}
	}
}

func (c *checker) ranges(f goFile, info *types.Info) {
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		n, ok := node.(*ast.RangeStmt)
		if !ok {
			return true
		}
		typ := info.Types[n.X].Type
		if typ == nil || typ == types.Typ[types.Invalid] {
			c.at(f, n, "map order", "the type of what is ranged over is unknown: does the package compile?")
			return true
		}
		if !rangesMap(typ) || c.excused(f, n) {
			return true
		}
		c.at(f, n, "map order", "the order of a map differs in each run: keep a sorted slice, or put %q "+
			"and the reason why no order matters on the line above", strings.TrimSpace(ordered))
		return true
	})
	// maps.Keys and its kin are the same order in another coat.
	for _, spec := range f.syntax.Imports {
		if spec.Path.Value == `"maps"` {
			c.at(f, spec, "map order", "iterators of package maps have no order: keep a sorted slice")
		}
	}
}

func rangesMap(typ types.Type) bool {
	if parameter, ok := typ.(*types.TypeParam); ok {
		typ = parameter.Constraint()
	}
	if union, ok := typ.Underlying().(*types.Interface); ok {
		for i := range union.NumEmbeddeds() {
			if strings.Contains(union.EmbeddedType(i).String(), "map[") {
				return true
			}
		}
	}
	_, isMap := typ.Underlying().(*types.Map)
	return isMap
}

// excused reports whether the line above a range carries the mark and a reason.
func (c *checker) excused(f goFile, n *ast.RangeStmt) bool {
	for _, group := range f.syntax.Comments {
		for _, comment := range group.List {
			reason, marked := strings.CutPrefix(comment.Text, ordered)
			if marked && strings.TrimSpace(reason) != "" && c.line(comment.Pos()) == c.line(n.Pos())-1 {
				return true
			}
		}
	}
	return false
}
