package deps

import (
	"cmp"

	"github.com/264bc8cf/epaxos/epaxos"
)

// entry is one key or one range that was touched. Its address never changes while it is in use.
type entry struct {
	key string
	end *string // nil: the point key; else all keys in [key, *end), where "" is no bound
	history
}

// blockEntries is how many entries are allocated at once. Blocks are never moved, since copying a
// table of a million keys would stop the replica for tens of milliseconds.
const blockEntries = 256

// span names a range.
type span struct{ from, to string }

// space is the index of one space of keys.
type space struct {
	columns int
	keys    map[string]*entry
	spans   map[span]*entry
	recent  *entry // the latest point, since Raise and Insert of one command come together

	entries []*[blockEntries]entry
	used    int // entries ever handed out
	free    []*entry

	points  ordered // all keys, but only once indexed
	ranges  ordered // all spans
	indexed bool
}

func newSpace(columns int) space {
	return space{columns: columns, keys: make(map[string]*entry), spans: make(map[span]*entry)}
}

func (s *space) insert(column int, slot epaxos.Slot, access *epaxos.Access) {
	switch {
	case !access.Range:
		e := s.point(access.Key)
		if e == nil {
			e = s.addPoint(access.Key)
		}
		e.record(column, slot, access.Mode)
		if s.indexed {
			s.points.record(e, column, slot, access.Mode)
		}
	case !emptyRange(access):
		s.index()
		e := s.spans[span{access.Key, access.End}]
		if e == nil {
			e = s.addSpan(access.Key, access.End)
		}
		e.record(column, slot, access.Mode)
		s.ranges.record(e, column, slot, access.Mode)
	}
}

func (s *space) raise(access *epaxos.Access, into epaxos.Dependencies) {
	if !access.Range {
		if e := s.point(access.Key); e != nil {
			e.raise(access.Mode, into)
		}
		s.ranges.raise(access, into)
		return
	}
	if !emptyRange(access) {
		s.index()
		s.points.raise(access, into)
		s.ranges.raise(access, into)
	}
}

func (s *space) above(
	access *epaxos.Access, floor epaxos.Dependencies, found []epaxos.Position,
) []epaxos.Position {
	if !access.Range {
		if e := s.point(access.Key); e != nil {
			found = e.above(access.Mode, floor, found)
		}
		return s.ranges.above(access, floor, found)
	}
	if emptyRange(access) {
		return found
	}
	s.index()
	return s.ranges.above(access, floor, s.points.above(access, floor, found))
}

// point finds the entry of a key, or nil.
func (s *space) point(key string) *entry {
	if s.recent != nil && s.recent.key == key {
		return s.recent
	}
	e := s.keys[key]
	if e != nil {
		s.recent = e
	}
	return e
}

func (s *space) addPoint(key string) *entry {
	e := s.allocate()
	e.key = key
	s.keys[key] = e
	s.recent = e
	if s.indexed {
		s.points.add(e)
	}
	return e
}

func (s *space) addSpan(from, to string) *entry {
	e := s.allocate()
	e.key, e.end = from, &to
	s.spans[span{from, to}] = e
	s.ranges.add(e)
	return e
}

// index brings the points in order, when the first range shows up.
func (s *space) index() {
	if s.indexed {
		return
	}
	s.indexed = true
	s.points = ordered{columns: s.columns, points: true}
	s.ranges = ordered{columns: s.columns}
	points := make([]*entry, 0, len(s.keys))
	for i := range s.used {
		if e := s.entry(i); e.inUse() {
			points = append(points, e)
		}
	}
	s.points.build(points)
}

// forget drops what floor covers, and the entry with the last of it.
func (s *space) forget(e *entry, floor epaxos.Dependencies) {
	if !e.inUse() || !e.history.forget(floor) {
		return
	}
	if e.end != nil {
		s.ranges.remove(e)
		delete(s.spans, span{e.key, *e.end})
	} else {
		if s.indexed {
			s.points.remove(e)
		}
		delete(s.keys, e.key)
	}
	if s.recent == e {
		s.recent = nil
	}
	*e = entry{}
	s.free = append(s.free, e)
}

func (s *space) allocate() *entry {
	if n := len(s.free); n > 0 {
		e := s.free[n-1]
		s.free = s.free[:n-1]
		return e
	}
	if s.used == len(s.entries)*blockEntries {
		s.entries = append(s.entries, new([blockEntries]entry))
	}
	s.used++
	return s.entry(s.used - 1)
}

func (s *space) entry(i int) *entry { return &s.entries[i/blockEntries][i%blockEntries] }

// inUse reports whether the entry stands for anything: every entry in use was touched.
func (e *entry) inUse() bool { return e.first.last > 0 }

// compare orders entries by where they begin, then by where they end.
func (e *entry) compare(other *entry) int {
	if order := cmp.Compare(e.key, other.key); order != 0 || e.end == nil {
		return order
	}
	return cmp.Compare(*e.end, *other.end)
}

// overlaps reports whether the entry and a non-empty access have a key in common.
func (e *entry) overlaps(access *epaxos.Access) bool {
	switch {
	case e.end == nil && !access.Range:
		return e.key == access.Key
	case e.end == nil:
		return access.Key <= e.key && !past(access, e.key)
	case !access.Range:
		return e.key <= access.Key && (*e.end == "" || access.Key < *e.end)
	default:
		return !past(access, e.key) && (*e.end == "" || access.Key < *e.end)
	}
}

// past reports whether key lies beyond the upper end of the access.
func past(access *epaxos.Access, key string) bool {
	if access.Range {
		return access.End != "" && key >= access.End
	}
	return key > access.Key
}

func emptyRange(access *epaxos.Access) bool {
	return access.Range && access.End != "" && access.End <= access.Key
}
