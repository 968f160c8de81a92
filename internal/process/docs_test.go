package process

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is what stands between two fences of a page.
type block struct {
	page string
	line int // of the opening fence
	kind string
	text []string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// console reports whether the block shows a dialogue: commands behind $, and what they print.
func (b *block) console() bool { return len(b.text) > 0 && strings.HasPrefix(b.text[0], "$ ") }

const root = "../.."

// pages are all that is written for people, and what the files are called from here.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(more) == 0 {
			t.Fatalf("%s: %d pages, %v", pattern, len(more), err)
		}
		all = append(all, more...)
	}
	return all
}

func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, line := range strings.Split(string(content), "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !inside:
			blocks = append(blocks, block{page: filepath.Base(page), line: i + 1, kind: fence})
			inside = true
		case isFence:
			inside = false
		case inside:
			last := &blocks[len(blocks)-1]
			last.text = append(last.text, line)
		}
	}
	if inside {
		t.Errorf("%s: a fence is not closed", page)
	}
	return blocks
}

// TestDocumentedCommands: every command line of this program that a page shows has only words and flags that there are.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	inline := regexp.MustCompile("`(?:bin/)?epaxos ([^`]+)`")
	checked := map[string]bool{}
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			text := strings.ReplaceAll(strings.Join(b.text, "\n"), "\\\n", " ")
			for line := range strings.Lines(text) {
				line = strings.TrimPrefix(comment.ReplaceAllString(strings.TrimRight(line, "\n"), ""), "$ ")
				if rest, ours := strings.CutPrefix(strings.TrimSpace(line), "epaxos "); ours {
					checkCommand(t, b.String(), rest, checked)
				}
			}
		}
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range inline.FindAllStringSubmatch(string(content), -1) {
			checkCommand(t, filepath.Base(page), match[1], checked)
		}
	}
	if len(checked) < 20 {
		t.Errorf("only %d commands are documented", len(checked))
	}
}

// checkCommand has the program read a command line and show its help instead of carrying it out.
func checkCommand(t *testing.T, where, text string, checked map[string]bool) {
	t.Helper()
	text, _, _ = strings.Cut(text, " | ")
	var words []string
	for word := range strings.FieldsSeq(text) {
		if strings.ContainsAny(word, "…<>") || word == "--" {
			break
		}
		words = append(words, strings.Trim(word, "'\"[]"))
	}
	if key := strings.Join(words, " "); checked[key] {
		return
	} else {
		checked[key] = true
	}
	out, err := exec.Command(binary, append(words, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: epaxos %s: %v\n%.300s", where, text, err, out)
		return
	}
	// The help of a group of commands is also what an unknown command below it gets.
	usage := "epaxos"
	for _, word := range words {
		if strings.HasPrefix(word, "-") || word != strings.ToLower(word) {
			break
		}
		usage += " " + word
	}
	if strings.Contains(string(out), "Available Commands:") && !strings.Contains(string(out), usage+" ") {
		t.Errorf("%s: epaxos %s: there is no such command", where, text)
	}
}

// TestDocumentedTargets: the targets of make, and the tests, that pages name are there.
func TestDocumentedTargets(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile("(?m)(?:^|`|\\$ )make ([a-z][a-z ]*[a-z])")
	test := regexp.MustCompile(`go test (\./\S+) .*-run '?(Test\w+)`)
	found := 0
	for _, page := range pages(t) {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range target.FindAllStringSubmatch(string(content), -1) {
			for name := range strings.FieldsSeq(match[1]) {
				found++
				if !regexp.MustCompile(`(?m)^` + name + `:`).Match(makefile) {
					t.Errorf("%s: make %s: there is no such target", filepath.Base(page), name)
				}
			}
		}
		for _, match := range test.FindAllStringSubmatch(string(content), -1) {
			found++
			if !hasTest(t, filepath.Join(root, match[1]), match[2]) {
				t.Errorf("%s: %s: no test begins with %s", filepath.Base(page), match[1], match[2])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d targets and tests are documented", found)
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		content, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(content), "\nfunc "+name)
	})
}

// TestBashCompletes presses Tab in a bash that has read the script. What bash-completion would tell it, it tells itself.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	const script = `
_get_comp_words_by_ref() {
	words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}; prev=${words[cword-1]}
}
compopt() { :; }
source <("$0" completion bash)
COMP_WORDS=("$0" "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
__start_epaxos
printf '%s\n' "${COMPREPLY[@]}"`
	for _, c := range []struct{ words, want string }{
		{"sess", "session"}, {"session cl", "close"}, {"experiment fam", "family"}, {"get k --consistency st", "stale"},
		{"get k --consi", "--consistency"},
	} {
		out, err := exec.Command(bash, append([]string{"-c", script, binary}, strings.Fields(c.words)...)...).Output()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("epaxos %s: completed to %q, %v, want %s", c.words, got, err, c.want)
		}
	}
}

// TestEveryPackageIsExplained: the README and docs/architecture.md tell what each folder of internal is for.
func TestEveryPackageIsExplained(t *testing.T) {
	t.Parallel()
	folders, err := filepath.Glob(filepath.Join(root, "internal", "*"))
	if err != nil || len(folders) < 10 {
		t.Fatalf("%d folders, %v", len(folders), err)
	}
	for page, pattern := range map[string]string{"README.md": "`(internal/)?%s`", "docs/architecture.md": "`internal/%s/?`"} {
		content, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, folder := range folders {
			name := filepath.Base(folder)
			if !regexp.MustCompile(fmt.Sprintf(pattern, name)).Match(content) {
				t.Errorf("%s does not tell what internal/%s is", page, name)
			}
		}
	}
}

// TestDocumentedExitCodes: the README has the codes, and the words for them, that the program's help has.
func TestDocumentedExitCodes(t *testing.T) {
	t.Parallel()
	help, err := exec.Command(binary, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^  (\d+)  (.+)$`).FindAllStringSubmatch(string(help), -1)
	if len(codes) < 6 {
		t.Fatalf("only %d exit codes in\n%s", len(codes), help)
	}
	for _, code := range codes {
		if row := fmt.Sprintf("| %s | %s |\n", code[1], code[2]); !strings.Contains(string(readme), row) {
			t.Errorf("the README lacks %s", row)
		}
	}
}

