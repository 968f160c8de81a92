package epaxos

// table finds instances by column and slot. Slots of a column are dense and are used in order, so
// they stand in pages; a page is small, so that a hostile slot costs little.
type table struct {
	columns []tableColumn
}

const (
	pageBits = 6
	pageSize = 1 << pageBits
)

type page [pageSize]*instance

// tableColumn remembers the pages used last: nearly all look-ups are about the latest slots.
type tableColumn struct {
	pages  map[Slot]*page
	recent [4]struct {
		number Slot
		page   *page
	}
}

func newTable(columns int) table {
	t := table{columns: make([]tableColumn, columns)}
	for i := range t.columns {
		t.columns[i].pages = map[Slot]*page{}
	}
	return t
}

// at returns an instance, nil if it is not known.
func (t *table) at(column int, slot Slot) *instance {
	if p := t.columns[column].page(slot>>pageBits, false); p != nil {
		return p[slot&(pageSize-1)]
	}
	return nil
}

// set makes an instance known.
func (t *table) set(in *instance) {
	t.columns[in.column].page(in.id.Slot>>pageBits, true)[in.id.Slot&(pageSize-1)] = in
}

// drop forgets an instance. Those of a column are dropped in the order of their slots, so that a page goes
// with its last one.
func (t *table) drop(column int, slot Slot) {
	c := &t.columns[column]
	number := slot >> pageBits
	p := c.page(number, false)
	if p == nil {
		return
	}
	p[slot&(pageSize-1)] = nil
	if slot&(pageSize-1) == pageSize-1 {
		delete(c.pages, number)
		c.recent[number%Slot(len(c.recent))].page = nil
	}
}

func (c *tableColumn) page(number Slot, make bool) *page {
	recent := &c.recent[number%Slot(len(c.recent))]
	if recent.page != nil && recent.number == number {
		return recent.page
	}
	p := c.pages[number]
	if p == nil {
		if !make {
			return nil
		}
		p = new(page)
		c.pages[number] = p
	}
	recent.number, recent.page = number, p
	return p
}
