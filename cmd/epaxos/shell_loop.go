package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/internal/prompt"
)

// repl is one dialogue.
type repl struct {
	sh          *shell
	lines       prompt.Lines
	history     *prompt.History // nil unless interactive
	interactive bool
	interrupts  chan os.Signal // nil: an interrupt ends the process
	keepGoing   bool
	settings    map[string]string // of flags, for all lines

	screen screen // what interactive output goes through
	number int    // of lines that were read
	code   int    // of the last command
	failed int    // the first code that was not 0
	left   bool   // exit was said
}

// loop carries out lines until there are no more, or until one fails, unless it is to go on.
func (r *repl) loop(ctx context.Context) error {
	for !r.left {
		if r.interactive {
			r.screen.freshLine()
		}
		line, err := r.next(r.lines.Line, r.prompt())
		switch {
		case errors.Is(err, prompt.ErrInterrupted):
			r.code = exitOK
			continue
		case errors.Is(err, io.EOF):
			if r.interactive {
				fmt.Fprintln(r.sh.out)
			}
			return r.end()
		case err != nil:
			return fmt.Errorf("read commands: %w", err)
		}
		r.line(ctx, line)
		if r.code != exitOK && !r.interactive && !r.keepGoing {
			break
		}
	}
	return r.end()
}

// screen knows where the output of commands has left the cursor.
type screen struct {
	mu     sync.Mutex
	out    io.Writer
	inLine bool
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) > 0 {
		s.inLine = p[len(p)-1] != '\n'
	}
	return s.out.Write(p)
}

// freshLine ends the line that a command has not ended, such as a value without one: otherwise the prompt would follow
// it, or hide it.
func (s *screen) freshLine() {
	s.mu.Lock()
	inLine := s.inLine
	s.mu.Unlock()
	if inLine {
		fmt.Fprintln(s)
	}
}

// end is the code of the dialogue. A person has seen the codes of all commands.
func (r *repl) end() error {
	if r.interactive || r.failed == exitOK {
		return nil
	}
	return &failure{code: r.failed}
}

func (r *repl) next(read func(string) (string, error), prompt string) (string, error) {
	line, err := read(prompt)
	r.number++
	return line, err
}

func (r *repl) prompt() string {
	if r.code == exitOK {
		return "epaxos> "
	}
	return fmt.Sprintf("epaxos [%d]> ", r.code)
}

// line carries out one line and says how it ended, if there is more to say than its output did.
func (r *repl) line(ctx context.Context, line string) {
	at := r.number
	words, err := prompt.Split(line)
	if len(words) > 0 && words[0] == "epaxos" { // as examples have it
		words = words[1:]
	}
	switch {
	case err != nil:
		r.code = exitUsage
	case len(words) == 0:
		return
	default:
		// Commands end as they please, and not all by an error, when the context does.
		_ = r.interruptible(ctx, func(ctx context.Context) error {
			r.code, err = execute(ctx, r.root(), words)
			return nil
		})
	}
	switch {
	case r.interactive && err != nil:
		fmt.Fprintf(r.sh.err, "epaxos: %v\n", err)
	case err != nil:
		fmt.Fprintf(r.sh.err, "epaxos: line %d: %v\n", at, err)
	case !r.interactive && !r.keepGoing && r.code != exitOK: // otherwise nobody could tell where it ended
		fmt.Fprintf(r.sh.err, "epaxos: line %d ended with code %d\n", at, r.code)
	}
	if r.failed == exitOK {
		r.failed = r.code
	}
}

