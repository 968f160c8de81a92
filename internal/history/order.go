package history

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// CheckOrder reads the order of operations off their results and reports a cycle in it. Each write of a
// key makes its next version, so versions tell who wrote before whom, who read what, and who read it
// before it was overwritten; the clock tells who had ended before another began. If all this has a cycle,
// transactions counted as one step each, no order of one copy of the machine explains the history: it is
// not strictly serializable. It takes time in proportion to the history, whatever overlaps.
//
// That there is no cycle proves less than Check does: conditions of transactions that failed are not
// looked at, nor who found absent a key that is deleted at times, nor where adds stand, which tell no version,
// nor keys whose versions were forgotten.
// Values that are put should be unique, or unknown outcomes are passed over.
func CheckOrder(operations []Operation) (Report, error) {
	o := ordering{keys: map[string]*timeline{}}
	for i := range operations {
		if err := operations[i].validate(); err != nil {
			return Report{}, fmt.Errorf("operation %d of the history, %s: %w", i, describe(&operations[i]), err)
		}
		o.add(&operations[i])
	}
	o.resolve()
	names := make([]string, 0, len(o.keys))
	for name := range o.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	report := Report{Verdict: Linearizable, Operations: len(operations), Keys: len(names)}
	for _, name := range names {
		if detail := o.keys[name].link(&o); detail != "" {
			report.Verdict, report.Key, report.Detail = Illegal, name, detail
			return report, nil
		}
	}
	o.realTime()
	if cycle := o.cycle(); cycle != "" {
		report.Verdict, report.Detail = Illegal, cycle
	}
	return report, nil
}

// ordering is a graph of what came before what.
type ordering struct {
	operations []*Operation // node i is operation i; nodes behind stand for unknown writers and for instants
	nodes      int
	spans      []span // what operations tell of all keys of a range
	edges      [][]edge
	keys       map[string]*timeline
}

// edge says why one node comes before another.
type edge struct {
	to      int
	why     reason
	key     string
	version uint64 // of the node it comes from
}

type reason uint8

const (
	overwritten reason = iota + 1 // the second wrote the next known version
	readBy                        // the second read what the first wrote
	readBefore                    // the second wrote the version after the one that the first read
	ended                         // the first had ended before the second was called
)

// timeline is one key. Nodes are those of the operations that touched it.
type timeline struct {
	name      string
	deleted   bool // at some time, perhaps: who finds it absent may have come at any time
	writes    []event
	reads     []event
	maybe     map[string][]int // by value: operations of unknown outcome that put it
	unknown   int              // writes that may or may not have happened, or of a version that nobody told
	forgotten bool             // versions began anew at some time, perhaps
}

// event is a version that an operation wrote or read.
type event struct {
	node    int
	version uint64
	value   string
	valued  bool  // value is known
	delta   int64 // what an increment added
	added   bool
	suffix  string // what was appended
	absent  bool   // it was deleted by the write, or found absent by the read
}

func (o *ordering) node() int {
	o.edges = append(o.edges, nil)
	o.nodes++
	return o.nodes - 1
}

func (o *ordering) edge(from int, e edge) {
	if from != e.to { // a transaction that touches a key twice is one step
		o.edges[from] = append(o.edges[from], e)
	}
}

func (o *ordering) key(name []byte) *timeline {
	t := o.keys[string(name)]
	if t == nil {
		t = &timeline{name: string(name), maybe: map[string][]int{}}
		o.keys[t.name] = t
	}
	return t
}

// add takes an operation apart into what it did to each key.
func (o *ordering) add(op *Operation) {
	if op.Outcome == wire.OutcomeNotApplied {
		return
	}
	node := o.node()
	o.operations = append(o.operations, op)
	if op.Outcome == wire.OutcomeUnknown {
		o.addUnknown(node, op)
		return
	}
	if op.Op.Kind != wire.OpTxn {
		o.addOne(node, &op.Op, &op.Result)
		return
	}
	taken, other := op.Op.Else, op.Op.Then
	if op.Result.Succeeded {
		taken, other = op.Op.Then, op.Op.Else
		o.addConditions(node, op.Op.Compares)
	}
	for i := range min(len(taken), len(op.Result.Results)) {
		o.addOne(node, &taken[i], &op.Result.Results[i])
	}
	for i := range other {
		if !other[i].Kind.Ranged() {
			o.key(other[i].Key) // it was named
		}
	}
}

// version is what became of one version of a key.
type version struct {
	number  uint64
	writer  int // a node; -1 if nobody is known
	readers []int
	value   string
	valued  bool
	absent  bool // it is a delete
}

// link enters the order of a key into the graph, and returns what is wrong with it by itself.
func (t *timeline) link(o *ordering) string {
	if t.forgotten {
		return "" // its versions may have begun anew
	}
	versions, detail := t.versions(o)
	if detail != "" {
		return detail
	}
	var before *version
	for i := range versions {
		v := &versions[i]
		if v.writer < 0 && v.number > 0 {
			v.writer = o.node() // somebody unknown
		}
		if before != nil {
			if before.writer >= 0 {
				o.edge(before.writer, edge{v.writer, overwritten, t.name, before.number})
			}
			for _, reader := range before.readers {
				o.edge(reader, edge{v.writer, readBefore, t.name, before.number})
			}
		}
		for _, reader := range v.readers {
			if v.writer >= 0 {
				o.edge(v.writer, edge{reader, readBy, t.name, v.number})
			}
		}
		before = v
	}
	return ""
}

