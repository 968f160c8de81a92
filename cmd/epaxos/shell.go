package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
	"github.com/264bc8cf/epaxos/internal/prompt"
)

const shellHelp = `Reads commands line by line and carries them out as epaxos does with each, over one connection
and in one session: changes take effect once, through any failover, and what one line has seen, the next shows with
--consistency session.

  epaxos> put colour blue
  epaxos> set consistency session      for every line from here on; also output, timeout and replica
  epaxos> get colour
  epaxos> txn                          the transaction follows, up to a line that is only a dot
  if colour = blue
  then incr painted
  .

Words are cut at blanks. 'Single quotes' hold what they hold, "double quotes" what they do in Go ("\n", "\xff"), a
backslash takes the next character as it is, and # begins a comment. A command that reads standard input gets the lines
that follow, up to one that is only a dot, without the last line's end.

At a terminal, Tab completes commands, flags and keys, the arrows move through earlier lines, Ctrl-C ends the command
that runs and not the shell, Ctrl-D leaves. The prompt shows the last exit code unless it was 0. Earlier lines are kept
in ~/.local/state/epaxos/history ($XDG_STATE_HOME), readable to you alone; a line that begins with a blank is not, and
--history "" keeps none.

Elsewhere, as in a pipe, or with FILE, it ends at the first line that fails, with the code of that; with --keep-going it
goes on, and ends with the first code that was not 0.`

// historyEnv names the history file where --history does not.
const historyEnv = "EPAXOS_HISTORY"

func shellCommand(sh *shell) *cobra.Command {
	c := &connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}
	var keepGoing bool
	var history string
	cmd := &cobra.Command{
		Use: "shell [FILE]", Short: "Carry out commands line by line, over one connection",
		Long: shellHelp + clientHelp, GroupID: groupData,
		Example: "  epaxos shell --profile cluster/client.yaml\n" +
			"  printf 'put a 1\\nincr a\\nget a\\n' | epaxos shell -o raw",
		Args: cobra.MaximumNArgs(1),
	}
	c.addFlags(cmd, timeoutDefault)
	cmd.Flags().BoolVarP(&keepGoing, "keep-going", "k", false,
		"go on after a line that fails, as is done at a terminal anyway")
	cmd.Flags().StringVar(&history, "history", "", "`file` for earlier lines (default $"+historyEnv+"); \"\" is none")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		access, err := c.check()
		if err != nil {
			return err
		}
		r := &repl{keepGoing: keepGoing, settings: map[string]string{}}
		for _, name := range []string{"output", "timeout"} {
			if f := cmd.Flags().Lookup(name); f.Changed {
				r.settings[name] = f.Value.String()
			}
		}
		shared := *sh
		shared.held = &held{profile: c.profile, endpoints: c.endpoints}
		defer shared.held.close()
		r.sh = &shared
		if !cmd.Flags().Changed("history") {
			history = historyFile(sh.env)
		}
		closing, err := r.open(args, history)
		if err != nil {
			return err
		}
		defer closing() //nolint:errcheck // it was read only
		if r.interactive {
			r.greet(ctx, c, access)
		}
		return r.loop(ctx)
	})
	return cmd
}

// historyFile is where earlier lines are kept unless a flag says otherwise; empty is nowhere.
func historyFile(env func(string) (string, bool)) string {
	if file, set := env(historyEnv); set {
		return file
	}
	if state, _ := env("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "epaxos", "history")
	}
	if home, _ := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "epaxos", "history")
	}
	return ""
}

// open decides where lines come from.
func (r *repl) open(args []string, history string) (closing func() error, err error) {
	closing = func() error { return nil }
	if len(args) == 1 {
		file, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("read the commands: %w", err)
		}
		r.lines = prompt.Plain(file)
		return file.Close, nil
	}
	in, isFile := r.sh.in.(*os.File)
	out, toFile := r.sh.out.(*os.File)
	if !isFile || !toFile || !prompt.IsTerminal(in) || !prompt.IsTerminal(out) {
		r.lines = prompt.Plain(r.sh.in)
		return closing, nil
	}
	r.interactive, r.history = true, &prompt.History{}
	if history != "" {
		if r.history, err = prompt.OpenHistory(history); err != nil {
			fmt.Fprintf(r.sh.err, "epaxos: %v; lines are remembered until you leave\n", err)
		}
	}
	r.lines = prompt.NewTerminal(in, out, r.history, r.complete)
	r.screen.out, r.sh.out = out, &r.screen
	r.interrupts = make(chan os.Signal, 1)
	signal.Notify(r.interrupts, os.Interrupt)
	return func() error { signal.Stop(r.interrupts); return nil }, nil
}

// greet connects before the first line, so that the first command and the first Tab are quick.
func (r *repl) greet(ctx context.Context, c *connection, access bootstrap.Access) {
	shared := connection{sh: r.sh, profile: c.profile, timeout: c.timeout}
	err := r.interruptible(ctx, func(ctx context.Context) error {
		client, _, err := shared.client(ctx, access)
		if err != nil {
			return err
		}
		near := "one"
		for _, replica := range client.Replicas() {
			if replica.Current {
				near = fmt.Sprintf("replica %d", replica.Replica)
			}
		}
		fmt.Fprintf(r.sh.out, "connected to %s of cluster %x\n", near, access.Cluster)
		return nil
	})
	if err != nil {
		fmt.Fprintf(r.sh.err, "epaxos: %v\nEvery command will try again.\n", err)
	}
	fmt.Fprintln(r.sh.out, `"help" lists the commands, Tab completes, Ctrl-D leaves`)
}

// held is what the commands of a dialogue share: a client, which is dialled when first needed.
type held struct {
	profile   string
	endpoints []string // instead of those of the profile
	mu        sync.Mutex
	dialled   *clients.Client
}

func (h *held) client(ctx context.Context, access bootstrap.Access) (*clients.Client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dialled != nil {
		return h.dialled, nil
	}
	if len(h.endpoints) > 0 {
		access.Endpoints = h.endpoints
	}
	client, err := dial(ctx, access)
	h.dialled = client
	return client, err
}

func (h *held) close() {
	if h.dialled != nil {
		_ = h.dialled.Close() // every answer was given
	}
}

// following is standard input of a command inside a dialogue: the lines that follow, up to one that is only a dot.
type following struct {
	r      *repl
	begun  bool
	ended  bool
	unread []byte
}

func (f *following) Read(p []byte) (int, error) {
	for len(f.unread) == 0 {
		if f.ended {
			return 0, io.EOF
		}
		if !f.begun && f.r.interactive {
			fmt.Fprintln(f.r.sh.out, `end with a line that is only a dot (.)`)
		}
		line, err := f.r.next(f.r.lines.Continue, "... ")
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if f.ended = err != nil || line == "."; f.ended {
			continue
		}
		if f.begun {
			f.unread = append(f.unread, '\n')
		}
		f.unread = append(f.unread, line...)
		f.begun = true
	}
	n := copy(p, f.unread)
	f.unread = f.unread[n:]
	return n, nil
}
