package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Verdict is the answer of Check.
type Verdict uint8

// The verdicts. Undecided means that the time was up.
const (
	Undecided Verdict = iota
	Linearizable
	Illegal
)

// String is the word that people read.
func (v Verdict) String() string {
	switch v {
	case Linearizable:
		return "linearizable"
	case Illegal:
		return "not linearizable"
	default:
		return "undecided"
	}
}

// Report is a verdict and what led to it.
type Report struct {
	Verdict    Verdict
	Operations int // looked at
	Keys       int
	Key        string // the first that is illegal or undecided
	// Detail says what is wrong with that key, with some of its operations, for people.
	Detail string

	failed *piece // that is illegal or undecided, if it came to a search
}

// Check decides whether operations are linearizable. It takes about as long as limit at most. An
// error means that the history itself makes no sense.
func Check(operations []Operation, limit time.Duration) (Report, error) {
	deadline := time.Now().Add(limit)
	keys, err := byKey(operations)
	if err != nil {
		return Report{}, err
	}
	report := Report{Verdict: Linearizable, Operations: len(operations), Keys: len(keys)}
	for _, k := range keys {
		verdict, detail, failed := k.check(deadline)
		if verdict == Illegal || verdict == Undecided && report.Verdict == Linearizable {
			report.Verdict, report.Key, report.Detail, report.failed = verdict, k.name(), detail, failed
		}
		if verdict == Illegal {
			break
		}
	}
	return report, nil
}

// key is the history of one key, or of a group that transactions tie together.
type key struct {
	names      group
	operations []*Operation
}

func (k *key) name() string { return strings.Join(k.names, "+") }

// byKey partitions a history, without what cannot matter: what had no effect, and reads that
// nobody has the answer of.
func byKey(operations []Operation) ([]*key, error) {
	tied, all := ties{map[string]string{}}, universe(operations)
	for i := range operations {
		o := &operations[i]
		if err := o.validate(); err != nil {
			return nil, fmt.Errorf("operation %d of the history, %s: %w", i, describe(o), err)
		}
		tied.tie(keysOf(&o.Op, all))
	}
	keys := map[string]*key{}
	var parts []*key
	for i := range operations {
		o := operations[i]
		if o.Outcome == wire.OutcomeUnknown {
			o.Return = never
		}
		if o.Outcome == wire.OutcomeNotApplied || o.Outcome == wire.OutcomeUnknown && readsOnly(&o.Op) {
			continue
		}
		names := keysOf(&o.Op, all)
		if len(names) == 0 {
			continue // a range in which nothing was ever seen
		}
		leader := tied.find(names[0])
		k := keys[leader]
		if k == nil {
			k = &key{}
			keys[leader] = k
			parts = append(parts, k)
		}
		for _, name := range names {
			if at, found := slices.BinarySearch(k.names, name); !found {
				k.names = slices.Insert(k.names, at, name)
			}
		}
		k.operations = append(k.operations, &o)
	}
	return parts, nil
}

func (o *Operation) validate() error {
	switch {
	case kindNames[o.Op.Kind] == "":
		return fmt.Errorf("kind %d is not an operation of the key-value machine", o.Op.Kind)
	case o.Op.Kind == wire.OpTxn && len(o.Op.Compares)+len(o.Op.Then)+len(o.Op.Else) == 0:
		return errors.New("a transaction without a key")
	case slices.ContainsFunc(slices.Concat(o.Op.Then, o.Op.Else), func(op wire.Op) bool { return op.Kind == wire.OpTxn }):
		return errors.New("a transaction inside a transaction")
	case o.Op.Kind == wire.OpCompareAndSet && len(o.Op.Compares) != 1:
		return fmt.Errorf("%d compares, need one", len(o.Op.Compares))
	case o.Outcome < wire.OutcomeApplied || o.Outcome > wire.OutcomeUnknown:
		return fmt.Errorf("outcome %d is unknown", o.Outcome)
	case o.Outcome == wire.OutcomeApplied && o.Return < o.Call:
		return fmt.Errorf("it returned before it was called")
	}
	return nil
}

