package sim

import (
	"encoding/binary"
	"strconv"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
)

// lineages is what has happened to each key, in the order in which it was first executed anywhere. Deeds that do not
// commute are executed in that order everywhere, those that do in any.
type lineages struct {
	keys  map[string]*lineage
	names []string       // of the keys, as they came
	noted map[place]bool // requests whose deeds are known
}

// lineage is one key.
type lineage struct{ deeds []deed }

// deed is one change of a key.
type deed struct {
	id      epaxos.InstanceID
	kind    deedKind
	value   string
	version uint64
	delta   int64
}

type deedKind uint8

const (
	puts deedKind = iota
	deletes
	adds
)

func newLineages() *lineages {
	return &lineages{keys: map[string]*lineage{}, noted: map[place]bool{}}
}

func (l *lineages) add(key string, d deed) {
	of := l.keys[key]
	if of == nil {
		of = &lineage{}
		l.keys[key] = of
		l.names = append(l.names, key)
	}
	of.deeds = append(of.deeds, d)
}

// witness is the view of a request that is applied for the first time anywhere. It notes what that does.
type witness struct {
	execution.View
	lineages *lineages
	id       epaxos.InstanceID
}

const (
	versionBytes = 8
	deletedMark  = 1 << 63
)

// Put implements execution.View.
func (v *witness) Put(key string, saved []byte) {
	v.View.Put(key, saved)
	version := binary.BigEndian.Uint64(saved)
	d := deed{id: v.id, kind: puts, value: string(saved[versionBytes:]), version: version &^ deletedMark}
	if version&deletedMark != 0 {
		d.kind = deletes
	}
	v.lineages.add(key, d)
}

// Merge implements execution.View.
func (v *witness) Merge(key string, operand []byte) bool {
	ok := v.View.Merge(key, operand)
	if ok {
		delta := int64(binary.BigEndian.Uint64(operand)) //nolint:gosec // all of its bits
		v.lineages.add(key, deed{id: v.id, kind: adds, delta: delta})
	}
	return ok
}

// witness returns the view to apply a request with.
func (l *lineages) witness(at place, view execution.View) execution.View {
	if l.noted[at] {
		return view
	}
	l.noted[at] = true
	return &witness{view, l, at.id}
}

// progress is how far somebody is with a key: the last deed that commutes with none, and which of those behind it.
type progress struct {
	last int // -1 is before the first
	adds map[int]bool
}

// has reports whether a deed is behind it.
func (p *progress) has(i int) bool { return i <= p.last || p.adds[i] }

// next is the place of the next deed that commutes with none, or the end.
func (l *lineage) next(p *progress) int {
	i := p.last + 1
	for i < len(l.deeds) && l.deeds[i].kind == adds {
		i++
	}
	return i
}

// of is how far somebody is who has done just what has says.
func (l *lineage) of(has func(epaxos.InstanceID) bool) progress {
	p := progress{last: -1, adds: map[int]bool{}}
	for i := range l.deeds {
		switch d := &l.deeds[i]; {
		case !has(d.id):
		case d.kind == adds:
			p.adds[i] = true
		default:
			p = progress{last: i, adds: map[int]bool{}}
		}
	}
	return p
}

// holds is what a key holds at some point.
func (l *lineage) holds(p *progress) (value string, version uint64, found bool) {
	if p.last >= 0 {
		d := &l.deeds[p.last]
		value, version, found = d.value, d.version, d.kind == puts
	}
	if len(p.adds) == 0 {
		return value, version, found
	}
	sum, _ := strconv.ParseInt(value, 10, 64) //nolint:errcheck // nothing is 0, and nobody adds to anything else
	for i := range p.adds {
		sum += l.deeds[i].delta
	}
	return strconv.FormatInt(sum, 10), version + uint64(len(p.adds)), true
}
