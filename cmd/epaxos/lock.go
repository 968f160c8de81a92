package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/recipes"
)

const lockHelp = `Waits for the lock, runs the command while it is held, and gives it back. Without a command it prints
the fencing token and holds the lock until it is interrupted.

The command finds in its environment EPAXOS_LOCK_NAME and EPAXOS_LOCK_TOKEN. The token is greater than that of
everybody who has had the lock before: pass it on to what the lock protects, and let that refuse tokens smaller than it
has seen. The lock is lost when the cluster has not heard of this process for its time to live (--ttl). Then the command
gets SIGTERM, and SIGKILL 5 s later. A machine that sleeps, or a process that is paused, is told too late: only the
token helps against that.

The exit code is that of the command, or 128 and the number of the signal that ended it; 126 and 127 if it cannot be
run, 7 if the lock was lost, and else that of every command: 1 if the lock was held by another all the time of
--wait.`

// Exit codes of shells for commands that do not run.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the number of the signal
)

// Environment of the command that runs under a lock.
const (
	lockNameEnv  = "EPAXOS_LOCK_NAME"
	lockTokenEnv = "EPAXOS_LOCK_TOKEN"
)

// killAfter is how long a command has to end by itself.
const killAfter = 5 * time.Second

// tenure is what lock and elect have in common: something is held until the process is interrupted.
type tenure struct {
	connection
	ttl    time.Duration
	wait   time.Duration
	shared bool // a lock for reading
	rw     bool // one of the keys of an RWMutex
}

func (t *tenure) flags(cmd *cobra.Command) {
	t.addFlags(cmd, timeoutDefault)
	cmd.Flags().Lookup("timeout").Usage = "time to connect, and of every single step"
	cmd.Flags().DurationVar(&t.ttl, "ttl", recipes.TTLDefault,
		"others go on so long after the cluster has last heard of this process")
	cmd.Flags().DurationVar(&t.wait, "wait", 0, "give up after so long; 0 is never")
}

func lockCommand(sh *shell) *cobra.Command {
	t := &tenure{connection: connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}}
	cmd := &cobra.Command{
		Use: "lock NAME [-- COMMAND…]", Short: "Hold a lock, and run a command meanwhile", GroupID: groupData,
		Example: "  epaxos lock reports -- ./nightly.sh\n" +
			"  epaxos lock reports --wait 1s -- ./nightly.sh || echo somebody else does it",
		Long: lockHelp + clientHelp,
		Args: cobra.MinimumNArgs(1),
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&t.rw, "write", false, "as a lock that one writer or many readers hold: for writing")
	cmd.Flags().BoolVar(&t.shared, "read", false, "the same, for reading")
	cmd.MarkFlagsMutuallyExclusive("read", "write")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return t.during(ctx, func(ctx context.Context, s *recipes.Session) error { return t.lock(ctx, s, args[0], args[1:]) })
	})
	return cmd
}

// during opens a session and closes it in the end, which gives up whatever is still held. The context that f gets
// ends with a signal.
func (t *tenure) during(ctx context.Context, f func(context.Context, *recipes.Session) error) error {
	if t.ttl < time.Second || t.wait < 0 {
		return usage("--ttl %v, --wait %v: need at least 1s, and not less than 0", t.ttl, t.wait)
	}
	access, err := t.check()
	if err != nil {
		return err
	}
	dialing, dialed := context.WithTimeout(ctx, t.timeout)
	defer dialed()
	client, err := dial(dialing, access, clients.WithTimeout(t.timeout))
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // every answer is here already
	session, err := recipes.NewSession(dialing, client, t.ttl)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
		defer cancel()
		_ = session.Close(ctx) // what it cannot say, the end of the lease does
	}()
	interrupted, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return f(interrupted, session)
}

// lock takes the lock and runs the command under it.
func (t *tenure) lock(ctx context.Context, s *recipes.Session, name string, command []string) error {
	lock, err := t.acquire(ctx, s, name)
	if err != nil {
		return t.notHeld(ctx, err)
	}
	if len(command) == 0 {
		if err := t.show(&shownTenure{Name: name, Token: lock.Token()}); err != nil {
			return err
		}
		return t.until(ctx, lock.Lost(), lock.Unlock)
	}
	env := append(os.Environ(), lockNameEnv+"="+name, fmt.Sprintf("%s=%d", lockTokenEnv, lock.Token()))
	code, err := t.run(ctx, lock.Lost(), env, command)
	if lost := s.Err(); lost != nil {
		return &failure{code: exitLost, err: errors.Join(err, fmt.Errorf("the command ran longer than the lock: %w", lost))}
	}
	giving, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	if unlocking := lock.Unlock(giving); errors.Is(unlocking, recipes.ErrLost) {
		return &failure{code: exitLost, err: unlocking}
	}
	if code != exitOK || err != nil {
		return &failure{code: code, err: err}
	}
	return nil
}

func (t *tenure) acquire(ctx context.Context, s *recipes.Session, name string) (*recipes.Lock, error) {
	if t.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.wait)
		defer cancel()
	}
	switch {
	case t.shared:
		return recipes.NewRWMutex(s, name).RLock(ctx)
	case t.rw:
		return recipes.NewRWMutex(s, name).Lock(ctx)
	}
	return recipes.NewMutex(s, name).Lock(ctx)
}

// notHeld is the end of a wait that was in vain.
func (t *tenure) notHeld(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil: // by a signal
		return &failure{code: exitSignal + int(syscall.SIGINT)}
	case errors.Is(err, recipes.ErrLost):
		return &failure{code: exitLost, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{code: exitFailed, err: fmt.Errorf("others held it all of %v: %w", t.wait, err)}
	}
	return err
}

// until holds on until a signal comes, and gives up then.
func (t *tenure) until(ctx context.Context, lost <-chan struct{}, leave func(context.Context) error) error {
	select {
	case <-lost:
		return &failure{code: exitLost, err: recipes.ErrLost}
	case <-ctx.Done():
	}
	giving, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	err := leave(giving)
	if errors.Is(err, recipes.ErrLost) {
		return &failure{code: exitLost, err: err}
	}
	return err
}

// run runs a command until it ends, the lock is lost or a signal comes, and returns its exit code.
func (t *tenure) run(ctx context.Context, lost <-chan struct{}, env, command []string) (code int, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan struct{})
	defer close(watched)
	go func() {
		select {
		case <-lost:
			stop()
		case <-watched:
		}
	}()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // the user's own
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = t.sh.childIn(), t.sh.out, t.sh.err, env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	err = cmd.Run()
	if cmd.ProcessState == nil {
		code = exitNotExecutable
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			code = exitNotFound
		}
		return code, fmt.Errorf("run %s: %w", command[0], err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// shownTenure is what is held, or who holds it, as JSON.
type shownTenure struct {
	Name  string `json:"name"`
	Token uint64 `json:"token"` // 0 if nobody leads
	text
}

func (t *tenure) show(s *shownTenure) error {
	switch t.output {
	case formJSON:
		return printJSON(t.sh.out, s)
	case formRaw:
		_, err := fmt.Fprintln(t.sh.out, s.Token)
		return err
	default:
	}
	table := newTable(t.sh.out, "NAME", "TOKEN")
	table.row(s.Name, s.Token)
	return table.flush()
}