func (k *key) check(deadline time.Time) (Verdict, string, *piece) {
	whole := piece{operations: k.operations, keys: k.names}
	pieces := []piece{whole}
	if placeable(k.operations) {
		placed, possible := place(k.operations)
		if !possible {
			return Illegal, "a version was reached that nobody can have written\n" + sample(k.operations), &whole
		}
		if len(placed) == 0 {
			return Linearizable, "", nil
		}
		pieces = cut(placed)
		if early, late := outOfTime(pieces); early != nil {
			return Illegal, "the first had ended before the second began, whose version is lower\n" +
				sample([]*Operation{early, late}), &whole
		}
	}
	for _, p := range pieces {
		if verdict := p.check(deadline); verdict != Linearizable {
			return verdict, fmt.Sprintf("no order found of %d operations that begin at version %d\n%s",
				len(p.operations), p.initial.version, sample(p.operations)), &p
		}
	}
	return Linearizable, "", nil
}

func (p *piece) check(deadline time.Time) Verdict {
	left := time.Until(deadline)
	if left <= 0 { // Porcupine would take it as no limit
		return Undecided
	}
	switch porcupine.CheckOperationsTimeout(p.model(), p.history(), left) {
	case porcupine.Ok:
		return Linearizable
	case porcupine.Illegal:
		return Illegal
	default:
		return Undecided
	}
}

func (p *piece) model() porcupine.Model {
	if len(p.keys) > 1 || slices.ContainsFunc(p.operations, compound) {
		return p.keys.model()
	}
	return model(p.initial)
}

// compound reports whether an operation may touch several keys, though it may happen to be one.
func compound(o *Operation) bool { return o.Op.Kind == wire.OpTxn || o.Op.Kind.Ranged() }

func (p *piece) history() []porcupine.Operation {
	history := make([]porcupine.Operation, len(p.operations))
	for i, o := range p.operations {
		place := 0
		if p.ordered {
			place = i + 1
		}
		history[i] = porcupine.Operation{
			ClientId: o.Client, Input: step{o, place}, Call: int64(o.Call), Return: int64(o.Return),
		}
	}
	return history
}

// Visualize writes a page for browsers with the operations of the key that Report names and the
// longest orders found for them. It takes about as long as limit at most. It writes nothing if all
// is linearizable.
func (r Report) Visualize(path string, limit time.Duration) error {
	if r.failed == nil {
		return nil
	}
	m := r.failed.model()
	_, info := porcupine.CheckOperationsVerbose(m, r.failed.finite(), limit)
	if err := porcupine.VisualizePath(m, info, path); err != nil {
		return fmt.Errorf("draw the history of %q: %w", r.Key, err)
	}
	return nil
}

// finite is the history with ends that can be drawn, for operations that have none.
func (p *piece) finite() []porcupine.Operation {
	history := p.history()
	var last int64
	for _, o := range history {
		last = max(last, o.Call)
		if o.Return != int64(never) {
			last = max(last, o.Return)
		}
	}
	for i := range history {
		history[i].Return = min(history[i].Return, last+1)
	}
	return history
}

// sampleLines bounds what a report tells.
const sampleLines = 40

// sample lists operations by the time of their call.
func sample(operations []*Operation) string {
	ordered := slices.Clone(operations)
	slices.SortStableFunc(ordered, func(a, b *Operation) int { return cmp.Compare(a.Call, b.Call) })
	var text strings.Builder
	for i, o := range ordered {
		if i == sampleLines {
			fmt.Fprintf(&text, "  and %d more\n", len(ordered)-i)
			break
		}
		fmt.Fprintf(&text, "  %s\n", describe(o))
	}
	return text.String()
}
