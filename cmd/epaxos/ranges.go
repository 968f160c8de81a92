package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
)

const rangeHelp = `Shows keys in the order of their bytes, linearizably: those with a prefix, those from FROM on and
before TO, or all. What one answer holds is bounded; where there is more the last line says where to go on,
and with --all that happens by itself. Then each page is a moment of its own. With -o raw there is one line for each
key, the value behind a tab, both as they are.`

// rangeFlags say which keys.
type rangeFlags struct {
	prefix string
	cmd    *cobra.Command
}

func (f *rangeFlags) add(cmd *cobra.Command) {
	f.cmd = cmd
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "the keys that begin with this")
}

// span is the range that is meant, which is all keys where nothing is said.
func (f *rangeFlags) span(args []string) (clients.Span, error) {
	var span clients.Span
	switch prefixed := f.cmd.Flags().Changed("prefix"); {
	case prefixed && len(args) > 0:
		return span, usage("need --prefix, or FROM and TO, not both")
	case prefixed:
		return clients.Prefix(f.prefix), nil
	}
	if len(args) > 0 {
		span.From = args[0]
	}
	if len(args) > 1 {
		span.End = args[1]
	}
	return span, nil
}

// shownPage is a part of a range, as JSON.
type shownPage struct {
	Pairs   []shownPair      `json:"pairs,omitempty"`
	Count   int              `json:"count"`
	Next    string           `json:"next,omitempty"`
	Replica epaxos.ReplicaID `json:"replica"`
	Fast    bool             `json:"fast"`
}

func rangeCommand(sh *shell) *cobra.Command {
	var flags rangeFlags
	var how reading
	var limit int
	var keys, count, all bool
	o := newOperation(sh, &cobra.Command{
		Use:   "range [FROM [TO]]",
		Short: "Read the keys of a range, or with a prefix",
		Long:  rangeHelp,
		Example: "  epaxos range --prefix user/ --limit 10\n" +
			"  epaxos range user/a user/n --count-only\n" +
			"  epaxos range --keys-only --all -o raw",
		Args: cobra.MaximumNArgs(2),
	})
	flags.add(o.cmd)
	how.add(o.cmd)
	o.cmd.Flags().IntVar(&limit, "limit", 0, "at most so many keys; with --all, in each page; 0 is as many as fit")
	o.cmd.Flags().BoolVar(&keys, "keys-only", false, "leave out the values")
	o.cmd.Flags().BoolVar(&count, "count-only", false, "show only how many keys there are")
	o.cmd.Flags().BoolVar(&all, "all", false, "go on to the end of the range")
	o.cmd.MarkFlagsMutuallyExclusive("keys-only", "count-only")
	var span clients.Span
	o.check = func(args []string) (err error) {
		if limit < 0 {
			return usage("--limit %d: need 0 or more", limit)
		}
		span, err = flags.span(args)
		return cmp.Or(err, how.check())
	}
	o.run = func(ctx context.Context, client *clients.Client, _ []string) error {
		options := []clients.RangeOption{clients.Limit(limit)}
		for _, option := range how.chosen {
			options = append(options, option)
		}
		switch {
		case keys:
			options = append(options, clients.KeysOnly())
		case count:
			options = append(options, clients.CountOnly())
		}
		page, err := pages(span, all, func(span clients.Span) (clients.Page, error) {
			return client.Range(ctx, span, options...)
		})
		return errors.Join(o.showPage(page, !count, how.way(page)), err)
	}
	return o.cmd
}

// pages gathers what several commands say of a range. After an error it holds what came before.
func pages(span clients.Span, all bool, read func(clients.Span) (clients.Page, error)) (clients.Page, error) {
	whole, err := read(span)
	for err == nil && all && whole.More() {
		var next clients.Page
		if next, err = read(clients.Span{From: whole.Next, End: span.End}); err == nil {
			whole.Pairs = append(whole.Pairs, next.Pairs...)
			whole.Count += next.Count
			whole.Next, whole.Replica, whole.Fast = next.Next, next.Replica, whole.Fast && next.Fast
		}
	}
	return whole, err
}

