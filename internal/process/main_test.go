package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// patience bounds every scenario. It is far above what any takes, and no test asserts on it otherwise.
const patience = 3 * time.Minute

// binary is the program under test.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "epaxos-process-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "epaxos")
	args := []string{"build", "-o", binary}
	if raceDetector { // then it watches the replicas, too
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/264bc8cf/epaxos/cmd/epaxos")...)
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the program: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}
