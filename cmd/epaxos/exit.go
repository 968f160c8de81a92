package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnknown     = 3
	exitUnavailable = 4
	exitSuperseded  = 5
	exitRetired     = 6
	exitLost        = 7
)

const exitHelp = `Exit codes:
  0  done
  1  failed: the key is not there, a comparison did not hold, the request is invalid, a replica stopped
  2  usage: unknown command, flag or form of an argument
  3  the outcome is unknown: the operation may have taken effect, or may yet do so
  4  unavailable: no replica answered in time, and the operation did not take effect
  5  superseded: another change of the members came first, and this one changed nothing
  6  retired: this replica must never be started again; it was removed, or its directory has lost something
  7  lost: a lock or a leadership ended before it was given up`

// failure is the end of a command that ran: any other error comes from reading its arguments.
type failure struct {
	code int
	err  error // nil if everything was said already
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit code %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// run carries out one command line and returns the exit code of the process.
func run(ctx context.Context, sh *shell, args []string) int {
	code, err := execute(ctx, rootCommand(sh), args)
	switch {
	case err != nil && code == exitUsage:
		fmt.Fprintf(sh.err, "epaxos: %v\nRun \"epaxos help\", or a command with --help.\n", err)
	case err != nil:
		fmt.Fprintf(sh.err, "epaxos: %v\n", err)
	}
	return code
}

// execute carries out one command and returns its code, and what there is to say about it.
func execute(ctx context.Context, root *cobra.Command, args []string) (int, error) {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK, nil
	}
	failed, ran := errors.AsType[*failure](err)
	switch {
	case !ran:
		return exitUsage, err
	case failed.err == nil:
		return failed.code, nil
	}
	// The errors of clients name the program already.
	text := strings.TrimPrefix(failed.err.Error(), "epaxos: ")
	if e, ok := errors.AsType[*clients.Error](failed.err); ok && e.Outcome == clients.Unknown && !e.Request.IsZero() {
		text += fmt.Sprintf("\nWhat became of it: epaxos session settle %v", e.Request)
	}
	return failed.code, errors.New(text)
}

// does makes the body of a command from a function whose errors are not about usage.
func does(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd.Context(), args)
		if err == nil {
			return nil
		}
		if _, coded := errors.AsType[*failure](err); coded {
			return err
		}
		if wrong, ok := errors.AsType[*usageError](err); ok {
			return wrong
		}
		return &failure{code: codeOf(err), err: err}
	}
}

// usageError is a mistake in the arguments that only the body of a command can see.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// codeOf translates the end of an operation.
func codeOf(err error) int {
	e, ok := errors.AsType[*clients.Error](err)
	if !ok {
		return exitFailed
	}
	switch {
	case e.Outcome == clients.Unknown:
		return exitUnknown
	case e.Outcome == clients.Applied:
		return exitFailed // it took effect, but its result cannot be read
	}
	switch e.Code {
	case clients.CodeUnavailable, clients.CodeOverloaded, clients.CodeTimeout, clients.CodeInternal:
		return exitUnavailable
	}
	return exitFailed
}
