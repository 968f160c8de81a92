package traffic

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/history"
	"github.com/264bc8cf/epaxos/internal/process/cluster"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/server"
)

// operationTimeout ends an operation at a replica that cannot serve it, so that its worker goes on
// when the replica can again. It is far above what one takes.
const operationTimeout = 5 * time.Second

// Load is workers under way. Its methods are safe for concurrent use, but for Stop and ReadAll.
type Load struct {
	profile  Profile
	began    time.Time
	recorder history.Recorder
	clients  []*clients.Client // of each site
	served   []atomic.Int64    // answered operations that each replica led
	roamed   []atomic.Int64    // answered operations of the roaming workers of each site
	unknown  atomic.Int64
	refused  atomic.Int64 // not applied
	fault    atomic.Pointer[error]
	stop     context.CancelFunc
	workers  sync.WaitGroup
}

// Start connects the clients of all sites and lets them work.
func Start(ctx context.Context, c *cluster.Cluster, p Profile, seed uint64) (*Load, error) {
	n := len(c.Replicas)
	l := &Load{
		profile: p, began: time.Now(), served: make([]atomic.Int64, epaxos.VotersMax), roamed: make([]atomic.Int64, n),
	}
	ctx, l.stop = context.WithCancel(ctx)
	for _, r := range c.Replicas {
		client, err := c.Dial(ctx, r.ID)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.clients = append(l.clients, client)
	}
	number := 0
	for i, client := range l.clients {
		for j := range p.Pinned + p.Roaming {
			w := &worker{
				load: l, client: client, number: number, site: i, versions: map[string]uint64{},
				random: rand.New(rand.NewPCG(seed, uint64(number))),
			}
			if j < p.Pinned {
				w.replica = epaxos.ReplicaID(i + 1)
			}
			number++
			l.workers.Go(func() { w.work(ctx) })
		}
	}
	return l, nil
}

// Completed counts the operations that were answered.
func (l *Load) Completed() int {
	sum := 0
	for i := range l.served {
		sum += int(l.served[i].Load())
	}
	return sum
}

// Served counts the operations that a replica answered.
func (l *Load) Served(id epaxos.ReplicaID) int { return int(l.served[id-1].Load()) }

// Unknown counts the operations whose outcome is unknown.
func (l *Load) Unknown() int { return int(l.unknown.Load()) }

// Refused counts the operations that had no effect.
func (l *Load) Refused() int { return int(l.refused.Load()) }

// Await returns when n more operations have been answered.
func (l *Load) Await(ctx context.Context, n int) error {
	return l.await(ctx, n, "all replicas", l.Completed)
}

// AwaitAt returns when one replica has answered n more operations.
func (l *Load) AwaitAt(ctx context.Context, id epaxos.ReplicaID, n int) error {
	return l.await(ctx, n, fmt.Sprintf("replica %d", id), func() int { return l.Served(id) })
}

// AwaitRoaming returns when the roaming workers at the site of one replica have got n more answers,
// from whomever: so if that replica is gone, they have left it.
func (l *Load) AwaitRoaming(ctx context.Context, id epaxos.ReplicaID, n int) error {
	who := fmt.Sprintf("for clients at the site of replica %d all replicas", id)
	return l.await(ctx, n, who, func() int { return int(l.roamed[id-1].Load()) })
}

func (l *Load) await(ctx context.Context, n int, who string, count func() int) error {
	began := count()
	for count() < began+n {
		if fault := l.fault.Load(); fault != nil {
			return *fault
		}
		if !cluster.Sleep(ctx) {
			return fmt.Errorf("violation of progress: %s answered %d operations of %d in time: %w",
				who, count()-began, n, context.Cause(ctx))
		}
	}
	return nil
}

// Stop ends the workers. What they asked for last is waited for.
func (l *Load) Stop() error {
	l.stop()
	l.workers.Wait()
	if fault := l.fault.Load(); fault != nil {
		return *fault
	}
	return nil
}

// Close ends the workers and disconnects.
func (l *Load) Close() error {
	l.stop()
	l.workers.Wait()
	var errs []error
	for _, client := range l.clients {
		errs = append(errs, client.Close())
	}
	return errors.Join(errs...)
}