// packages are those that the Go code of pages may use without an import.
var packages = map[string]string{
	"context": "context", "errors": "errors", "expvar": "expvar", "fmt": "fmt", "log": "log", "slog": "log/slog",
	"time":    "time",
	"clients": "clients", "profile": "clients/profile", "recipes": "clients/recipes", "server": "server",
	"execution": "execution", "epaxos": "epaxos",
}

// TestDocumentedGo compiles the Go code of all pages, each block as a body of a function with a ctx that may return an
// error, unless it begins with a package clause.
func TestDocumentedGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	replace := map[string]string{}
	var places []string
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			if b.kind != "go" {
				continue
			}
			file := filepath.Join(dir, fmt.Sprintf("%d.go", len(places)))
			if err := os.WriteFile(file, []byte(programOf(strings.Join(b.text, "\n"))), 0o600); err != nil {
				t.Fatal(err)
			}
			folder, err := filepath.Abs(filepath.Join("documented", fmt.Sprint(len(places))))
			if err != nil {
				t.Fatal(err)
			}
			replace[filepath.Join(folder, "block.go")] = file
			places = append(places, fmt.Sprintf("./documented/%d is %v", len(places), &b))
		}
	}
	if len(places) == 0 {
		t.Fatal("no page has any Go code")
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-overlay", file}
	for i := range places {
		args = append(args, fmt.Sprintf("./documented/%d", i))
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, strings.Join(places, "\n"))
	}
}

// programOf makes a package of a block.
func programOf(text string) string {
	if strings.HasPrefix(text, "package ") {
		return text
	}
	imports := []string{`"context"`}
	for name, path := range packages {
		if name == "context" || !regexp.MustCompile(`\b`+name+`\.`).MatchString(text) {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			path = "github.com/264bc8cf/epaxos/" + path
		}
		imports = append(imports, fmt.Sprintf("%q", path))
	}
	slices.Sort(imports)
	return fmt.Sprintf("package documented\n\nimport (\n%s\n)\n\nfunc block(ctx context.Context) error {\n%s\n"+
		"return nil\n}\n", strings.Join(imports, "\n"), text)
}
