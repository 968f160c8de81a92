package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/wire"
)

const clientHelp = "\n\n" + exitHelp

// operation is one command that reads or writes one key.
type operation struct {
	connection
	cmd   *cobra.Command
	check func(args []string) error // of the usage, before anything else; may be nil
	run   func(ctx context.Context, client *clients.Client, args []string) error
}

func newOperation(sh *shell, cmd *cobra.Command) *operation {
	o := &operation{connection: connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}, cmd: cmd}
	cmd.GroupID = groupData
	cmd.Long += clientHelp
	o.addFlags(cmd, timeoutDefault)
	if name := cmd.Name(); name != "get" && name != "range" {
		o.addRequest(cmd)
	}
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		if o.check != nil {
			if err := o.check(args); err != nil {
				return err
			}
		}
		return o.with(ctx, func(ctx context.Context, client *clients.Client) error {
			o.seen = client.Token
			return o.run(ctx, client, args)
		})
	})
	return o
}

func getCommand(sh *shell) *cobra.Command {
	var how reading
	o := newOperation(sh, &cobra.Command{
		Use:   "get KEY",
		Short: "Read a key",
		Long: "Reads a key. Values that are not plain text are quoted as in Go; with -o raw the bytes\n" +
			"of the value are written as they are, and nothing else. Exits with 1 if there is no such key.",
		Example: "  epaxos get colour -o raw\n" +
			"  epaxos get colour --consistency stale",
		Args: cobra.ExactArgs(1),
	})
	how.add(o.cmd)
	o.check = func([]string) error { return how.check() }
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		result, err := client.Get(ctx, args[0], how.chosen...)
		if err != nil {
			return err
		}
		if o.output == formRaw {
			return o.raw(args[0], result)
		}
		s := shownOf("get", args[0], result)
		s.path, s.AgeMS = how.path(), how.shownAge(result.Age)
		if err := o.show(s); err != nil {
			return err
		}
		return failedUnless(result.Found)
	}
	return o.cmd
}

func (o *operation) raw(key string, result clients.Result) error {
	if !result.Found {
		return fmt.Errorf("there is no key %s", printable([]byte(key)))
	}
	_, err := o.sh.out.Write(result.Value)
	return err
}

func putCommand(sh *shell) *cobra.Command {
	var absent, previous bool
	var lease leaseFlag
	o := newOperation(sh, &cobra.Command{
		Use:   "put KEY [VALUE]",
		Short: "Write a key",
		Long: "Writes a key. Without VALUE the value is what standard input holds, byte for byte. A value that begins\n" +
			"with a dash follows after two: put KEY -- -VALUE. With --if-absent a key that exists stays as it is, is\n" +
			"shown, and the code is 1.",
		Example: "  epaxos put colour blue\n" +
			"  epaxos put logo <logo.png\n" +
			"  epaxos put owner ann --if-absent",
		Args: cobra.RangeArgs(1, 2),
	})
	lease.add(o.cmd)
	o.cmd.Flags().BoolVar(&absent, "if-absent", false, "only create the key")
	o.cmd.Flags().BoolVar(&previous, "previous", false, "show the value that was there")
	o.cmd.MarkFlagsMutuallyExclusive("if-absent", "previous")
	value := o.takesValue()
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		options, err := lease.options()
		if err != nil {
			return err
		}
		put, op := client.Put, "put"
		switch {
		case absent:
			put = client.PutIfAbsent
		case previous:
			put, op = client.Swap, "swap"
		}
		result, err := put(ctx, args[0], *value, options...)
		if err != nil {
			return err
		}
		if err := o.show(shownOf(op, args[0], result)); err != nil {
			return err
		}
		return failedUnless(result.Succeeded)
	}
	return o.cmd
}

func appendCommand(sh *shell) *cobra.Command {
	o := newOperation(sh, &cobra.Command{
		Use:   "append KEY [VALUE]",
		Short: "Write behind what a key holds",
		Long: "Writes behind the value of a key; a key that does not exist counts as empty. Without VALUE it writes what\n" +
			"standard input holds, byte for byte.",
		Example: "  date | epaxos append log",
		Args:    cobra.RangeArgs(1, 2),
	})
	value := o.takesValue()
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		result, err := client.Append(ctx, args[0], *value)
		if err != nil {
			return err
		}
		return o.show(shownOf("append", args[0], result))
	}
	return o.cmd
}