// LongestPause is the longest time in which a worker had no answer, of the operations that were begun since a time
// on the clock of Elapsed, and when that was.
func (l *Load) LongestPause(since time.Duration) (pause, at time.Duration) {
	for _, o := range l.Operations() {
		if took := o.Return - o.Call; o.Call >= since && took > pause {
			pause, at = took, o.Call
		}
	}
	return pause, at
}

// Elapsed is the time since the load began, which is that of its history.
func (l *Load) Elapsed() time.Duration { return time.Since(l.began) }

// Operations is the history so far.
func (l *Load) Operations() []history.Operation { return l.recorder.Operations() }

// ReadAll reads every key at every replica. The reads are part of the history.
func (l *Load) ReadAll(ctx context.Context) error {
	return l.readKeys(ctx, l.keys(), func(site int) epaxos.ReplicaID { return epaxos.ReplicaID(site + 1) })
}

// ReadSome reads every key from each site, at whatever replica serves it. The reads are part of the history.
func (l *Load) ReadSome(ctx context.Context) error {
	return l.readKeys(ctx, l.keys(), func(int) epaxos.ReplicaID { return 0 })
}

func (l *Load) keys() (keys []string) {
	for _, share := range l.profile.Mix {
		keys = append(keys, share.Family.Keys...)
	}
	slices.Sort(keys)
	return keys
}

func (l *Load) readKeys(ctx context.Context, keys []string, at func(site int) epaxos.ReplicaID) error {
	var reading sync.WaitGroup
	errs := make([]error, readers*len(l.clients))
	for i := range errs {
		site := i / readers
		w := &worker{load: l, client: l.clients[site], number: -1 - i, replica: at(site)}
		reading.Go(func() {
			for j := i % readers; j < len(keys) && errs[i] == nil; j += readers {
				errs[i] = w.read(ctx, keys[j])
			}
		})
	}
	reading.Wait()
	return errors.Join(errs...)
}

// readers is how many read at each replica in the end.
const readers = 16

// read reads one key, however often it takes: on a machine that is short of processors one attempt may
// time out.
func (w *worker) read(ctx context.Context, key string) error {
	for {
		op := get(key)
		err := w.do(ctx, &op)
		if err == nil {
			return nil
		}
		if !cluster.Sleep(ctx) {
			return fmt.Errorf("violation of progress: %s cannot be read at replica %d: %w", key, w.replica, err)
		}
	}
}

// Status asks a replica what it says of itself, from its own site, where no cut keeps it from answering.
func (l *Load) Status(ctx context.Context, id epaxos.ReplicaID) (server.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	var status server.Status
	body, err := l.clients[id-1].Status(ctx, id)
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return status, fmt.Errorf("the status of replica %d cannot be read: %w", id, err)
	}
	return status, nil
}

// CheckCoverage reports what the load should have done and did not: a generator that has fallen
// silent proves nothing.
func (l *Load) CheckCoverage() error {
	families := map[string]int{}
	var won, lost int // conditions
	for _, o := range l.Operations() {
		if o.Outcome != wire.OutcomeApplied {
			continue
		}
		family, _, _ := strings.Cut(nameOf(&o.Op), "/")
		families[family]++
		switch {
		case o.Op.Kind == wire.OpCompareAndSet && o.Result.Status == wire.OpOK,
			o.Op.Kind == wire.OpTxn && len(o.Op.Compares) > 0 && o.Result.Succeeded:
			won++
		case o.Op.Kind == wire.OpCompareAndSet || o.Op.Kind == wire.OpTxn && len(o.Op.Compares) > 0:
			lost++
		}
	}
	conditional := false
	for _, share := range l.profile.Mix {
		if families[share.Family.Name] == 0 {
			return fmt.Errorf("the load did nothing to the keys of %s", share.Family.Name)
		}
		conditional = conditional || share.Family.Name == guarded.Name
	}
	if conditional && (won == 0 || lost == 0) {
		return fmt.Errorf("%d conditions held and %d did not: the load never contends, or never wins", won, lost)
	}
	return nil
}

// nameOf is the key of an operation; the first of a transaction.
func nameOf(op *wire.Op) string {
	if op.Kind == wire.OpTxn {
		return string(op.Then[0].Key)
	}
	return string(op.Key)
}

