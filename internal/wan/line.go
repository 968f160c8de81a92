package wan

import (
	"container/heap"
	"net/netip"
	"time"
)

// parcel is a datagram in flight.
type parcel struct {
	due     time.Time
	order   uint64 // of sending: parcels due at one time leave in it
	payload []byte
	addr    netip.AddrPort
	to      int // site
}

// line holds the datagrams that one socket has in flight, ordered by when they are due. It knows
// no clock and is not safe for concurrent use.
type line struct {
	parcels parcels
	order   uint64
	bytes   int
}

// put adds a parcel; first reports whether it is now the first due. False for ok means that the
// line is full.
func (l *line) put(p parcel) (first, ok bool) {
	if l.bytes+len(p.payload) > QueueBytesMax {
		return false, false
	}
	l.order++
	p.order = l.order
	l.bytes += len(p.payload)
	heap.Push(&l.parcels, p)
	return l.parcels[0].order == p.order, true
}

// take removes the first parcel if it is due.
func (l *line) take(now time.Time) (parcel, bool) {
	if len(l.parcels) == 0 || l.parcels[0].due.After(now) {
		return parcel{}, false
	}
	p := heap.Pop(&l.parcels).(parcel)
	l.bytes -= len(p.payload)
	return p, true
}

// due is when the first parcel is; false if there is none.
func (l *line) due() (time.Time, bool) {
	if len(l.parcels) == 0 {
		return time.Time{}, false
	}
	return l.parcels[0].due, true
}

// parcels is a heap.
type parcels []parcel

func (h parcels) Len() int { return len(h) }
func (h parcels) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].order < h[j].order
}
func (h parcels) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *parcels) Push(x any)   { *h = append(*h, x.(parcel)) }
func (h *parcels) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = parcel{}
	*h = old[:len(old)-1]
	return last
}
