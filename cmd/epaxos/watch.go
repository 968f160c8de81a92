package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
)

const watchHelp = `Prints each change of a key, of the keys with a prefix, of those from FROM on and before TO, or
of all, until it is interrupted. Each line tells what happened (put, delete, add), the key, its version, and its
value, or what was added; an add tells no version. The changes of one key come in order, and none is left out or
told twice, whatever happens to connections and replicas. Between different keys the order means nothing.

With --state the keys are told first as they stand; the line "current" ends them. The line "resync" says that the
replicas have forgotten what this command would have had to tell next; then the keys are told anew.

In the end a line on the error output tells the token with which another watch goes on. With -o json each line has
it.`

// watching are the flags of watch.
type watching struct {
	connection
	span  rangeFlags
	state bool
	token string
	count int
}

// shownEvent is one line of watch, as JSON.
type shownEvent struct {
	Type string `json:"type"`
	Key  string `json:"key,omitempty"`
	text
	Version uint64 `json:"version,omitempty"`
	Delta   *int64 `json:"delta,omitempty"`
	Change  string `json:"change,omitempty"` // names it, alike at every replica
	Token   string `json:"token"`            // with which another watch goes on behind it
}

func watchCommand(sh *shell) *cobra.Command {
	w := &watching{connection: connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}}
	cmd := &cobra.Command{
		Use: "watch [KEY | FROM TO]", Short: "Print each change of some keys", GroupID: groupData,
		Example: "  epaxos watch colour\n" +
			"  epaxos watch --prefix user/ --state\n" +
			"  epaxos watch --prefix user/ --token $TOKEN -o json",
		Long: watchHelp + clientHelp,
		Args: cobra.MaximumNArgs(2),
	}
	w.addFlags(cmd, timeoutDefault)
	cmd.Flags().Lookup("timeout").Usage = "time to connect and begin"
	w.span.add(cmd)
	cmd.Flags().BoolVar(&w.state, "state", false, "begin with the keys as they stand")
	cmd.Flags().StringVar(&w.token, "token", "", "go on behind what another watch of the same keys has told")
	cmd.Flags().IntVar(&w.count, "count", 0, "end after so many lines; 0 is never")
	cmd.MarkFlagsMutuallyExclusive("state", "token")
	cmd.RunE = does(w.run)
	return cmd
}

func (w *watching) run(ctx context.Context, args []string) error {
	span, err := w.span.span(args)
	switch {
	case err != nil:
		return err
	case w.count < 0:
		return usage("--count %d: need 0 or more", w.count)
	case len(args) == 1:
		span = clients.Point(args[0])
	}
	var options []clients.WatchOption
	if w.state {
		options = append(options, clients.WithState())
	}
	if w.token != "" {
		token, err := clients.ParseWatchToken(w.token)
		if err != nil {
			return usage("--token: %v", err)
		}
		options = append(options, clients.FromToken(token))
	}
	access, err := w.check()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, done, err := w.client(ctx, access)
	if err != nil {
		return err
	}
	defer done()
	beginning, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	watch, err := client.Watch(beginning, span, options...)
	if err != nil {
		return err
	}
	return w.print(ctx, watch)
}

// print prints events until there are enough or a signal comes.
func (w *watching) print(ctx context.Context, watch *clients.Watch) error {
	for n := 0; w.count == 0 || n < w.count; n++ {
		e, err := watch.Next(ctx)
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			err = w.line(&e, watch)
		}
		if err != nil {
			return err
		}
	}
	if w.output == formTable {
		fmt.Fprintf(w.sh.err, "to go on: --token %v\n", watch.Token())
	}
	return nil
}

func (w *watching) line(e *clients.Event, watch *clients.Watch) error {
	if w.output == formJSON {
		encoder := json.NewEncoder(w.sh.out) // one line for each: see printJSON for the other
		encoder.SetEscapeHTML(false)
		return encoder.Encode(shownEventOf(e, watch.Token()))
	}
	version, value := fmt.Sprint(e.Version), ""
	switch e.Type {
	case clients.EventPut, clients.EventState:
		if value = string(e.Value); w.output != formRaw {
			value = printable(e.Value)
		}
	case clients.EventAdd:
		version, value = "-", fmt.Sprintf("%+d", e.Delta)
	case clients.EventDelete:
	default:
		_, err := fmt.Fprintln(w.sh.out, e.Type)
		return err
	}
	key := e.Key
	if w.output != formRaw {
		key = printable([]byte(key))
	}
	_, err := fmt.Fprintf(w.sh.out, "%v\t%s\t%s\t%s\n", e.Type, key, version, value)
	return err
}

func shownEventOf(e *clients.Event, token clients.WatchToken) *shownEvent {
	s := &shownEvent{Type: e.Type.String(), Key: e.Key, Version: e.Version, Token: token.String()}
	switch e.Type {
	case clients.EventPut, clients.EventState:
		s.text = textOf(e.Value)
	case clients.EventAdd:
		s.Delta = &e.Delta
	default:
	}
	if !e.Change.Instance.IsZero() {
		s.Change = fmt.Sprintf("%v/%d", e.Change.Instance, e.Change.Index)
	}
	return s
}
