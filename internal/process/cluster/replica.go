package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/config"
)

// Replica is one process after another on one data directory.
type Replica struct {
	ID      epaxos.ReplicaID
	Addr    string // where it listens
	Data    string // data directory
	LogFile string // what all its processes printed
	Disk    *Disk  // its file system, if it has one of its own

	cluster  *Cluster
	config   string // file
	settings config.Config
	flags    []string
	log      *os.File
	process  *process // the last; nil before the first
}

// process is one life of a replica.
type process struct {
	cmd   *exec.Cmd
	meant atomic.Bool   // it may end
	up    chan struct{} // closed when it says that it listens
	ended chan struct{} // closed when it has ended
}

// Running reports whether a process of the replica runs.
func (r *Replica) Running() bool {
	if r.process == nil {
		return false
	}
	select {
	case <-r.process.ended:
		return false
	default:
		return true
	}
}

// Launch begins a process that may end by itself, as one must that finds its directory damaged. See
// Start for one that must not.
func (r *Replica) Launch() error {
	if r.Running() {
		return fmt.Errorf("replica %d runs already", r.ID)
	}
	if r.log == nil {
		file, err := os.OpenFile(r.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("open the log of a replica: %w", err)
		}
		r.log = file
	}
	p := &process{up: make(chan struct{}), ended: make(chan struct{})}
	p.meant.Store(true)
	p.cmd = exec.Command(r.cluster.options.Binary, append([]string{"serve", "--config", r.config}, r.flags...)...)
	p.cmd.Stderr = r.log
	p.cmd.Stdout = &announcement{text: []byte("listens at " + r.Addr), found: p.up, to: r.log}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start replica %d: %w", r.ID, err)
	}
	r.process = p
	go r.reap(p)
	return nil
}

// Start runs the replica and returns when it listens. From then on it must not end unasked.
func (r *Replica) Start(ctx context.Context) error {
	if err := r.Launch(); err != nil {
		return err
	}
	p := r.process
	select {
	case <-p.up:
		return r.MustLive()
	case <-p.ended:
		return fmt.Errorf("violation of progress: replica %d ended with %v instead of listening; see %s",
			r.ID, p.cmd.ProcessState, r.LogFile)
	case <-ctx.Done():
		return fmt.Errorf("violation of progress: replica %d does not say that it listens: %w", r.ID, context.Cause(ctx))
	}
}

// MustLive says that the running process must not end by itself any more.
func (r *Replica) MustLive() error {
	r.process.meant.Store(false)
	if !r.Running() { // it may have ended before
		return fmt.Errorf("violation of progress: replica %d ended with %v; see %s",
			r.ID, r.process.cmd.ProcessState, r.LogFile)
	}
	return nil
}

// SetFlags gives the next processes of the replica other flags of serve.
func (r *Replica) SetFlags(flags ...string) { r.flags = flags }

// MayEnd takes MustLive back: the process is about to be told to end by another.
func (r *Replica) MayEnd() { r.process.meant.Store(true) }

func (r *Replica) reap(p *process) {
	err := p.cmd.Wait()
	meant := p.meant.Load()
	close(p.ended)
	if meant {
		return
	}
	select {
	case r.cluster.deaths <- fmt.Errorf("violation of progress: replica %d ended unasked: %w; see %s",
		r.ID, errors.Join(err, errEnded), r.LogFile):
	default: // one is enough
	}
}

var errEnded = errors.New("the process has ended")

func (r *Replica) signalEnd(signal os.Signal) error {
	if r.process == nil {
		return fmt.Errorf("replica %d was never started", r.ID)
	}
	r.process.meant.Store(true)
	if err := r.process.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("send %v to replica %d: %w", signal, r.ID, err)
	}
	return nil
}

// killed waits for the end of a process that was killed, and makes sure that this is why it ended.
func (r *Replica) killed() error {
	<-r.process.ended
	status, ok := r.process.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("violation of progress: replica %d was killed, but ended with %v before",
			r.ID, r.process.cmd.ProcessState)
	}
	return nil
}

// Kill ends the process without warning, as a failure of its machine would, but for the cache of
// the file system.
func (r *Replica) Kill() error {
	if err := r.signalEnd(os.Kill); err != nil {
		return err
	}
	return r.killed()
}

// Murder kills the process as Kill does, and lets it look as if it had ended by itself.
func (r *Replica) Murder() error { return r.process.cmd.Process.Kill() }

// Terminate asks the process to end and returns its exit code.
func (r *Replica) Terminate(ctx context.Context) (int, error) {
	if err := r.signalEnd(syscall.SIGTERM); err != nil {
		return -1, err
	}
	return r.Wait(ctx)
}

// Wait returns the exit code of the process once it has ended; -1 is that of a signal.
func (r *Replica) Wait(ctx context.Context) (int, error) {
	select {
	case <-r.process.ended:
		return r.process.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return -1, fmt.Errorf("violation of progress: replica %d does not end: %w", r.ID, context.Cause(ctx))
	}
}

// Pause stops the process as it is, and returns when it stands still. It knows nothing of it.
func (r *Replica) Pause(ctx context.Context) error {
	if err := r.process.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop replica %d: %w", r.ID, err)
	}
	for !standsStill(r.process.cmd.Process.Pid) {
		if !Sleep(ctx) {
			return fmt.Errorf("replica %d does not stand still: %w", r.ID, context.Cause(ctx))
		}
	}
	return nil
}

// Resume lets a paused process go on.
func (r *Replica) Resume() error {
	if err := r.process.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("continue replica %d: %w", r.ID, err)
	}
	return nil
}

// standsStill asks the kernel, where it can be asked.
func standsStill(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, found := bytes.Cut(stat, []byte(") ")) // after the name, which is in brackets
	return found && len(state) > 0 && state[0] == 'T'
}

// CPU is the processor time that the running process has used, in seconds.
func (r *Replica) CPU() (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.process.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var user, system float64 // the 14th and 15th field, in hundredths of a second
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	fields := bytes.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("the status of process %d cannot be read", r.process.cmd.Process.Pid)
	}
	_, err = fmt.Sscan(string(fields[11])+" "+string(fields[12]), &user, &system)
	return (user + system) / 100, err
}

// Log is what all processes of the replica printed so far.
func (r *Replica) Log() (string, error) {
	text, err := os.ReadFile(r.LogFile)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

func (r *Replica) closeLog() {
	if r.log != nil {
		r.log.Close() //nolint:errcheck // the processes that wrote it have ended
	}
}

// Sleep keeps the polls of a condition apart; false if the context has ended.
func Sleep(ctx context.Context) bool {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

const pollEvery = 20 * time.Millisecond

// announcement passes on what a process prints, and closes found at a text.
type announcement struct {
	text  []byte
	found chan struct{}
	once  sync.Once
	to    *os.File
}

func (a *announcement) Write(p []byte) (int, error) {
	if bytes.Contains(p, a.text) {
		a.once.Do(func() { close(a.found) })
	}
	return a.to.Write(p)
}
