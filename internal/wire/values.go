package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Values that occur in many messages: identities, ballots, dependency vectors. Identities and ballots
// have a fixed number of fields: one that was understood in part would name something else.

// Least bytes of one value, by which the claimed length of an array of them is judged.
const (
	instanceIDMin = 4 // the array and three numbers
	slotMin       = 1
)

// AppendInstanceID appends [epoch, replica, slot], or nil for the zero id.
func AppendInstanceID(dst []byte, id epaxos.InstanceID) []byte {
	e := appendTo(dst)
	e.instance(id)
	return e.done()
}

// DecodeInstanceID reads what AppendInstanceID wrote.
func DecodeInstanceID(body []byte) (epaxos.InstanceID, error) {
	return decode("InstanceID", body, func(d *decoder) epaxos.InstanceID { return d.instanceOrNone("id") })
}

// AppendInstanceIDs appends an array of ids, none of which is zero.
func AppendInstanceIDs(dst []byte, ids []epaxos.InstanceID) []byte {
	e := appendTo(dst)
	e.instances(ids)
	return e.done()
}

// DecodeInstanceIDs reads what AppendInstanceIDs wrote; no ids are nil.
func DecodeInstanceIDs(body []byte) ([]epaxos.InstanceID, error) {
	return decode("InstanceIDs", body, func(d *decoder) []epaxos.InstanceID { return d.instances("ids") })
}

// AppendDependencies appends an array of slots, or nil for the unknown vector.
func AppendDependencies(dst []byte, deps epaxos.Dependencies) []byte {
	e := appendTo(dst)
	e.dependencies(deps)
	return e.done()
}

// DecodeDependencies reads what AppendDependencies wrote. Nil and empty stay apart.
func DecodeDependencies(body []byte) (epaxos.Dependencies, error) {
	return decode("Dependencies", body, func(d *decoder) epaxos.Dependencies { return d.dependencies("slots") })
}

func (e *encoder) instance(id epaxos.InstanceID) {
	if id.IsZero() {
		e.nil()
		return
	}
	e.array(3)
	e.uint(uint64(id.Epoch))
	e.uint(uint64(id.Replica))
	e.uint(uint64(id.Slot))
}

func (d *decoder) instance(field string) epaxos.InstanceID {
	d.exactly(field, 3)
	return epaxos.InstanceID{
		Epoch:   d.epoch(field),
		Replica: d.replica(field),
		Slot:    epaxos.Slot(d.uint(field, 1, math.MaxUint64)),
	}
}

func (d *decoder) instanceOrNone(field string) epaxos.InstanceID {
	if d.nil(field) {
		return epaxos.InstanceID{}
	}
	return d.instance(field)
}

func (d *decoder) replica(field string) epaxos.ReplicaID {
	return epaxos.ReplicaID(d.uint(field, 1, math.MaxUint32))
}

func (d *decoder) epoch(field string) epaxos.Epoch {
	return epaxos.Epoch(d.uint(field, 1, math.MaxUint32))
}

func (d *decoder) epochOrNone(field string) epaxos.Epoch {
	return epaxos.Epoch(d.uint(field, 0, math.MaxUint32))
}

func (e *encoder) instances(ids []epaxos.InstanceID) {
	e.array(len(ids))
	for _, id := range ids {
		e.instance(id)
	}
}

func (d *decoder) instances(field string) []epaxos.InstanceID {
	n := d.array(field, instanceIDMin, math.MaxInt)
	if n == 0 {
		return nil
	}
	ids := make([]epaxos.InstanceID, 0, n)
	for i := 0; i < n && d.ok(); i++ {
		ids = append(ids, d.instance(field))
	}
	return ids
}

// ballot writes [number, replica], or nil for the ballot of the command leader, the most frequent.
func (e *encoder) ballot(b epaxos.Ballot) {
	if b.IsZero() {
		e.nil()
		return
	}
	e.array(2)
	e.uint(b.Number)
	e.uint(uint64(b.Replica))
}

func (d *decoder) ballot(field string) epaxos.Ballot {
	if d.nil(field) {
		return epaxos.Ballot{}
	}
	d.exactly(field, 2)
	return epaxos.Ballot{Number: d.uint(field, 1, math.MaxUint64), Replica: d.replica(field)}
}

func (e *encoder) dependencies(deps epaxos.Dependencies) {
	if deps == nil {
		e.nil()
		return
	}
	e.array(len(deps))
	for _, s := range deps {
		e.uint(uint64(s))
	}
}

// vectorChunk is how many slots are allocated at a time: the vectors of a frame are many and small,
// and live about as long as one another.
const vectorChunk = 128

// vector cuts a vector from the running chunk. What is left serves the next message.
func (d *decoder) vector(n int) epaxos.Dependencies {
	if n == 0 {
		return epaxos.Dependencies{} // nil would mean unknown
	}
	if cap(d.chunk)-len(d.chunk) < n {
		d.chunk = make(epaxos.Dependencies, 0, max(n, vectorChunk))
	}
	from := len(d.chunk)
	d.chunk = d.chunk[:from+n]
	return d.chunk[from : from+n : from+n]
}

func (d *decoder) dependencies(field string) epaxos.Dependencies {
	if d.nil(field) {
		return nil
	}
	n := d.array(field, slotMin, epaxos.VotersMax)
	if !d.ok() {
		return nil
	}
	deps := d.vector(n)
	for i := range deps {
		deps[i] = epaxos.Slot(d.uint64(field))
	}
	return deps
}
