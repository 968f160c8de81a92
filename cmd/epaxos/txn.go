package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// scriptBytesMax is above any transaction that a replica accepts.
const scriptBytesMax = 1 << 20

const txnHelp = `Carries out a transaction: if all conditions hold, the operations after then, else those after else,
all at one place in the order of commands. It is read from FILE, or from standard input (-), one line for each part:

  # a comment
  if KEY = VALUE             also != < and >, which compare bytes; an absent key equals nothing
  if-version KEY = N         the version that get shows; 0 is an absent key
  if-exists KEY              and if-absent KEY
  if-count PREFIX = N        the number of keys with a prefix
  if-lease KEY = LEASE       the lease that a key goes with; - is none
  then put KEY VALUE         also append, and put-if-absent
  then swap KEY VALUE        puts, and shows what was there
  then put KEY VALUE under LEASE    so that it goes with a lease; also put-if-absent and swap
  then incr KEY [N]          adds N, or 1; add is the same, but does not show the sum
  else get KEY
  else del KEY               also take, which shows what was there
  else range PREFIX [N]      shows the keys with a prefix, at most N
  else del-range PREFIX      deletes them

Words are separated by blanks. One with blanks, or with bytes that are no text, is quoted as in Go:
"two words\x00". The same as JSON, where value_base64 may stand instead of value, = is the default
relation, version, exists, count or lease instead of value compare those, a put may have a lease, and from
and to may stand instead of prefix:

  {"if":   [{"key": "a", "relation": ">", "value": "5"}, {"key": "b", "version": 0}, {"key": "c", "exists": true},
            {"prefix": "q/", "relation": "<", "count": 9}],
   "then": [{"op": "put", "key": "b", "value": "new"}, {"op": "incr", "key": "n", "delta": 2}],
   "else": [{"op": "get", "key": "a"}, {"op": "range", "from": "q/", "to": "q/5", "limit": 9}]}

With --dry-run nothing is sent: it is read and checked, and its footprint shown. The transaction waits for whatever
touches the same keys and ranges meanwhile; but reads do not wait for reads, nor adds for adds.

Values that make the answer too large are left out, and told so; read their keys one by one. Exits with 1 if
a condition did not hold, after carrying out the operations for that case.`

func txnCommand(sh *shell) *cobra.Command {
	c := &connection{sh: sh, forms: []string{formTable, formJSON}}
	cmd := &cobra.Command{
		Use:   "txn [FILE]",
		Short: "Carry out several operations as one, under conditions",
		Long:  txnHelp + clientHelp,
		Example: "  printf 'if a = 1\\nthen put a 2\\nelse get a\\n' | epaxos txn\n" +
			"  epaxos txn transfer.txn --dry-run",
		Args: cobra.MaximumNArgs(1), GroupID: groupData,
	}
	c.addFlags(cmd, timeoutDefault)
	c.addRequest(cmd)
	var dry bool
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check it and show what it touches, and do nothing")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		s, err := readScript(sh.in, args)
		if err != nil {
			return err
		}
		if dry {
			return c.showFootprint(s)
		}
		return c.with(ctx, func(ctx context.Context, client *clients.Client) error {
			return c.transact(ctx, client, s)
		})
	})
	return cmd
}

func readScript(in io.Reader, args []string) (script, error) {
	name := "<stdin>"
	if len(args) == 1 && args[0] != "-" {
		name = args[0]
		file, err := os.Open(args[0])
		if err != nil {
			return script{}, fmt.Errorf("read the transaction: %w", err)
		}
		defer file.Close()
		in = file
	}
	content, err := io.ReadAll(io.LimitReader(in, scriptBytesMax+1))
	if err != nil {
		return script{}, fmt.Errorf("read the transaction: %w", err)
	}
	if len(content) > scriptBytesMax {
		return script{}, fmt.Errorf("the transaction is longer than %d bytes", scriptBytesMax)
	}
	return parseScript(name, content)
}