// interruptible ends the context of f when the user presses Ctrl-C.
func (r *repl) interruptible(ctx context.Context, f func(context.Context) error) error {
	select {
	case <-r.interrupts: // one that came too late for the command before
	default:
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-r.interrupts:
			fmt.Fprintln(&r.screen) // the terminal has shown ^C
			cancel()
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	cancel()
	<-ended
	return err
}

// root is the commands that a line may name: those that speak to a cluster, and those about the dialogue.
func (r *repl) root() *cobra.Command {
	inner := *r.sh
	inner.in, inner.child = &following{r: r}, nil
	if r.interactive {
		inner.child = r.sh.in
	}
	root := rootCommand(&inner)
	for _, cmd := range root.Commands() {
		if cmd.Name() == "shell" || !connects(cmd) && cmd.Name() != "version" {
			root.RemoveCommand(cmd)
		}
	}
	root.Short, root.Long = "Commands of the shell", shellHelp+clientHelp
	root.AddGroup(&cobra.Group{ID: groupDialogue, Title: "This shell:"})
	root.AddCommand(r.exitCommand(), r.setCommand(), r.unsetCommand(), r.historyCommand())
	completions(&inner, root)
	helpOf(root)
	for name, value := range r.settings {
		preset(root, name, value)
	}
	return root
}

const groupDialogue = "dialogue"

// connects reports whether a command, or one below it, is a client of a cluster.
func connects(cmd *cobra.Command) bool {
	return cmd.Flags().Lookup("profile") != nil || slices.ContainsFunc(cmd.Commands(), connects)
}

// preset gives a flag another default, in all commands where the value is one of those that are possible.
func preset(cmd *cobra.Command, name, value string) {
	for _, sub := range cmd.Commands() {
		preset(sub, name, value)
	}
	f := cmd.Flags().Lookup(name)
	if f == nil || name == "output" && !slices.Contains(formsOf(f), value) {
		return
	}
	if f.Value.Set(value) == nil {
		f.DefValue = value
	}
}

func (r *repl) exitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "exit", Aliases: []string{"quit"}, Short: "Leave the shell", Args: cobra.NoArgs, GroupID: groupDialogue,
		RunE: does(func(context.Context, []string) error {
			r.left = true
			return nil
		}),
	}
}

// presets are the flags that may be given for all lines at once, each with a check.
var presets = map[string]func(value string) error{
	"output": func(value string) error {
		if forms := []string{formTable, formJSON, formRaw}; !slices.Contains(forms, value) {
			return usage("output %q: need %s", value, choices(forms))
		}
		return nil
	},
	"consistency": func(value string) error {
		_, err := (&reading{consistency: value}).options()
		return err
	},
	"timeout": func(value string) error {
		if d, err := time.ParseDuration(value); err != nil || d < time.Millisecond {
			return usage("timeout %q: need a duration of at least 1ms, such as 5s", value)
		}
		return nil
	},
	"replica": func(value string) error {
		if id, err := strconv.ParseUint(value, 10, 32); err != nil || id == 0 {
			return usage("replica %q: need the id of a replica", value)
		}
		return nil
	},
}

func presetNames() []string { return slices.Sorted(maps.Keys(presets)) }

func (r *repl) setCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set [SETTING VALUE]", Short: "Give a flag to all lines that follow, or show which are given",
		Long: "Gives a flag to all lines that follow, where a command has it and does not name it: " +
			strings.Join(presetNames(), ", ") + ".\nWithout arguments it shows what is given.",
		Args: cobra.MaximumNArgs(2), GroupID: groupDialogue,
		RunE: does(func(_ context.Context, args []string) error {
			if len(args) == 0 {
				for _, name := range slices.Sorted(maps.Keys(r.settings)) {
					fmt.Fprintf(r.sh.out, "set %s %s\n", name, prompt.Quote(r.settings[name]))
				}
				return nil
			}
			check, known := presets[args[0]]
			switch {
			case !known:
				return usage("set %s: need one of %s", args[0], strings.Join(presetNames(), ", "))
			case len(args) == 1:
				return usage("set %s: need a value", args[0])
			}
			if err := check(args[1]); err != nil {
				return err
			}
			r.settings[args[0]] = args[1]
			return nil
		}),
	}
}

func (r *repl) unsetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unset SETTING", Short: "Take back what set gave", Args: cobra.ExactArgs(1), GroupID: groupDialogue,
		RunE: does(func(_ context.Context, args []string) error {
			if _, known := presets[args[0]]; !known {
				return usage("unset %s: need one of %s", args[0], strings.Join(presetNames(), ", "))
			}
			delete(r.settings, args[0])
			return nil
		}),
	}
}

func (r *repl) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "history", Short: "Show earlier lines", Args: cobra.NoArgs, GroupID: groupDialogue,
		RunE: does(func(context.Context, []string) error {
			if r.history == nil {
				return nil
			}
			for i := r.history.Len() - 1; i >= 0; i-- {
				fmt.Fprintln(r.sh.out, r.history.At(i))
			}
			return r.history.Err()
		}),
	}
}

// complete asks the commands themselves, as the completion of other shells does.
func (r *repl) complete(words []string, last string) []prompt.Candidate {
	if len(words) > 0 && words[0] == "epaxos" {
		words = words[1:]
	}
	root := r.root()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	args := append([]string{cobra.ShellCompRequestCmd}, words...)
	if _, err := execute(context.Background(), root, append(args, last)); err != nil {
		return nil
	}
	return candidates(out.String(), last)
}
