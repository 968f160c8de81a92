package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/264bc8cf/epaxos/clients"
)

// reading holds the flags of commands that read by choice.
type reading struct {
	consistency string
	token       string
	replica     uint32
	cut         string
	flags       *pflag.FlagSet
	chosen      []clients.ReadOption // what the flags come to, once checked
}

const readingHelp = `

--consistency says what may be seen: linearizable, everything that was answered anywhere before; session, everything
that --token names, as an earlier command told it with -o json; stale, what the nearest replica has, with its age.
--cut shows the state at a cut instead, see epaxos cut.`

var consistencies = map[string]clients.Consistency{
	"linearizable": clients.Linearizable, "session": clients.Session, "stale": clients.Stale,
}

func (r *reading) add(cmd *cobra.Command) {
	cmd.Long += readingHelp
	cmd.Flags().StringVar(&r.consistency, "consistency", "linearizable",
		"`what` may be seen: linearizable, session or stale")
	cmd.Flags().StringVar(&r.token, "token", "", "`token` of what a session read has to show")
	cmd.Flags().Uint32Var(&r.replica, "replica", 0, "`id` of the replica to read at, and no other")
	cmd.Flags().StringVar(&r.cut, "cut", "", "`id` of a cut to read at, as epaxos cut create told it")
	r.flags = cmd.Flags()
}

// check finds out what the flags come to, before anything is connected.
func (r *reading) check() (err error) {
	r.chosen, err = r.options()
	return err
}

// options reads the flags.
func (r *reading) options() ([]clients.ReadOption, error) {
	consistency, known := consistencies[r.consistency]
	if !known {
		return nil, usage("--consistency %q: need linearizable, session or stale", r.consistency)
	}
	options := []clients.ReadOption{consistency}
	if r.token != "" {
		token, err := clients.ParseToken(r.token)
		if err != nil {
			return nil, usage("--token: %v", err)
		}
		if consistency != clients.Session {
			return nil, usage("--token: only reads with --consistency session heed it")
		}
		options = append(options, token)
	}
	if r.cut != "" {
		cut, err := clients.ParseCutID(r.cut)
		if err != nil {
			return nil, usage("--cut: %v", err)
		}
		if r.flags.Changed("consistency") || r.token != "" {
			return nil, usage("--cut: a cut shows one moment, whatever --consistency and --token say: leave them out")
		}
		options = append(options, clients.AtCut(cut))
	}
	if r.replica != 0 {
		options = append(options, clients.At(clients.ReplicaID(r.replica)))
	}
	return options, nil
}

// way is how a range was read.
func (r *reading) way(page clients.Page) string {
	switch {
	case r.cut != "":
		return "at the cut"
	case r.consistency != "linearizable":
		return "without asking others"
	default:
		return "on the " + path(page.Fast) + " path"
	}
}

// path is how a read without a command was served.
func (r *reading) path() string {
	if r.consistency == "linearizable" && r.cut == "" {
		return "quorum"
	}
	return "local"
}

// shownAge is the age of a stale read in milliseconds, as JSON; nil if it is not one or nobody can tell.
func (r *reading) shownAge(age time.Duration) *float64 {
	if r.consistency != "stale" || age < 0 {
		return nil
	}
	return new(float64(age.Microseconds()) / 1000)
}

// addRequest adds the flag that names what a command changes.
func (c *connection) addRequest(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.request, "request", "",
		"`SESSION/NUMBER` of this change: repeated under the same name, it takes effect once; see epaxos session")
}

// named gives the name to the one change that is made under the context.
func (c *connection) named(ctx context.Context) (context.Context, error) {
	if c.request == "" {
		return ctx, nil
	}
	id, err := clients.ParseRequestID(c.request)
	if err != nil {
		return nil, usage("--request: %v", err)
	}
	return clients.NamedRequest(ctx, id), nil
}
