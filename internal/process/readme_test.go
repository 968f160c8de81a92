package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReadme carries out the dialogues of the README, one after the other, in one directory. What they print must be
// what is written there, but for times, sizes, names of clusters, and which replica answered on which path.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("starts five replicas, and demonstrations")
	}
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("the dialogues are those of a bash")
	}
	d := newDialogue(t)
	said := 0
	for _, b := range blocksOf(t, filepath.Join(root, "README.md")) {
		if !b.console() {
			continue
		}
		for len(b.text) > 0 {
			command := strings.TrimPrefix(b.text[0], "$ ")
			end := 1 + slices.IndexFunc(append(b.text[1:], "$ "), func(s string) bool { return strings.HasPrefix(s, "$ ") })
			want := b.text[1:end]
			b.text = b.text[end:]
			said++
			d.expect(&b, command, want)
		}
	}
	if said < 10 {
		t.Errorf("only %d commands in the README", said)
	}
}

// dialogue is a shell in a directory of its own, where bin/epaxos is the program under test.
type dialogue struct {
	t        *testing.T
	in       io.Writer
	out      *bufio.Reader
	errs     *strings.Builder
	base     int // the port that 7400 stands for
	replicas int // that were made so far
}

const asked = "=== that was all, with code "

func newDialogue(t *testing.T) *dialogue {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "bin"), 0o700),
		os.Symlink(binary, filepath.Join(dir, "bin", "epaxos"))); err != nil {
		t.Fatal(err)
	}
	bash := exec.Command("bash", "--noprofile", "--norc")
	bash.WaitDelay = time.Second // for what is left of it, if it cannot end its jobs
	d := &dialogue{t: t, errs: &strings.Builder{}, base: freePorts(t, 6)}
	bash.Dir, bash.Stderr = dir, d.errs
	bash.Env = append(os.Environ(), "EPAXOS_HISTORY=")
	in, err := bash.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := bash.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := bash.Start(); err != nil {
		t.Fatal(err)
	}
	d.in, d.out = in, bufio.NewReader(out)
	t.Cleanup(func() {
		_, _ = io.WriteString(in, "for job in $(jobs -p); do kill -9 -- -$job; done 2>/dev/null; exit 0\n")
		if err := bash.Wait(); err != nil {
			t.Errorf("the shell: %v", err)
		}
	})
	d.say("set -m") // so that %3 is the third replica
	return d
}

// say has the shell carry out one line, and returns what it printed, and its code.
func (d *dialogue) say(command string) ([]string, string) {
	d.t.Helper()
	if _, err := fmt.Fprintf(d.in, "%s\nprintf '\\n%s%%d\\n' $?\n", command, asked); err != nil {
		d.t.Fatal(err)
	}
	var lines []string
	for {
		line, err := d.out.ReadString('\n')
		if err != nil {
			d.t.Fatalf("%s: %v\n%s%s", command, err, strings.Join(lines, "\n"), d.errs)
		}
		line = strings.TrimSuffix(line, "\n")
		if code, ended := strings.CutPrefix(line, asked); ended {
			return lines, code
		}
		lines = append(lines, line)
	}
}

func (d *dialogue) expect(b *block, command string, want []string) {
	d.t.Helper()
	line := d.adapt(command)
	// What is typed at the prompt of epaxos shell is what it is given here, where it shows no prompt.
	var typed []string
	want = slices.DeleteFunc(slices.Clone(want), func(shown string) bool {
		line, prompted := strings.CutPrefix(shown, "epaxos> ")
		if prompted {
			typed = append(typed, line)
		}
		return prompted
	})
	if len(typed) > 0 {
		line = fmt.Sprintf("%s <<'END OF LINES'\n%s\nEND OF LINES", line, strings.Join(typed, "\n"))
	}
	got, code := d.say(line)
	if code != "0" {
		d.t.Errorf("%v: %s: code %s\n%s\n%s", b, command, code, strings.Join(got, "\n"), d.errs)
	}
	if len(strings.Join(want, "")) == 0 {
		return // what it prints is not shown
	}
	a, z := masked(d.undo(want)), masked(d.undo(got))
	if more := slices.Index(a, "..."); more >= 0 {
		a = a[:more]
	}
	if !strings.Contains("\n"+strings.Join(z, "\n")+"\n", "\n"+strings.Join(a, "\n")+"\n") {
		const report = "%v: %s\nprints\n%s\nand not\n%s\nthat is, with all that may differ masked,\n%s\nand not\n%s\n%s"
		d.t.Errorf(report, b, command,
			strings.Join(got, "\n"), strings.Join(want, "\n"), strings.Join(z, "\n"), strings.Join(a, "\n"), d.errs)
	}
}

