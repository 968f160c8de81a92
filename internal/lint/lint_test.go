package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module, found from this package.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func resolver(t *testing.T) Resolver {
	t.Helper()
	packages := make([]string, len(purePackages))
	for i, folder := range purePackages {
		packages[i] = "./" + folder
	}
	resolve, err := Exports(root(t), packages...)
	if err != nil {
		t.Fatal(err)
	}
	return resolve
}

// TestModule holds this module to its own rules.
func TestModule(t *testing.T) {
	sources, err := Read(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range Check(sources, resolver(t)) {
		t.Error(finding)
	}
	t.Logf("%d files", len(sources))
}

// TestImportTableIsAcyclic keeps the table itself honest: packages that import everything aside,
// arrows never form a circle, and every name in it is a package of the table.
func TestImportTableIsAcyclic(t *testing.T) {
	state := map[string]int{}
	var visit func(folder string)
	visit = func(folder string) {
		if state[folder] == 1 {
			t.Errorf("the table allows a circle through %s", folder)
		}
		if state[folder] != 0 {
			return
		}
		state[folder] = 1
		rule, known := ruleOf(folder)
		if !known {
			t.Errorf("%s is allowed, but not in the table", folder)
		}
		for _, imported := range rule.imports {
			if imported != everything {
				visit(imported)
			}
		}
		state[folder] = 2
	}
	for _, rule := range packageRules {
		visit(rule.folder)
	}
}

// TestPlantedFaults plants one fault at a time and expects exactly its finding: file:line: rule, and
// a part of the advice.
func TestPlantedFaults(t *testing.T) {
	resolve := resolver(t)
	for _, test := range plants {
		t.Run(test.name, func(t *testing.T) {
			findings := Check(test.sources, resolve)
			if test.want == "" {
				if len(findings) > 0 {
					t.Errorf("found %v in clean code", findings)
				}
				return
			}
			if len(findings) != 1 {
				t.Fatalf("got %d findings, want 1: %v", len(findings), findings)
			}
			got := findings[0].String()
			if !strings.HasPrefix(got, test.want) || !strings.Contains(got, test.instead) {
				t.Errorf("got %q, want %q and %q in it", got, test.want, test.instead)
			}
		})
	}
}

type plant struct {
	name, want, instead string
	sources             []Source
}

// file makes a Go file whose declarations start on line 5, with one import on line 3.
func file(name, imported, declarations string) []Source {
	if imported != "" {
		imported = "import " + imported
	}
	return []Source{{Name: name, Text: "package p\n\n" + imported + "\n\n" + declarations + "\n"}}
}

func ours(folder string) string { return fmt.Sprintf("_ %q", Module+"/"+folder) }

func lines(n int) string { return strings.Repeat("\t_ = 0\n", n) }

func with(sources []Source, name, text string) []Source {
	return append(sources, Source{Name: name, Text: text})
}

var plants = []plant{
	{"core imports storage", "epaxos/x.go:3: import", "declare the small interface", file("epaxos/x.go", ours("storage"), "")},
	{"core imports deps", "epaxos/x.go:3: import", "internal/node", file("epaxos/x.go", ours("deps"), "")},
	{"a test of the core may import deps", "", "", file("epaxos/x_test.go", ours("deps"), "")},
	{"storage imports core", "storage/x.go:3: import", "bytes", file("storage/x.go", ours("epaxos"), "")},
	{"node imports transport", "internal/node/x.go:3: import", "simulator", file("internal/node/x.go", ours("transport"), "")},
	{"sim imports server", "internal/sim/x.go:3: import", "fake time", file("internal/sim/x.go", ours("server"), "")},
	{"command imports node", "cmd/epaxos/x.go:3: import", "server", file("cmd/epaxos/x.go", ours("internal/node"), "")},
	{"command has packages", "cmd/epaxos/bench/x.go:3: import", "server", file("cmd/epaxos/bench/x.go", ours("storage"), "")},
	{"server imports everything", "", "", file("server/x.go", ours("internal/node"), "")},
	{"unknown package", "misc/x.go:1: unknown package", "table", file("misc/x.go", "", "")},

	{"viper outside config", "server/x.go:3: library", "config.Config", file("server/x.go", `_ "github.com/spf13/viper"`, "")},
	{"msgpack in the core", "epaxos/x.go:3: library", "internal/wire", file("epaxos/x.go", `_ "github.com/vmihailenco/msgpack/v5"`, "")},
	{"badger in node", "internal/node/x.go:3: library", "storage.Store", file("internal/node/x.go", `_ "github.com/dgraph-io/badger/v4"`, "")},
	{"quic in server", "server/x.go:3: library", "transport", file("server/x.go", `_ "github.com/quic-go/quic-go"`, "")},
	{"quic in a test of server", "server/x_test.go:3: library", "transport", file("server/x_test.go", `_ "github.com/quic-go/quic-go"`, "")},
	{"quic in a test of wan", "", "", file("internal/wan/x_test.go", `_ "github.com/quic-go/quic-go"`, "")},
	{"quic in wan", "internal/wan/x.go:3: library", "transport", file("internal/wan/x.go", `_ "github.com/quic-go/quic-go"`, "")},
	{"quic in gateway", "", "", file("clients/gateway/x.go", `_ "github.com/quic-go/quic-go"`, "")},
	{"rapid in a test", "", "", file("deps/x_test.go", `_ "pgregory.net/rapid"`, "")},
	{"rapid in the product", "deps/x.go:3: library", "tests only", file("deps/x.go", `_ "pgregory.net/rapid"`, "")},
	{"library nobody chose", "server/x.go:3: library", "standard library", file("server/x.go", `_ "example.com/left/pad"`, "")},

	{"os", "epaxos/x.go:3: purity", "take bytes", file("epaxos/x.go", `_ "os"`, "")},
	{"os/exec", "deps/x.go:3: purity", "take bytes", file("deps/x.go", `_ "os/exec"`, "")},
	{"net", "execution/x.go:3: purity", "transport", file("execution/x.go", `_ "net"`, "")},
	{"io is pure", "", "", file("internal/wire/x.go", `_ "io"`, "")},
	{"atomic", "epaxos/x.go:3: purity", "one goroutine", file("epaxos/x.go", `_ "sync/atomic"`, "")},
	{"old rand", "epaxos/x.go:3: purity", "math/rand/v2", file("epaxos/x.go", `_ "math/rand"`, "")},
	{"dot import", "epaxos/x.go:3: purity", "name it", file("epaxos/x.go", `. "strings"`, "")},
	{"clock", "epaxos/x.go:5: purity", "time is an argument", file("epaxos/x.go", `"time"`, "var _ = time.Now()")},
	{"renamed clock", "epaxos/x.go:5: purity", "time is an argument", file("epaxos/x.go", `t "time"`, "var _ = t.After")},
	{"duration", "", "", file("epaxos/x.go", `"time"`, "var _ time.Duration = time.Second")},
	{"clock outside the pure packages", "", "", file("server/x.go", `"time"`, "var _ = time.Now()")},
	{"clock in a test", "", "", file("epaxos/x_test.go", `"time"`, "var _ = time.Now()")},
	{"global rand", "epaxos/x.go:5: purity", "*rand.Rand", file("epaxos/x.go", `"math/rand/v2"`, "var _ = rand.IntN(3)")},
	{"seeded rand", "", "", file("epaxos/x.go", `"math/rand/v2"`, "func f(r *rand.Rand) int { return r.IntN(3) }")},
	{"mutex", "execution/x.go:5: purity", "shell", file("execution/x.go", `"sync"`, "var _ sync.Mutex")},
	{"pool in wire", "", "", file("internal/wire/x.go", `"sync"`, "var _ sync.Pool")},
	{"pool in the core", "epaxos/x.go:5: purity", "shell", file("epaxos/x.go", `"sync"`, "var _ sync.Pool")},
	{"goroutine", "epaxos/x.go:5: purity", "goroutines", file("epaxos/x.go", "", "func f() { go f() }")},
	{"channel", "epaxos/x.go:5: purity", "channels", file("epaxos/x.go", "", "type c chan int")},
	{"send", "epaxos/x.go:5: purity", "results", file("epaxos/x.go", "", "func f[T any](c T) { c <- 0 }")},
	{"receive", "epaxos/x.go:5: purity", "arguments", file("epaxos/x.go", "", "func f[T any](c T) { <-c }")},
	{"select", "epaxos/x.go:5: purity", "select", file("epaxos/x.go", "", "func f() { select {} }")},
	{"print", "epaxos/x.go:5: purity", "return the text", file("epaxos/x.go", `"fmt"`, "func f() { fmt.Println() }")},

	{"range over map", "epaxos/x.go:6: map order", "sorted slice", file("epaxos/x.go", "", "func f(m map[int]int) {\nfor range m {\n}\n}")},
	{"range over named map", "deps/x.go:7: map order", "sorted slice", file("deps/x.go", "", "type m map[int]int\nfunc f(v m) {\nfor range v {\n}\n}")},
	{"range over imported map", "internal/wire/x.go:6: map order", "sorted slice",
		file("internal/wire/x.go", `"unicode"`, "func f() {\nfor range unicode.Categories {\n}\n}")},
	{"range over generic map", "epaxos/x.go:6: map order", "sorted slice", file("epaxos/x.go", "", "func f[M ~map[int]int](m M) {\nfor range m {\n}\n}")},
	{"range over slice", "", "", file("epaxos/x.go", "", "func f(m []int) {\nfor range m {\n}\n}")},
	{"excused range", "", "", file("epaxos/x.go", "", "func f(m map[int]int) {\n//lint:ordered the sum has no order\nfor range m {\n}\n}")},
	{"excuse without reason", "epaxos/x.go:7: map order", "reason", file("epaxos/x.go", "", "func f(m map[int]int) {\n//lint:ordered \nfor range m {\n}\n}")},
	{"maps.Keys", "epaxos/x.go:3: map order", "sorted slice", file("epaxos/x.go", `_ "maps"`, "")},
	{"map order in the shell", "", "", file("server/x.go", "", "func f(m map[int]int) {\nfor range m {\n}\n}")},

	{"long file", "server/x.go:501: file length", "file of its own", file("server/x.go", "", strings.Repeat("\n", 497))},
	{"long test file", "", "", file("server/x_test.go", "", strings.Repeat("\n", 900))},
	{"too long test file", "server/x_test.go:1001: file length", "file of its own", file("server/x_test.go", "", strings.Repeat("\n", 997))},
	{"long function", "server/x.go:5: function length", "name", file("server/x.go", "", "func f() {\n"+lines(69)+"}")},
	{"function just short enough", "", "", file("server/x.go", "", "func f() {\n"+lines(68)+"}")},
	{"many parameters", "server/x.go:5: parameters", "struct", file("server/x.go", "", "func f(a, b, c, d, e, f int) {}")},
	{"five parameters", "", "", file("server/x.go", "", "func f(a, b, c int, d, e bool) {}")},
	{"long line", "server/x.go:5: line length", "break", file("server/x.go", "", "// "+strings.Repeat("x", 120))},

	{"leftover", "server/x.go:5: leftover", "README", file("server/x.go", "", "// TO"+"DO later")},
	{"leftover in a document", "docs/x.md:1: leftover", "README", []Source{{"docs/x.md", "FIX" + "ME"}}},
	{"machine path", "docs/x.md:2: machine path", "relative", []Source{{"docs/x.md", "see\n/ho" + "me/me/epaxos"}}},
	{"relative path", "", "", []Source{{"docs/x.md", "docs/work/x, ./home/x"}}},
	{"broken syntax", "server/x.go:1: syntax", "expected", file("server/x.go", "", "func {")},
	{"cited rule that is not there", "deps/x.go:5: citation", "rule D9",
		with(file("deps/x.go", "", "// See docs/protocol.md, rules D1 and D9."), protocolFile, "**D1 prefix.** x\n\n**D2 row.** y\n")},
	{"cited rule", "", "",
		with(file("deps/x.go", "", "// See docs/protocol.md, rules D1,\n// D2. Decision D9 is no rule."), protocolFile, "**D1 prefix.** x\n- **D2 row.** y\n")},
}

// TestReadLeavesNestedModulesOut plants a module below the module.
func TestReadLeavesNestedModulesOut(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "a/a.go", "docs/examples/embed/go.mod", "docs/examples/embed/main.go", "a/testdata/x.go", ".ci/run", ".git/x.go"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("package a\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sources, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, source := range sources {
		names = append(names, source.Name)
	}
	if got := strings.Join(names, " "); got != ".ci/run a/a.go" {
		t.Errorf("read %s", got)
	}
}
