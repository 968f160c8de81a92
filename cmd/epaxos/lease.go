package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/264bc8cf/epaxos/clients"
)

const leaseHelp = `A lease ends when nobody keeps it alive for its time to live, and the keys that were put under it
with it, all in one moment. Grant one, put keys under it, and keep it alive as long as they shall be there. A key
that is put again without the lease stays when that ends.`

func leaseCommand(sh *shell) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lease", Short: "Make keys that go when nobody keeps them",
		Long: leaseHelp, GroupID: groupData,
		Example: "  L=$(epaxos lease grant --ttl 30s -o raw)\n" +
			"  epaxos put workers/7 here --lease $L\n" +
			"  epaxos lease keep $L --loop",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(leaseGrant(sh), leaseKeep(sh), leaseShow(sh), leaseRevoke(sh))
	return cmd
}

// shownLease is what a command on a lease tells, as JSON.
type shownLease struct {
	Lease string   `json:"lease"`
	State string   `json:"state"` // granted, alive or revoked
	TTL   float64  `json:"ttl_s,omitempty"`
	Keys  []string `json:"keys,omitempty"`
}

func (c *connection) showLease(id clients.LeaseID, state string, ttl time.Duration) error {
	s := shownLease{Lease: id.String(), State: state, TTL: ttl.Seconds()}
	switch c.output {
	case formJSON:
		return printJSON(c.sh.out, s)
	case formRaw:
		_, err := fmt.Fprintln(c.sh.out, s.Lease)
		return err
	default:
	}
	t := newTable(c.sh.out, "LEASE", "STATE", "TTL")
	t.row(s.Lease, state, leaseTTL(ttl))
	return t.flush()
}

func leaseTTL(ttl time.Duration) string {
	if ttl == 0 {
		return "-"
	}
	return ttl.String()
}

func leaseGrant(sh *shell) *cobra.Command {
	var ttl time.Duration
	cmd := sessionAct(sh, &cobra.Command{Use: "grant", Short: "Make a lease", Args: cobra.NoArgs},
		func(ctx context.Context, c *connection, client *clients.Client, _ []string) error {
			if ttl < time.Second || ttl > clients.LeaseTTLMax {
				return usage("--ttl %v: need between 1s and %v", ttl, clients.LeaseTTLMax)
			}
			id, err := client.OpenSession(ctx, ttl) // which is a lease that nobody keeps alive here
			if err != nil {
				return err
			}
			return c.showLease(id, "granted", ttl)
		})
	cmd.Flags().DurationVar(&ttl, "ttl", time.Minute, "the lease ends when it is not kept alive for so long")
	return cmd
}

func leaseKeep(sh *shell) *cobra.Command {
	c := &connection{sh: sh, forms: []string{formTable, formJSON, formRaw}}
	var loop bool
	cmd := &cobra.Command{
		Use: "keep LEASE", Short: "Keep a lease alive", Args: cobra.ExactArgs(1),
		Long: "Keeps a lease alive for its time to live from now on. With --loop it goes on until it is interrupted,\n" +
			"or the lease is lost: then the code is 1. An interrupt leaves the lease as it is." + clientHelp,
	}
	c.addFlags(cmd, timeoutDefault)
	cmd.Flags().BoolVar(&loop, "loop", false, "go on until interrupted")
	cmd.RunE = does(func(ctx context.Context, args []string) error {
		id, err := clients.ParseLeaseID(args[0])
		if err != nil {
			return usage("%v", err)
		}
		if loop {
			return c.hold(ctx, func(ctx context.Context, client *clients.Client) error { return c.keepLease(ctx, client, id) })
		}
		return c.with(ctx, func(ctx context.Context, client *clients.Client) error {
			ttl, err := client.KeepAliveOnce(ctx, id)
			if err != nil {
				return err
			}
			return c.showLease(id, "alive", ttl)
		})
	})
	return cmd
}

// keepLease keeps a lease alive until it is lost or the command is interrupted.
func (c *connection) keepLease(ctx context.Context, client *clients.Client, id clients.LeaseID) error {
	first, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	lease, err := client.ResumeLease(first, id)
	if err != nil {
		return err
	}
	defer lease.Close()
	if err := c.showLease(id, "alive", lease.TTL()); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-lease.Done():
		return fmt.Errorf("lease %v: %w", id, lease.Err())
	}
}

func leaseShow(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "show LEASE", Short: "Show the keys under a lease", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *connection, client *clients.Client, args []string) error {
		id, err := clients.ParseLeaseID(args[0])
		if err != nil {
			return usage("%v", err)
		}
		info, err := client.LeaseInfo(ctx, id)
		if err != nil {
			return err
		}
		if c.output == formJSON {
			return printJSON(c.sh.out, shownLease{Lease: args[0], State: "alive", TTL: info.TTL.Seconds(), Keys: info.Keys})
		}
		if c.output == formTable {
			if err := c.showLease(id, "alive", info.TTL); err != nil {
				return err
			}
			fmt.Fprintf(c.sh.out, "\n%s\n", counted(len(info.Keys)))
		}
		for _, key := range info.Keys {
			if _, err := fmt.Fprintln(c.sh.out, printable([]byte(key))); err != nil {
				return fmt.Errorf("write the output: %w", err)
			}
		}
		return nil
	})
}

func leaseRevoke(sh *shell) *cobra.Command {
	return sessionAct(sh, &cobra.Command{
		Use: "revoke LEASE", Short: "End a lease now, and delete its keys", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *connection, client *clients.Client, args []string) error {
		id, err := clients.ParseLeaseID(args[0])
		if err != nil {
			return usage("%v", err)
		}
		if err := client.RevokeLease(ctx, id); err != nil {
			return err
		}
		return c.showLease(id, "revoked", 0)
	})
}

// leaseFlag is --lease of the commands that put keys.
type leaseFlag string

func (l *leaseFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar((*string)(l), "lease", "", "the key goes with this `lease`; see epaxos lease")
}

func (l leaseFlag) options() ([]clients.PutOption, error) {
	if l == "" {
		return nil, nil
	}
	id, err := clients.ParseLeaseID(string(l))
	if err != nil {
		return nil, usage("--lease: %v", err)
	}
	return []clients.PutOption{clients.WithLease(id)}, nil
}

var errNoLease = errors.New("need REPLICA.SLOT or eEPOCH:REPLICA.SLOT, or - for none")

// parseLease reads a lease in a transaction.
func parseLease(text string) (clients.LeaseID, error) {
	if text == "-" {
		return clients.LeaseID{}, nil
	}
	id, err := clients.ParseLeaseID(text)
	if err != nil {
		return id, fmt.Errorf("lease %q: %w", text, errNoLease)
	}
	return id, nil
}
