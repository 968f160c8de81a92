package failure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/wan"
)

// networks make the paths between replicas bad, below QUIC.
var networks = []Failure{
	{Name: "loss", Network: true, Inject: lossy(wan.Link{Loss: 0.05}, lost)},
	{Name: "duplicates", Network: true, Inject: lossy(wan.Link{Duplicate: 0.3}, duplicated)},
	{Name: "bad-links", Network: true, Inject: lossy(
		wan.Link{Loss: 0.02, Duplicate: 0.1, Jitter: 20 * time.Millisecond}, lost, duplicated)},
	{Name: "isolate-one", Network: true, Inject: func(ctx context.Context, e *Env) error {
		return e.isolated(ctx, e.victim())
	}},
	{Name: "isolate-minority", Network: true, Inject: func(ctx context.Context, e *Env) error {
		return e.isolated(ctx, e.minority()...)
	}},
	{Name: "split-all", Network: true, Inject: splitAll},
	{Name: "cut-pair", Network: true, Inject: cutPair},
	{Name: "deaf", Network: true, Inject: deaf},
	{Name: "mute", Network: true, Inject: mute},
	{Name: "flapping", Network: true, Inject: flapping},
}

// counter is one of the counts of an emulator.
type counter struct {
	name string
	of   func(s wan.Stats) uint64
}

var (
	lost       = counter{"datagrams lost", func(s wan.Stats) uint64 { return s.Lost }}
	duplicated = counter{"datagrams duplicated", func(s wan.Stats) uint64 { return s.Duplicated }}
	dropped    = counter{"datagrams cut", func(s wan.Stats) uint64 { return s.Cut }}
)

// datagramsHurt is how many datagrams a failure must have met.
const datagramsHurt = 50

// hurt waits until count datagrams more have met their fate, and notes how many have since before.
func (e *Env) hurt(ctx context.Context, before wan.Stats, counters ...counter) error {
	for _, c := range counters {
		began := c.of(before)
		for c.of(e.Cluster.Network.Stats()) < began+datagramsHurt {
			if !cluster.Sleep(ctx) {
				return fmt.Errorf("too few %s: %w", c.name, context.Cause(ctx))
			}
		}
		e.Faults[c.name] += int(c.of(e.Cluster.Network.Stats()) - began)
	}
	return nil
}

// whole heals the network and waits until all replicas serve.
func (e *Env) whole(ctx context.Context, hurt error) error {
	if err := healed(hurt, e.Cluster.Network.Heal); err != nil {
		return err
	}
	return e.AllServe(ctx)
}

// lossy makes all links bad for a while.
func lossy(link wan.Link, counters ...counter) func(context.Context, *Env) error {
	return func(ctx context.Context, e *Env) error {
		before := e.Cluster.Network.Stats()
		if err := e.Cluster.Network.SetLinks(link); err != nil {
			return err
		}
		for range 8 {
			if err := e.work(ctx); err != nil {
				return e.whole(ctx, err)
			}
		}
		return e.whole(ctx, e.hurt(ctx, before, counters...))
	}
}

// isolated cuts replicas off from all others, each by itself; the others must go on.
func (e *Env) isolated(ctx context.Context, victims ...*cluster.Replica) error {
	before := e.Cluster.Network.Stats()
	for _, r := range victims {
		if err := e.Cluster.Network.Isolate(site(r), true); err != nil {
			return err
		}
		e.Faults["replicas isolated"]++
	}
	return e.whole(ctx, errors.Join(
		e.notices(ctx, e.others(victims...), victims), e.work(ctx), e.hurt(ctx, before, dropped)))
}

// splitAll cuts every replica off from every other, so that nobody has a quorum.
func splitAll(ctx context.Context, e *Env) error {
	before := e.Cluster.Network.Stats()
	for _, r := range e.Cluster.Replicas {
		if err := e.Cluster.Network.Isolate(site(r), true); err != nil {
			return err
		}
		e.Faults["replicas isolated"]++
	}
	var unnoticed error
	for _, r := range e.Cluster.Replicas {
		unnoticed = errors.Join(unnoticed, e.notices(ctx, []*cluster.Replica{r}, e.others(r)))
	}
	return e.whole(ctx, errors.Join(unnoticed, e.hurt(ctx, before, dropped)))
}

// pair draws two replicas.
func (e *Env) pair() (a, b int) {
	drawn := e.Random.Perm(len(e.Cluster.Replicas))
	return drawn[0], drawn[1]
}

// cutPair cuts two replicas off from each other. Both reach the others, so both must go on.
func cutPair(ctx context.Context, e *Env) error {
	before := e.Cluster.Network.Stats()
	a, b := e.pair()
	if err := e.Cluster.Network.Cut(a, b, true); err != nil {
		return err
	}
	e.Faults["pairs cut"]++
	one, other := e.Cluster.Replicas[a:a+1], e.Cluster.Replicas[b:b+1]
	return e.whole(ctx, errors.Join(e.notices(ctx, one, other), e.notices(ctx, other, one), e.work(ctx),
		e.serves(ctx, one[0]), e.serves(ctx, other[0]), e.hurt(ctx, before, dropped)))
}

// mute cuts all that a replica sends: it hears the others, and they do not hear it. They must go on.
func mute(ctx context.Context, e *Env) error {
	before, r := e.Cluster.Network.Stats(), e.victim()
	others := e.others(r)
	for _, other := range others {
		if err := e.Cluster.Network.CutOneWay(site(r), site(other), true); err != nil {
			return err
		}
		e.Faults["paths cut one way"]++
	}
	return e.whole(ctx, errors.Join(
		e.notices(ctx, others, []*cluster.Replica{r}), e.work(ctx), e.hurt(ctx, before, dropped)))
}

// deaf cuts all that is sent to a replica: it still speaks, of what it heard last. The others must
// go on.
func deaf(ctx context.Context, e *Env) error {
	before, r := e.Cluster.Network.Stats(), e.victim()
	others := e.others(r)
	for _, other := range others {
		if err := e.Cluster.Network.CutOneWay(site(other), site(r), true); err != nil {
			return err
		}
		e.Faults["paths cut one way"]++
	}
	return e.whole(ctx, errors.Join(
		e.notices(ctx, []*cluster.Replica{r}, others), e.work(ctx), e.hurt(ctx, before, dropped)))
}

// flapping cuts pairs, drawn anew again and again, some of them one way.
func flapping(ctx context.Context, e *Env) error {
	before := e.Cluster.Network.Stats()
	for range 8 {
		a, b := e.pair()
		cut := e.Cluster.Network.Cut
		if e.Random.IntN(3) == 0 {
			cut = e.Cluster.Network.CutOneWay
		}
		if err := cut(a, b, true); err != nil {
			return err
		}
		e.Faults["pairs cut"]++
		for range 10 + e.Random.IntN(60) { // up to 1.4 s: some are short, some raise suspicion
			cluster.Sleep(ctx)
		}
		if err := cut(a, b, false); err != nil {
			return err
		}
	}
	return e.whole(ctx, errors.Join(e.work(ctx), e.hurt(ctx, before, dropped)))
}