// takesValue makes a command take a value, from its second argument or from the input. It is read before anything is
// connected: a person may take longer to write it than the cluster may take to answer.
func (o *operation) takesValue() *[]byte {
	value := new([]byte)
	o.check = func(args []string) (err error) {
		*value, err = valueOf(o.sh.in, args[1:])
		return err
	}
	return value
}

// valueOf takes a value from the arguments, or from the input.
func valueOf(in io.Reader, args []string) ([]byte, error) {
	if len(args) > 0 {
		return []byte(args[0]), nil
	}
	value, err := io.ReadAll(io.LimitReader(in, wire.ValueMax+1))
	if err != nil {
		return nil, fmt.Errorf("read the value from standard input: %w", err)
	}
	if len(value) > wire.ValueMax {
		return nil, fmt.Errorf("the value on standard input is longer than %d bytes", wire.ValueMax)
	}
	return value, nil
}

func incrementCommand(sh *shell) *cobra.Command {
	o := newOperation(sh, &cobra.Command{
		Use:     "incr KEY",
		Aliases: []string{"increment"},
		Short:   "Add to a counter, and show the sum",
		Long: "Adds to the decimal number that a key holds, modulo 2^64; an absent key counts as 0. Exits with 1 if the\n" +
			"key holds no number. Where nobody needs the sum, add is quicker.",
		Example: "  TICKET=$(epaxos incr tickets -o raw)",
		Args:    cobra.ExactArgs(1),
	})
	return o.count("incr", (*clients.Client).Increment)
}

func addCommand(sh *shell) *cobra.Command {
	o := newOperation(sh, &cobra.Command{
		Use:   "add KEY",
		Short: "Add to a counter",
		Long: "Adds as incr does, and shows neither the sum nor the version. So those who add to one key do not wait for\n" +
			"each other, wherever they are.",
		Example: "  epaxos add visits\n  epaxos add stock --by -3",
		Args:    cobra.ExactArgs(1),
	})
	return o.count("add", (*clients.Client).Add)
}

// counting is Increment or Add.
type counting func(client *clients.Client, ctx context.Context, key string, delta int64) (clients.Result, error)

func (o *operation) count(name string, add counting) *cobra.Command {
	var by int64
	o.cmd.Flags().Int64Var(&by, "by", 1, "what to add; may be negative")
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		result, err := add(client, ctx, args[0], by)
		if err != nil {
			return err
		}
		return o.show(shownOf(name, args[0], result))
	}
	return o.cmd
}

func compareAndSetCommand(sh *shell) *cobra.Command {
	var expect string
	var version uint64
	var absent bool
	var lease leaseFlag
	o := newOperation(sh, &cobra.Command{
		Use:   "cas KEY [VALUE] --expect OLD | --version N | --absent",
		Short: "Write a key if it is as expected",
		Long: "Writes a key if its value, or its version, is the one given, or if there is no such key; otherwise shows\n" +
			"what is there, and exits with 1. Without VALUE the value is what standard input holds. The version of a\n" +
			"key counts its changes and never repeats; comparing it makes a write safe to repeat after exit code 3.",
		Example: "  epaxos cas colour green --expect blue\n" +
			"  epaxos cas colour green --version 7",
		Args: cobra.RangeArgs(1, 2),
	})
	lease.add(o.cmd)
	flags := o.cmd.Flags()
	flags.StringVar(&expect, "expect", "", "value that the key must have")
	flags.Uint64Var(&version, "version", 0, "version that the key must have")
	flags.BoolVar(&absent, "absent", false, "the key must not exist")
	o.cmd.MarkFlagsMutuallyExclusive("expect", "version", "absent")
	o.cmd.MarkFlagsOneRequired("expect", "version", "absent")
	value := o.takesValue()
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		if flags.Changed("absent") && !absent {
			return usage("--absent=false: need --expect, --version or --absent")
		}
		options, err := lease.options()
		if err != nil {
			return err
		}
		var result clients.Result
		if flags.Changed("expect") {
			result, err = client.CompareAndSet(ctx, args[0], []byte(expect), *value, options...)
		} else {
			result, err = client.CompareVersionAndSet(ctx, args[0], version, *value, options...)
		}
		if err != nil {
			return err
		}
		if err := o.show(shownOf("cas", args[0], result)); err != nil {
			return err
		}
		return failedUnless(result.Succeeded)
	}
	return o.cmd
}

// failedUnless ends a command whose output has said already that it failed.
func failedUnless(ok bool) error {
	if ok {
		return nil
	}
	return &failure{code: exitFailed}
}
