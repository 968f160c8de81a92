package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/recipes"
)

const electHelp = `Stands for election, with a value that all can see, an address for instance. When it is elected it
prints the token of its term and leads until it is interrupted; then it resigns. The others wait in turn.

With --observe it takes no part, and prints who leads, from now on, one line for each change: token and value. A
token of 0 says that nobody leads. What is over before it is read is left out.

The exit code is 7 if the leadership was lost: the cluster has not heard of this process for its time to live (--ttl).`

func electCommand(sh *shell) *cobra.Command {
	t := &tenure{connection: connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}}
	observe := false
	cmd := &cobra.Command{
		Use: "elect NAME [VALUE]", Short: "Lead an election, or observe it", GroupID: groupData,
		Example: "  epaxos elect primary 10.0.0.7:5432\n  epaxos elect primary --observe",
		Long:    electHelp + clientHelp,
		Args:    cobra.RangeArgs(1, 2),
	}
	t.flags(cmd)
	cmd.Flags().BoolVar(&observe, "observe", false, "print who leads, and take no part")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		switch {
		case observe && len(args) == 1:
			return t.observe(ctx, args[0])
		case observe || len(args) == 1:
			return usage("need a VALUE, or --observe, and not both")
		}
		return t.during(ctx, func(ctx context.Context, s *recipes.Session) error {
			return t.lead(ctx, s, args[0], []byte(args[1]))
		})
	})
	return cmd
}

func (t *tenure) lead(ctx context.Context, s *recipes.Session, name string, value []byte) error {
	campaigning := ctx
	if t.wait > 0 {
		var cancel context.CancelFunc
		campaigning, cancel = context.WithTimeout(ctx, t.wait)
		defer cancel()
	}
	leadership, err := recipes.NewElection(s, name).Campaign(campaigning, value)
	if err != nil {
		return t.notHeld(ctx, err)
	}
	if err := t.show(&shownTenure{Name: name, Token: leadership.Token(), text: textOf(value)}); err != nil {
		return err
	}
	return t.until(ctx, leadership.Lost(), leadership.Resign)
}

// observe prints leaders until a signal comes.
func (t *tenure) observe(ctx context.Context, name string) error {
	access, err := t.check()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, done, err := t.client(ctx, access)
	if err != nil {
		return err
	}
	defer done()
	return t.follow(ctx, client, name)
}

func (t *tenure) follow(ctx context.Context, client *clients.Client, name string) error {
	for leader, err := range recipes.Observe(ctx, client, name) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if t.output == formJSON {
			err = printJSON(t.sh.out, &shownTenure{Name: name, Token: leader.Token, text: textOf(leader.Value)})
		} else { // lines that can be read as they come, whatever is in the value
			value := ""
			if leader.Token != 0 {
				value = printable(leader.Value)
			}
			_, err = fmt.Fprintf(t.sh.out, "%d\t%s\n", leader.Token, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