func (o *operation) showPage(page clients.Page, pairs bool, way string) error {
	s := shownPage{
		Pairs: shownPairs(page.Pairs), Count: page.Count, Next: page.Next, Replica: page.Replica, Fast: page.Fast,
	}
	if page.Replica == 0 { // nothing was answered
		return nil
	}
	switch o.output {
	case formJSON:
		return printJSON(o.sh.out, s)
	case formRaw:
		return o.showRaw(rawPage(page, pairs))
	}
	if pairs {
		t := newTable(o.sh.out, "KEY", "VALUE", "VERSION")
		for i := range s.Pairs {
			p := &s.Pairs[i]
			t.row(printable([]byte(p.Key)), p.printable(), p.Version)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	more := ""
	if s.Next != "" {
		more = ", more from " + printable([]byte(s.Next))
	}
	_, err := fmt.Fprintf(o.sh.out, "%s%s, read by replica %d %s\n", counted(s.Count), more, s.Replica, way)
	return err
}

// rawPage is one line for each key: the key, and the value behind a tab, if it was asked for. Or it is their number.
func rawPage(page clients.Page, pairs bool) []byte {
	if !pairs {
		return fmt.Appendln(nil, page.Count)
	}
	var text []byte
	for _, pair := range page.Pairs {
		text = append(text, pair.Key...)
		if pair.Value != nil {
			text = append(append(text, '\t'), pair.Value...)
		}
		text = append(text, '\n')
	}
	return text
}

func counted(keys int) string {
	if keys == 1 {
		return "1 key"
	}
	return fmt.Sprintf("%d keys", keys)
}

func deleteCommand(sh *shell) *cobra.Command {
	var flags rangeFlags
	var previous bool
	o := newOperation(sh, &cobra.Command{
		Use:     "del KEY | --prefix PREFIX",
		Aliases: []string{"delete"},
		Short:   "Delete a key, or all with a prefix",
		Long: "Deletes a key, or all that begin with a prefix. Many keys are deleted in several steps, each at one\n" +
			"moment. Exits with 1 if there was none.",
		Example: "  epaxos del colour\n  epaxos del --prefix user/",
		Args:    cobra.MaximumNArgs(1),
	})
	flags.add(o.cmd)
	o.cmd.Flags().BoolVar(&previous, "previous", false, "show the value that was there")
	o.cmd.MarkFlagsMutuallyExclusive("prefix", "previous")
	prefixed := func() bool { return o.cmd.Flags().Changed("prefix") }
	o.check = func(args []string) error {
		if prefixed() == (len(args) == 1) {
			return usage("need a key, or --prefix and no key")
		}
		return nil
	}
	o.run = func(ctx context.Context, client *clients.Client, args []string) error {
		if prefixed() {
			return o.deletePrefix(ctx, client, flags.prefix)
		}
		del, op := client.Delete, "del"
		if previous {
			del, op = client.Take, "take"
		}
		result, err := del(ctx, args[0])
		if err != nil {
			return err
		}
		if err := o.show(shownOf(op, args[0], result)); err != nil {
			return err
		}
		return failedUnless(result.Found)
	}
	return o.cmd
}

func forgetCommand(sh *shell) *cobra.Command {
	var flags rangeFlags
	var span clients.Span
	o := newOperation(sh, &cobra.Command{
		Use:   "forget [FROM [TO]]",
		Short: "Forget the versions of deleted keys",
		Long: "A deleted key leaves its version behind, so that no version of it ever comes twice. This drops what is\n" +
			"left of deleted keys: those with a prefix, those from FROM on and before TO, or all. Put again, they begin\n" +
			"with version 1: so only where nobody compares with a version from before.",
		Example: "  epaxos forget --prefix job/",
		Args:    cobra.MaximumNArgs(2),
	})
	flags.add(o.cmd)
	o.check = func(args []string) (err error) {
		span, err = flags.span(args)
		return err
	}
	o.run = func(ctx context.Context, client *clients.Client, _ []string) error {
		page, err := pages(span, true, func(span clients.Span) (clients.Page, error) { return client.Forget(ctx, span) })
		return o.showCount("forgotten", page, err)
	}
	return o.cmd
}

func (o *operation) deletePrefix(ctx context.Context, client *clients.Client, prefix string) error {
	page, err := pages(clients.Prefix(prefix), true, func(span clients.Span) (clients.Page, error) {
		return client.DeleteRange(ctx, span)
	})
	if err := o.showCount("deleted", page, err); err != nil {
		return err
	}
	return failedUnless(page.Count > 0)
}

// showCount tells to how many keys something was done, also where an error ended it.
func (o *operation) showCount(done string, page clients.Page, err error) error {
	switch {
	case page.Replica == 0:
		return err
	case o.output == formJSON:
		err = errors.Join(printJSON(o.sh.out, shownPage{
			Count: page.Count, Next: page.Next, Replica: page.Replica, Fast: page.Fast,
		}), err)
	case o.output == formRaw:
		err = errors.Join(o.showRaw(fmt.Appendln(nil, page.Count)), err)
	default:
		_, failed := fmt.Fprintf(o.sh.out, "%s %s, by replica %d on the %s path\n",
			counted(page.Count), done, page.Replica, path(page.Fast))
		err = errors.Join(failed, err)
	}
	return err
}