var (
	comment    = regexp.MustCompile(`\s+# .*$`)
	port       = regexp.MustCompile(`127\.0\.0\.1:74(\d\d)`)
	background = regexp.MustCompile(`(serve --config \S+) &`)
)

// adapt makes a command fit a machine where other tests run, and a test that has no minutes to spend.
func (d *dialogue) adapt(command string) string {
	command = comment.ReplaceAllString(command, "")
	if command == "go build -o bin/epaxos ./cmd/epaxos" || command == "go test ./..." {
		return ":" // done already; what runs now
	}
	command = strings.Replace(command, "go run ./cmd/epaxos", "bin/epaxos", 1)
	command = port.ReplaceAllStringFunc(command, func(s string) string {
		return fmt.Sprintf("127.0.0.1:%d", d.base+int(s[len(s)-1]-'0'))
	})
	command = background.ReplaceAllString(command, "$1 >>serve.log 2>&1 &")
	switch {
	case strings.Contains(command, "epaxos demo"):
		command += " --duration 500ms"
	case strings.Contains(command, "epaxos experiment"):
		command += " --duration 1s --warmup 100ms --conflicts 0,100 --protocols epaxos"
	case strings.Contains(command, "epaxos watch"):
		// Who writes the next command sees that the watch has begun.
		command += " until grep -q current changes; do sleep 0.05; done"
	case strings.Contains(command, "epaxos init"):
		d.replicas = 3
		command += fmt.Sprintf(" --base-port %d", d.base)
	case strings.Contains(command, "member add"), strings.Contains(command, "member replace"):
		// It waits until somebody starts the new replica.
		d.replicas++
		config := fmt.Sprintf("cluster/n%d/config.yaml", d.replicas)
		serve := fmt.Sprintf("until test -e %s; do sleep 0.05; done; bin/epaxos serve --config %s", config, config)
		command = fmt.Sprintf("{ %s; } >>serve.log 2>&1 & %s", serve, command)
	}
	return command
}

// undo writes the ports of the page, and cuts empty lines from both ends.
func (d *dialogue) undo(lines []string) []string {
	text := strings.Trim(strings.Join(lines, "\n"), "\n")
	for i := range 10 {
		text = strings.ReplaceAll(text, fmt.Sprintf("127.0.0.1:%d", d.base+i), fmt.Sprintf("127.0.0.1:74%02d", i))
	}
	return strings.Split(text, "\n")
}

// freePorts finds so many UDP ports in a row, behind the one it returns.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		base, free := first.LocalAddr().(*net.UDPAddr).Port-1, 1
		for ; free < n; free++ {
			next, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: base + 1 + free})
			if err != nil {
				break
			}
			defer next.Close() //nolint:errcheck // nothing was sent
		}
		first.Close() //nolint:errcheck // nothing was sent
		if free == n {
			return base
		}
	}
	t.Fatalf("no %d ports in a row", n)
	return 0
}

// volatile are the columns of tables that differ from run to run.
var volatile = []string{
	"PATH", "UPTIME", "EXECUTED", "BEHIND", "LED", "FAST", "WAITING", "DISK", "FREE", "LAG", "SILENT", "AGE", "TTL",
	"TOKEN", "LEASE", "CUT",
}

var (
	heading = regexp.MustCompile(`^[A-Z][A-Z ]+$`)
	gap     = regexp.MustCompile(`\t+|\s{2,}`)
	differs = regexp.MustCompile(`\b[0-9a-f]{32}\b|\b\d+(\.\d+)?(ms|µs|s|m|[KMGT]?i?B)\b|\d+\.\d+`)
	who     = regexp.MustCompile(`replica \d+( on the (fast|slow) path)?`)
	numbers = regexp.MustCompile(`\d+(\.\d+)?`)
)

// masked replaces what may differ from run to run.
func masked(lines []string) []string {
	var head []string
	measures := false // lines of a table that holds nothing else
	all := make([]string, len(lines))
	for i, line := range lines {
		cells := gap.Split(strings.TrimSpace(line), -1)
		switch {
		case len(cells) > 1 && heading.MatchString(line):
			head = cells
			all[i] = strings.Join(cells, " | ")
		case len(cells) > 1 && len(cells) == len(head):
			for j, name := range head {
				if slices.Contains(volatile, name) || name == "REPLICA" && j > 0 {
					cells[j] = "~"
				}
			}
			all[i] = strings.Join(cells, " | ")
		case cells[0] == "region", len(cells) > 1 && measures:
			measures = true
			all[i] = numbers.ReplaceAllString(strings.Join(cells, " | "), "~")
		default:
			head, measures = nil, false
			line = gap.ReplaceAllString(strings.TrimSpace(line), "  ")
			all[i] = differs.ReplaceAllString(who.ReplaceAllString(line, "replica ~"), "~")
		}
	}
	return all
}
