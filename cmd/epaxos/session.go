package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
)

const sessionHelp = `A session makes changes take effect once, however often they are sent. Open one, and give each
change a number of its own, from 1 on, as --request SESSION/NUMBER. After exit code 3, or a crash of the script,
send the change again under the same name, here or anywhere: it takes effect if it has not yet, and the answer
is that of the first time. Or settle it: then it is told what became of it, and nothing that is still under way
changes that.

A session remembers 1024 numbers; checkpoint it to go on. It expires when it is silent for its time to live.`

func sessionCommand(sh *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use: "session", Short: "Make changes take effect once, through any failure",
		Long: sessionHelp, GroupID: groupData,
		Example: "  S=$(epaxos session open -o raw)\n" +
			"  until epaxos incr visits --request $S/1; do sleep 1; done\n" +
			"  epaxos session settle $S/1\n" +
			"  epaxos session close $S",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(sessionOpen(sh), sessionKeep(sh), sessionCheckpoint(sh), sessionSettle(sh), sessionClose(sh))
	return cmd
}

// sessionAct makes a command on a session.
func sessionAct(
	sh *shell, cmd *cobra.Command, act func(context.Context, *connection, *clients.Client, []string) error,
) *cobra.Command {
	c := &connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}
	if cmd.Long == "" {
		cmd.Long = cmd.Short + "."
	}
	cmd.Long += clientHelp
	c.addFlags(cmd, timeoutDefault)
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		return c.with(ctx, func(ctx context.Context, client *clients.Client) error { return act(ctx, c, client, args) })
	})
	return cmd
}

// shownSession is what a command on a session tells, as JSON.
type shownSession struct {
	Session string `json:"session,omitempty"`
	Request string `json:"request,omitempty"`
	Outcome string `json:"outcome,omitempty"` // applied, not applied or unknown
	*shown
}

func (c *connection) showSession(s *shownSession, word, state string) error {
	switch c.output {
	case formJSON:
		return printJSON(c.sh.out, s)
	case formRaw:
		_, err := fmt.Fprintln(c.sh.out, word)
		return err
	default:
	}
	t := newTable(c.sh.out, "NAME", "STATE")
	t.row(word, state)
	return t.flush()
}

func sessionOpen(sh *shell) *cobra.Command {
	var ttl time.Duration
	cmd := sessionAct(sh, &cobra.Command{
		Use: "open", Short: "Open a session", Args: cobra.NoArgs,
		Long: "Opens a session and prints its name, which is all that -o raw prints. Write it down before the first\n" +
			"request: who does not know it can neither repeat nor settle one.",
		Example: "  S=$(epaxos session open --ttl 1h -o raw)",
	},
		func(ctx context.Context, c *connection, client *clients.Client, _ []string) error {
			if ttl < time.Second {
				return usage("--ttl %v: need at least 1s", ttl)
			}
			id, err := client.OpenSession(ctx, ttl)
			if err != nil {
				return err
			}
			return c.showSession(&shownSession{Session: id.String()}, id.String(), "open")
		})
	cmd.Flags().DurationVar(&ttl, "ttl", 10*time.Minute, "the session expires when it is silent for so long")
	return cmd
}

func sessionKeep(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "keep SESSION", Short: "Tell that a session is still needed", Args: cobra.ExactArgs(1),
		Long: "Tells the cluster that a session is still needed, as each of its requests does: its time to live\n" +
			"begins anew.",
	}, func(ctx context.Context, c *connection, client *clients.Client, args []string) error {
		return c.changeSession(args[0], "open", func(id clients.SessionID) error { return client.KeepSession(ctx, id) })
	})
}

func sessionClose(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "close SESSION", Short: "End a session", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *connection, client *clients.Client, args []string) error {
		return c.changeSession(args[0], "closed", func(id clients.SessionID) error { return client.CloseSession(ctx, id) })
	})
}

func sessionCheckpoint(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "checkpoint SESSION NUMBER", Short: "Let a session forget the requests below a number",
		Args: cobra.ExactArgs(2),
	}, func(ctx context.Context, c *connection, client *clients.Client, args []string) error {
		number, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return usage("NUMBER %q: need a decimal number", args[1])
		}
		return c.changeSession(args[0], "open", func(id clients.SessionID) error {
			return client.CheckpointSession(ctx, id, number)
		})
	})
}

func (c *connection) changeSession(text, state string, change func(clients.SessionID) error) error {
	id, err := clients.ParseSessionID(text)
	if err != nil {
		return usage("%v", err)
	}
	if err := change(id); err != nil {
		return err
	}
	return c.showSession(&shownSession{Session: id.String()}, id.String(), state)
}

func sessionSettle(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "settle SESSION/NUMBER", Short: "Find out what became of a request, for good",
		Long: "Finds out what became of a request, and sees to it that it stays so: one that was not applied by now never\n" +
			"will be. Exits with 0 if it was applied, and shows what it was answered; with 1 if it was not; with 3 if\n" +
			"nobody can tell any more, because the session has expired, was closed, or has a checkpoint above it.",
		Example: "  epaxos session settle 2.300/17",
		Args:    cobra.ExactArgs(1),
	}, settle)
}

// settle exits with 1 if the request was not applied, and never will be.
func settle(ctx context.Context, c *connection, client *clients.Client, args []string) error {
	id, err := clients.ParseRequestID(args[0])
	if err != nil {
		return usage("%v", err)
	}
	r, err := client.Outcome(ctx, id)
	forgotten := errors.Is(err, clients.ErrSessionExpired) || errors.Is(err, clients.ErrOutcomeForgotten)
	if err != nil && !forgotten {
		return err
	}
	s := &shownSession{Session: id.Session.String(), Request: id.String(), Outcome: r.Outcome.String()}
	if r.Outcome == clients.Applied && r.Result != nil {
		if value, err := r.Value(); err == nil {
			s.shown = new(shownOf("", "", value))
		}
	}
	if err := c.showSession(s, args[0], s.Outcome); err != nil {
		return err
	}
	if forgotten {
		return &failure{code: exitUnknown}
	}
	return failedUnless(r.Outcome == clients.Applied)
}
