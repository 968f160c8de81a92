package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/internal/bootstrap"
)

// connection holds the flags of every command that acts as a client.
type connection struct {
	sh        *shell
	profile   string
	endpoints []string
	timeout   time.Duration
	output    string
	forms     []string             // possible values of output
	seen      func() clients.Token // what the command has seen so far; nil if it does not tell
	request   string               // name of what the command changes; may be empty

	dialTimeout time.Duration // 0 is timeout
	cluster     [16]byte      // of the profile, once connected
	deadline    time.Time     // when the timeout is over
}

// Forms of output.
const (
	formTable = "table"
	formJSON  = "json"
	formRaw   = "raw"
)

const (
	profileEnv     = "EPAXOS_PROFILE"
	timeoutDefault = 10 * time.Second
)

func (c *connection) addFlags(cmd *cobra.Command, timeout time.Duration) {
	if len(c.forms) == 0 {
		c.forms = []string{formTable, formJSON}
	}
	flags := cmd.Flags()
	flags.StringVar(&c.profile, "profile", "", "client profile, a `file` that init wrote (default $"+profileEnv+")")
	flags.StringArrayVar(&c.endpoints, "endpoint", nil,
		"`host:port` of a replica to start from, instead of those of the profile; may be repeated")
	flags.DurationVar(&c.timeout, "timeout", timeout, "time for everything, connecting included")
	flags.StringVarP(&c.output, "output", "o", formTable, "`form` of the output: "+choices(c.forms))
	_ = flags.SetAnnotation("output", formAnnotation, c.forms) // the flag exists
}

func choices(forms []string) string {
	last := len(forms) - 1
	return strings.Join(forms[:last], ", ") + " or " + forms[last]
}

// with connects, calls f, and disconnects. The context that f gets ends with the timeout.
func (c *connection) with(ctx context.Context, f func(context.Context, *clients.Client) error) error {
	return c.hold(ctx, func(ctx context.Context, client *clients.Client) error {
		ctx, cancel := context.WithDeadline(ctx, c.deadline)
		defer cancel()
		return f(ctx, client)
	})
}

// hold is with, for what lasts until it is interrupted: only to connect ends with the timeout.
func (c *connection) hold(ctx context.Context, f func(context.Context, *clients.Client) error) error {
	access, err := c.check()
	if err != nil {
		return err
	}
	c.deadline = time.Now().Add(c.timeout)
	named, err := c.named(ctx)
	if err != nil {
		return err
	}
	c.cluster = access.Cluster
	client, done, err := c.client(ctx, access)
	if err != nil {
		return err
	}
	defer done()
	return f(named, client)
}

// client is the one that the commands of a dialogue share, or one of this command's own. The function returned gives
// it back.
func (c *connection) client(ctx context.Context, access bootstrap.Access) (*clients.Client, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.dialTimeout, c.timeout))
	defer cancel()
	if c.sh.held != nil && len(c.endpoints) == 0 && c.profile == c.sh.held.profile {
		client, err := c.sh.held.client(ctx, access)
		return client, func() {}, err
	}
	// A session would cost two round trips more.
	client, err := dial(ctx, access, clients.WithTimeout(c.timeout), clients.WithoutSession())
	if err != nil {
		return nil, nil, err
	}
	return client, func() { _ = client.Close() }, nil // every answer is here already
}

func dial(ctx context.Context, access bootstrap.Access, options ...clients.Option) (*clients.Client, error) {
	options = append([]clients.Option{
		clients.WithTLS(access.TLS), clients.WithCluster(access.Cluster), clients.WithName("epaxos command"),
	}, options...)
	client, err := clients.Dial(ctx, access.Endpoints, options...)
	if err != nil {
		return nil, &failure{code: exitUnavailable, err: fmt.Errorf("reach the cluster at %s: %w",
			strings.Join(access.Endpoints, ", "), err)}
	}
	return client, nil
}

// check completes and validates the flags, and reads the profile.
func (c *connection) check() (bootstrap.Access, error) {
	switch {
	case !slices.Contains(c.forms, c.output):
		return bootstrap.Access{}, usage("--output %q: need %s", c.output, choices(c.forms))
	case c.timeout < time.Millisecond:
		return bootstrap.Access{}, usage("--timeout %v: need at least 1ms", c.timeout)
	}
	if c.profile == "" && c.sh.held != nil {
		c.profile = c.sh.held.profile
	}
	if c.profile == "" {
		c.profile, _ = c.sh.env(profileEnv)
	}
	if c.profile == "" {
		return bootstrap.Access{}, usage("no profile: name the client.yaml that init wrote, as --profile or in %s",
			profileEnv)
	}
	access, err := bootstrap.LoadAccess(c.profile)
	if err != nil {
		return bootstrap.Access{}, err
	}
	if len(c.endpoints) > 0 {
		access.Endpoints = c.endpoints
	}
	return access, nil
}

// keyword formats a value of a table's column that is yes or no.
func keyword(yes bool, whenYes, whenNo string) string {
	if yes {
		return whenYes
	}
	return whenNo
}

// milliseconds formats a duration with a precision that suits round trips.
func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1000)
}