func (c *connection) transact(ctx context.Context, client *clients.Client, s script) error {
	txn := s.build(client.Txn(ctx))
	result, err := txn.Commit()
	if err != nil {
		return err
	}
	steps := s.Then
	if !result.Succeeded {
		steps = s.Else
	}
	if err := c.showTxn(steps, result); err != nil {
		return err
	}
	return failedUnless(result.Succeeded)
}

func (s *script) build(txn *clients.Txn) *clients.Txn {
	for _, condition := range s.If {
		txn.If(condition.compare())
	}
	for _, step := range s.Then {
		txn.Then(step.operation())
	}
	for _, step := range s.Else {
		txn.Else(step.operation())
	}
	return txn
}

// shownAccess is a part of what a transaction touches, as JSON.
type shownAccess struct {
	Access string  `json:"access"` // read, write or add
	Key    string  `json:"key,omitempty"`
	From   *string `json:"from,omitempty"` // of a range, which ends before To, or nowhere if that is empty
	To     string  `json:"to,omitempty"`
}

var modes = map[epaxos.Mode]string{epaxos.Read: "read", epaxos.Write: "write", epaxos.Add: "add"}

// showFootprint refuses what a replica would refuse unseen, and otherwise shows what a transaction touches.
func (c *connection) showFootprint(s script) error {
	if !slices.Contains(c.forms, c.output) {
		return usage("--output %q: need %s", c.output, choices(c.forms))
	}
	footprint, err := execution.KV{}.Footprint(s.build(new(clients.Client).Txn(context.Background())).Payload())
	if err != nil {
		return err
	}
	all := make([]shownAccess, len(footprint))
	for i, a := range footprint {
		all[i] = shownAccess{Access: modes[a.Mode], Key: a.Key}
		if a.Range {
			all[i] = shownAccess{Access: modes[a.Mode], From: &footprint[i].Key, To: a.End}
		}
	}
	if c.output == formJSON {
		return printJSON(c.sh.out, map[string]any{"footprint": all})
	}
	fmt.Fprintf(c.sh.out, "%d %s, then %d %s, else %d; not carried out\n", len(s.If), plural(len(s.If), "condition"),
		len(s.Then), plural(len(s.Then), "operation"), len(s.Else))
	t := newTable(c.sh.out, "ACCESS", "KEY", "TO")
	for _, a := range all {
		switch {
		case a.From == nil:
			t.row(a.Access, printable([]byte(a.Key)), "-")
		case a.To == "":
			t.row(a.Access, printable([]byte(*a.From)), "(the end)")
		default:
			t.row(a.Access, printable([]byte(*a.From)), printable([]byte(a.To)))
		}
	}
	return t.flush()
}

// shownTxn is the result of a transaction, as JSON.
type shownTxn struct {
	Succeeded bool             `json:"succeeded"`
	Replica   epaxos.ReplicaID `json:"replica"`
	Fast      bool             `json:"fast"`
	Results   []shown          `json:"results"`
}

func (c *connection) showTxn(steps []step, result clients.TxnResult) error {
	s := shownTxn{Succeeded: result.Succeeded, Replica: result.Replica, Fast: result.Fast, Results: []shown{}}
	for i, r := range result.Results {
		s.Results = append(s.Results, shownOf(steps[i].Op, steps[i].name(), r))
	}
	if c.output == formJSON {
		return printJSON(c.sh.out, s)
	}
	fmt.Fprintf(c.sh.out, "%s, led by replica %d on the %s path\n",
		keyword(s.Succeeded, "then: all conditions held", "else: a condition did not hold"), s.Replica, path(s.Fast))
	if len(s.Results) == 0 {
		return nil
	}
	t := newTable(c.sh.out, "OP", "KEY", "RESULT", "VALUE", "VERSION")
	for i := range s.Results {
		r := &s.Results[i]
		t.row(r.Op, printable([]byte(r.Key)), r.outcome(), r.value(), r.Version)
		for j := range r.Pairs {
			p := &r.Pairs[j]
			t.row("", printable([]byte(p.Key)), "", p.printable(), p.Version)
		}
	}
	return t.flush()
}