// worker is one closed loop. Only its own goroutine uses it.
type worker struct {
	load     *Load
	client   *clients.Client
	number   int
	site     int
	replica  epaxos.ReplicaID // the only one that it sends to; 0 is the nearest that is well
	random   *rand.Rand
	values   int
	versions map[string]uint64 // of keys as it last saw them
}

func (w *worker) work(ctx context.Context) {
	for ctx.Err() == nil {
		op := w.draw()
		// What was begun is waited for: an answer that comes is worth more to the checker than none.
		if err := w.do(context.WithoutCancel(ctx), &op); err != nil {
			cluster.Sleep(ctx) // a refusal may come at once
		}
	}
}

func (w *worker) draw() wire.Op {
	sum := 0
	for _, share := range w.load.profile.Mix {
		sum += share.Weight
	}
	n := w.random.IntN(sum)
	for _, share := range w.load.profile.Mix {
		if n -= share.Weight; n < 0 {
			return share.Family.draw(w)
		}
	}
	panic("the weights of a profile have no sum")
}

// value is one that nobody else writes.
func (w *worker) value() []byte {
	w.values++
	value := fmt.Appendf(nil, "%d.%d.", w.number, w.values)
	longest := max(w.load.profile.ValueBytes-len(value), 0)
	return append(value, strings.Repeat("v", w.random.IntN(longest+1))...)
}

// do carries out one operation and records it, unless it had no effect.
func (w *worker) do(ctx context.Context, op *wire.Op) error {
	l := w.load
	o := history.Operation{Client: w.number, Op: *op, Call: time.Since(l.began)}
	result, by, err := w.ask(ctx, op)
	o.Return, o.Outcome, o.Result = time.Since(l.began), wire.OutcomeUnknown, result
	switch {
	case err == nil:
		o.Outcome = wire.OutcomeApplied
		l.served[by-1].Add(1)
		if w.replica == 0 {
			l.roamed[w.site].Add(1)
		}
		w.see(op, &result)
	case clients.OutcomeOf(err) == clients.NotApplied:
		l.refused.Add(1)
		return l.inspect(err)
	default: // also if it is known to have taken effect: what came of it is not
		l.unknown.Add(1)
	}
	l.recorder.Add(o)
	return l.inspect(err)
}

// inspect keeps an error that no fault explains. It returns err.
func (l *Load) inspect(err error) error {
	failed, ok := errors.AsType[*clients.Error](err)
	if err != nil && (!ok || failed.Code == clients.CodeInvalid || failed.Code == clients.CodeProtocol) {
		broken := fmt.Errorf("violation of integrity: an honest request ended with: %w", err)
		l.fault.CompareAndSwap(nil, &broken)
	}
	return err
}

func (w *worker) ask(ctx context.Context, op *wire.Op) (wire.Result, epaxos.ReplicaID, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(w.load.profile.Timeout, operationTimeout))
	defer cancel()
	reply, err := w.client.Start(ctx, clients.Request{
		Payload: wire.AppendOp(nil, op), ReadOnly: op.Kind == wire.OpGet, Replica: w.replica,
	}).Wait()
	if err != nil {
		return wire.Result{}, 0, err
	}
	result, err := wire.DecodeResult(reply.Result)
	if err != nil {
		return wire.Result{}, 0, fmt.Errorf("read the result of replica %d: %w", reply.Replica, err)
	}
	return result, reply.Replica, nil
}

// see remembers the versions that an answer tells.
func (w *worker) see(op *wire.Op, result *wire.Result) {
	if w.versions == nil {
		return
	}
	if op.Kind != wire.OpTxn {
		w.versions[string(op.Key)] = result.Version
		return
	}
	branch := op.Else
	if result.Succeeded {
		branch = op.Then
	}
	for i := range min(len(branch), len(result.Results)) {
		w.versions[string(branch[i].Key)] = result.Results[i].Version
	}
}

// Describe is one line about a load, for reports.
func (l *Load) Describe() string {
	var served []string
	for i := range l.served {
		if n := l.served[i].Load(); n > 0 || i < len(l.roamed) {
			served = append(served, fmt.Sprint(n))
		}
	}
	return fmt.Sprintf("%d operations answered (%s by replica), %d unknown, %d refused",
		l.Completed(), cmp.Or(strings.Join(served, " "), "none"), l.Unknown(), l.Refused())
}