// versions gathers what is known of each version that somebody wrote or saw, ascending.
func (t *timeline) versions(o *ordering) ([]version, string) {
	byNumber := map[uint64]*version{}
	at := func(number uint64) *version {
		v := byNumber[number]
		if v == nil {
			v = &version{number: number, writer: -1}
			byNumber[number] = v
		}
		return v
	}
	for _, e := range t.writes {
		v := at(e.version)
		if v.writer >= 0 {
			return nil, fmt.Sprintf("lost update: both wrote version %d of %q\n%s", e.version, t.name,
				o.lines(v.writer, e.node))
		}
		v.writer, v.value, v.valued, v.absent = e.node, e.value, e.valued, e.absent
	}
	for _, e := range t.reads {
		if e.absent && t.deleted {
			continue
		}
		v := at(e.version)
		v.readers = append(v.readers, e.node)
		switch {
		case v.absent:
			return nil, fmt.Sprintf("version %d of %q is a delete, and is read\n%s", e.version, t.name,
				o.lines(v.writer, e.node))
		case !e.valued:
		case !v.valued:
			v.value, v.valued = e.value, true
			if writers := t.maybe[e.value]; v.writer < 0 && len(writers) == 1 {
				v.writer = writers[0]
				t.unknown--
				delete(t.maybe, e.value) // it was one write, of one version
			}
		case v.value != e.value:
			return nil, fmt.Sprintf("version %d of %q was %.24q and is read as %.24q\n%s", e.version, t.name,
				v.value, e.value, o.lines(max(v.writer, v.readers[0]), e.node))
		}
	}
	if detail := t.sums(byNumber, o); detail != "" {
		return nil, detail
	}
	return t.dense(byNumber, o)
}

// sums checks what increments and appends found.
func (t *timeline) sums(versions map[uint64]*version, o *ordering) string {
	for _, e := range t.writes {
		before := &version{absent: true}
		if e.version > 1 {
			before = versions[e.version-1]
		}
		if e.suffix != "" && before != nil && (before.valued || before.absent) && versions[e.version].valued {
			if got := versions[e.version].value; got != before.value+e.suffix {
				return fmt.Sprintf("version %d of %q is %.24q, and with %.24q behind it %.48q\n%s", e.version-1, t.name,
					before.value, e.suffix, got, o.lines(e.node))
			}
		}
		if !e.added || before == nil || !before.valued && !before.absent {
			continue
		}
		var base int64
		if !before.absent {
			number, err := strconv.ParseInt(before.value, 10, 64)
			if err != nil {
				return fmt.Sprintf("version %d of %q is %.24q, and was incremented\n%s", e.version-1, t.name, before.value,
					o.lines(e.node))
			}
			base = number
		}
		if want := strconv.FormatInt(base+e.delta, 10); want != e.value {
			return fmt.Sprintf("version %d of %q is %d, and %d more is not %s\n%s", e.version-1, t.name, base, e.delta,
				e.value, o.lines(e.node))
		}
	}
	return ""
}

// dense checks that whoever is not known can have written the versions that nobody is known to have.
func (t *timeline) dense(versions map[uint64]*version, o *ordering) ([]version, string) {
	all := make([]version, 0, len(versions))
	for _, v := range versions {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b version) int { return cmp.Compare(a.number, b.number) })
	written := uint64(0)
	for i := range all {
		if all[i].writer >= 0 {
			written++
		}
	}
	if len(all) == 0 {
		return nil, ""
	}
	top := all[len(all)-1]
	if missing := top.number - min(top.number, written); missing > uint64(t.unknown) { //nolint:gosec // not below 0
		return nil, fmt.Sprintf("%q reached version %d, with %d known and at most %d other writes\n%s", t.name, top.number,
			written, t.unknown, o.lines(append([]int{top.writer}, top.readers...)...))
	}
	return all, ""
}

// realTime enters who had ended before another was called, in few edges: a chain of instants stands
// between them, one for each end.
func (o *ordering) realTime() {
	count := len(o.operations)
	byEnd := make([]int, 0, count)
	byCall := make([]int, 0, count)
	for i, op := range o.operations {
		byCall = append(byCall, i)
		if op.Outcome == wire.OutcomeApplied {
			byEnd = append(byEnd, i)
		}
	}
	slices.SortFunc(byEnd, func(a, b int) int { return cmp.Compare(o.operations[a].Return, o.operations[b].Return) })
	slices.SortFunc(byCall, func(a, b int) int { return cmp.Compare(o.operations[a].Call, o.operations[b].Call) })
	instant, next := -1, 0
	for _, i := range byCall {
		for next < len(byEnd) && o.operations[byEnd[next]].Return < o.operations[i].Call {
			now := o.node()
			if instant >= 0 {
				o.edge(instant, edge{to: now, why: ended})
			}
			o.edge(byEnd[next], edge{to: now, why: ended})
			instant = now
			next++
		}
		if instant >= 0 {
			o.edge(instant, edge{to: i, why: ended})
		}
	}
}

// lines lists operations; other nodes are left out.
func (o *ordering) lines(nodes ...int) string {
	text := ""
	for _, node := range nodes {
		if node >= 0 && node < len(o.operations) {
			text += "  " + o.describe(node) + "\n"
		}
	}
	return text
}

func (o *ordering) describe(node int) string {
	if node >= len(o.operations) {
		return "somebody whose outcome is unknown"
	}
	op := o.operations[node]
	if op.Op.Kind == wire.OpTxn {
		return describe(op)
	}
	return fmt.Sprintf("%s: %s", op.Op.Key, describe(op))
}
