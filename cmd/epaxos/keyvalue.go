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
	cmd *cobra.Command
	run func(ctx context.Context, client *clients.Client, args []string) error
}

func newOperation(sh *shell, cmd *cobra.Command, forms ...string) *operation {
	o := &operation{connection: connection{sh: sh, forms: forms}, cmd: cmd}
	cmd.GroupID = groupData
	cmd.Long += clientHelp
	o.addFlags(cmd, timeoutDefault)
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return o.with(ctx, func(ctx context.Context, client *clients.Client) error {
			return o.run(ctx, client, args)
		})
	})
	return o
}

func getCommand(sh *shell) *cobra.Command {
	o := newOperation(sh, &cobra.Command{
		Use:   "get KEY",
		Short: "Read a key",
		Long: "Reads a key, linearizably. Values that are not plain text are quoted as in Go; with -o raw the bytes\n" +
			"of the value are written as they are, and nothing else. Exits with 1 if there is no such key.",
		Args: cobra.ExactArgs(1),
	}, formTable, formJSON, formRaw)
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		result, err := client.Get(ctx, args[0])
		if err != nil {
			return err
		}
		if o.output == formRaw {
			return o.raw(args[0], result)
		}
		if err := o.show(shownOf("get", args[0], result)); err != nil {
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
	o := newOperation(sh, &cobra.Command{
		Use:   "put KEY [VALUE]",
		Short: "Write a key",
		Long: "Writes a key. Without VALUE the value is what standard input holds, byte for byte. A value that begins\n" +
			"with a dash follows after two: put KEY -- -VALUE.",
		Args: cobra.RangeArgs(1, 2),
	})
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		value, err := valueOf(sh.in, args[1:])
		if err != nil {
			return err
		}
		result, err := client.Put(ctx, args[0], value)
		if err != nil {
			return err
		}
		return o.show(shownOf("put", args[0], result))
	}
	return o.cmd
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

func deleteCommand(sh *shell) *cobra.Command {
	o := newOperation(sh, &cobra.Command{
		Use:     "del KEY",
		Aliases: []string{"delete"},
		Short:   "Delete a key",
		Long:    "Deletes a key. Exits with 1 if there was none.",
		Args:    cobra.ExactArgs(1),
	})
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		result, err := client.Delete(ctx, args[0])
		if err != nil {
			return err
		}
		if err := o.show(shownOf("del", args[0], result)); err != nil {
			return err
		}
		return failedUnless(result.Found)
	}
	return o.cmd
}

func incrementCommand(sh *shell) *cobra.Command {
	var by int64
	o := newOperation(sh, &cobra.Command{
		Use:     "incr KEY",
		Aliases: []string{"increment"},
		Short:   "Add to a counter",
		Long: "Adds to the decimal number that a key holds, modulo 2^64; an absent key counts as 0. Exits with 1 if the\n" +
			"key holds no number.",
		Args: cobra.ExactArgs(1),
	})
	o.cmd.Flags().Int64Var(&by, "by", 1, "what to add; may be negative")
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		result, err := client.Increment(ctx, args[0], by)
		if err != nil {
			return err
		}
		return o.show(shownOf("incr", args[0], result))
	}
	return o.cmd
}

func compareAndSetCommand(sh *shell) *cobra.Command {
	var expect string
	var version uint64
	var absent bool
	o := newOperation(sh, &cobra.Command{
		Use:   "cas KEY [VALUE] --expect OLD | --version N | --absent",
		Short: "Write a key if it is as expected",
		Long: "Writes a key if its value, or its version, is the one given, or if there is no such key; otherwise shows\n" +
			"what is there, and exits with 1. Without VALUE the value is what standard input holds. The version of a\n" +
			"key counts its writes; comparing it makes a write safe to repeat after exit code 3.",
		Args: cobra.RangeArgs(1, 2),
	})
	flags := o.cmd.Flags()
	flags.StringVar(&expect, "expect", "", "value that the key must have")
	flags.Uint64Var(&version, "version", 0, "version that the key must have")
	flags.BoolVar(&absent, "absent", false, "the key must not exist")
	o.cmd.MarkFlagsMutuallyExclusive("expect", "version", "absent")
	o.cmd.MarkFlagsOneRequired("expect", "version", "absent")
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		if flags.Changed("absent") && !absent {
			return usage("--absent=false: need --expect, --version or --absent")
		}
		value, err := valueOf(sh.in, args[1:])
		if err != nil {
			return err
		}
		var result clients.Result
		if flags.Changed("expect") {
			result, err = client.CompareAndSet(ctx, args[0], []byte(expect), value)
		} else {
			result, err = client.CompareVersionAndSet(ctx, args[0], version, value)
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
