package wire

import (
	"cmp"
	"math"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// InstanceSet is a set of instances: all of the epochs before Epoch, and of Epoch those in Columns. The zero value
// names none. What a replica has executed is such a set.
type InstanceSet struct {
	Epoch   epaxos.Epoch
	Columns []InstanceColumn // ascending by replica; one that is not there is empty
}

// InstanceColumn is the instances of one replica in an InstanceSet: everything up to Prefix, and the runs above.
//
// Invariant: runs are ascending, and between any two, and above Prefix, at least one slot is missing.
type InstanceColumn struct {
	Replica epaxos.ReplicaID
	Prefix  epaxos.Slot
	Above   []InstanceRun
}

// InstanceRun is neighbouring slots, both ends included.
type InstanceRun struct{ First, Last epaxos.Slot }

// slotMax is the highest slot in a set; one above it can be reckoned with.
const slotMax = math.MaxInt64

// Has reports whether an instance is in the set.
func (s *InstanceSet) Has(id epaxos.InstanceID) bool {
	if id.Epoch != s.Epoch {
		return id.Epoch < s.Epoch
	}
	c := s.column(id.Replica)
	return c != nil && c.has(id.Slot)
}

func (s *InstanceSet) column(replica epaxos.ReplicaID) *InstanceColumn {
	for i := range s.Columns {
		if s.Columns[i].Replica == replica {
			return &s.Columns[i]
		}
	}
	return nil
}

// Add puts an instance of the set's epoch into it, and reports whether it was not there.
func (s *InstanceSet) Add(replica epaxos.ReplicaID, slot epaxos.Slot) bool {
	c := s.column(replica)
	switch {
	case c == nil:
	case c.has(slot):
		return false
	case slot == c.Prefix+1 && len(c.Above) == 0: // the most frequent by far
		c.Prefix++
		return true
	}
	s.AddUpTo(replica, slot, slot)
	return true
}

// AddUpTo puts neighbouring instances of the set's epoch into it.
func (s *InstanceSet) AddUpTo(replica epaxos.ReplicaID, first, last epaxos.Slot) {
	c := s.column(replica)
	if c == nil {
		at, _ := slices.BinarySearchFunc(s.Columns, replica, func(c InstanceColumn, r epaxos.ReplicaID) int {
			return cmp.Compare(c.Replica, r)
		})
		s.Columns = slices.Insert(s.Columns, at, InstanceColumn{Replica: replica})
		c = &s.Columns[at]
	}
	c.add(InstanceRun{first, last})
}

// Clone copies the set.
func (s *InstanceSet) Clone() InstanceSet {
	clone := InstanceSet{Epoch: s.Epoch, Columns: slices.Clone(s.Columns)}
	for i := range clone.Columns {
		clone.Columns[i].Above = slices.Clone(clone.Columns[i].Above)
	}
	return clone
}

// Covers reports whether all of another set is in this one.
func (s *InstanceSet) Covers(other *InstanceSet) bool {
	if other.Epoch != s.Epoch {
		return other.Epoch < s.Epoch
	}
	for i := range other.Columns {
		theirs := &other.Columns[i]
		ours := s.column(theirs.Replica)
		if ours == nil {
			ours = &InstanceColumn{}
		}
		if !ours.covers(theirs) {
			return false
		}
	}
	return true
}

// Unite puts all of another set into this one. Memory is not shared. Of two epochs the later one counts: all of the
// earlier is in it.
func (s *InstanceSet) Unite(other *InstanceSet) {
	switch {
	case other.Epoch < s.Epoch:
		return
	case other.Epoch > s.Epoch:
		*s = other.Clone()
		return
	}
	for i := range other.Columns {
		theirs := &other.Columns[i]
		if ours := s.column(theirs.Replica); ours != nil {
			ours.unite(theirs)
			continue
		}
		if theirs.Prefix > 0 {
			s.AddUpTo(theirs.Replica, 1, theirs.Prefix)
		}
		for _, run := range theirs.Above {
			s.AddUpTo(theirs.Replica, run.First, run.Last)
		}
	}
}

// Prefixes is the set without what is above the prefixes.
func (s *InstanceSet) Prefixes() InstanceSet {
	prefixes := InstanceSet{Epoch: s.Epoch, Columns: slices.Clone(s.Columns)}
	for i := range prefixes.Columns {
		prefixes.Columns[i].Above = nil
	}
	return prefixes
}

func (c *InstanceColumn) has(slot epaxos.Slot) bool {
	if slot <= c.Prefix {
		return true
	}
	at := c.reach(slot)
	return at < len(c.Above) && c.Above[at].First <= slot
}

// reach is the first run that ends at or above a slot.
func (c *InstanceColumn) reach(slot epaxos.Slot) int {
	if last := len(c.Above) - 1; last < 0 || c.Above[last].Last < slot { // mostly slots come in order
		return last + 1
	}
	at, _ := slices.BinarySearchFunc(c.Above, slot, func(run InstanceRun, slot epaxos.Slot) int {
		return cmp.Compare(run.Last, slot)
	})
	return at
}

func (c *InstanceColumn) add(run InstanceRun) {
	if run.Last <= c.Prefix {
		return
	}
	if run.First <= c.Prefix+1 {
		c.Prefix = run.Last
		c.settle()
		return
	}
	from := c.reach(run.First - 1)
	to := from
	for to < len(c.Above) && c.Above[to].First <= run.Last+1 {
		run.First, run.Last = min(run.First, c.Above[to].First), max(run.Last, c.Above[to].Last)
		to++
	}
	if to == from+1 {
		c.Above[from] = run
		return
	}
	c.Above = slices.Replace(c.Above, from, to, run)
}

// settle takes into the prefix the runs that it has reached.
func (c *InstanceColumn) settle() {
	reached := 0
	for reached < len(c.Above) && c.Above[reached].First <= c.Prefix+1 {
		c.Prefix = max(c.Prefix, c.Above[reached].Last)
		reached++
	}
	if reached > 0 {
		c.Above = slices.Delete(c.Above, 0, reached)
	}
}

func (c *InstanceColumn) covers(other *InstanceColumn) bool {
	if other.Prefix > c.Prefix { // the slot above the own prefix is missing
		return false
	}
	at := 0
	for _, run := range other.Above {
		if run.Last <= c.Prefix {
			continue
		}
		for at < len(c.Above) && c.Above[at].Last < run.Last {
			at++
		}
		if at == len(c.Above) || c.Above[at].First > run.First {
			return false
		}
	}
	return true
}

// unite merges the runs of two columns in one pass.
func (c *InstanceColumn) unite(other *InstanceColumn) {
	c.Prefix = max(c.Prefix, other.Prefix)
	ours, theirs := c.Above, other.Above
	c.Above = make([]InstanceRun, 0, len(ours)+len(theirs))
	for len(ours)+len(theirs) > 0 {
		from := &ours
		if len(ours) == 0 || len(theirs) > 0 && theirs[0].First < ours[0].First {
			from = &theirs
		}
		run := (*from)[0]
		*from = (*from)[1:]
		last := len(c.Above) - 1
		switch {
		case run.First <= c.Prefix+1:
			c.Prefix = max(c.Prefix, run.Last)
		case last >= 0 && run.First <= c.Above[last].Last+1:
			c.Above[last].Last = max(c.Above[last].Last, run.Last)
		default:
			c.Above = append(c.Above, run)
		}
	}
}

const instanceColumnMin = 4 // the array, a number, a prefix, no runs

// instanceColumns appends [replica, prefix, [gap, length...]] for each column: a run begins so many slots above the
// end of what is before it, and has so many slots beside the first.
func (e *encoder) instanceColumns(columns []InstanceColumn) {
	e.array(len(columns))
	for i := range columns {
		c := &columns[i]
		e.array(3)
		e.uint(uint64(c.Replica))
		e.uint(uint64(c.Prefix))
		e.array(2 * len(c.Above))
		end := c.Prefix
		for _, run := range c.Above {
			e.uint(uint64(run.First - end))
			e.uint(uint64(run.Last - run.First))
			end = run.Last
		}
	}
}

func (d *decoder) instanceColumns() []InstanceColumn {
	n := d.array("columns", instanceColumnMin, epaxos.VotersMax)
	if n == 0 {
		return nil
	}
	columns := make([]InstanceColumn, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		d.exactly("column", 3)
		c := InstanceColumn{Replica: d.replica("column replica"), Prefix: d.setSlot("prefix", 0)}
		if i > 0 && c.Replica <= columns[i-1].Replica {
			d.fail("column replica", "%d after %d", c.Replica, columns[i-1].Replica)
		}
		c.Above = d.runs(c.Prefix)
		columns = append(columns, c)
	}
	return columns
}

func (d *decoder) runs(end epaxos.Slot) []InstanceRun {
	n := d.array("runs", 1, WatchTokenMax)
	if n%2 != 0 {
		d.fail("runs", "%d numbers", n)
	}
	if n == 0 {
		return nil
	}
	runs := make([]InstanceRun, 0, n/2)
	for i := 0; i < n/2 && d.ok(); i++ {
		first := end + d.setSlot("gap", 2)
		last := first + d.setSlot("length", 0)
		if first > slotMax || last > slotMax {
			d.fail("runs", "beyond the last slot")
		}
		runs = append(runs, InstanceRun{first, last})
		end = last
	}
	return runs
}

func (d *decoder) setSlot(field string, least uint64) epaxos.Slot {
	return epaxos.Slot(d.uint(field, least, slotMax))
}
