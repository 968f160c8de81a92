package wire

import "github.com/264bc8cf/epaxos/epaxos"

// SnapshotRequest asks for the next part of the state at one cut of the order of all commands.
type SnapshotRequest struct {
	ID    uint64 // as the first part told; 0 begins a snapshot
	After []byte // the last key that has come
	End   bool   // nothing more is wanted
}

// SnapshotPart is a part of a state. Parts are what a snapshot's file holds.
type SnapshotPart struct {
	ID      uint64
	Head    *SnapshotHead // of the first part
	Entries []SnapshotEntry
	Last    bool // nothing follows
}

// SnapshotHead says which state it is.
type SnapshotHead struct {
	Cluster [16]byte
	Replica epaxos.ReplicaID // that was read
	Members Members          // in force at the cut
}

// SnapshotEntry is one key of the applied state, with its space as the first byte, and its value.
type SnapshotEntry struct {
	Key   []byte
	Value []byte
}

const (
	snapshotEntryFields = 2
	snapshotEntryMin    = 1 + snapshotEntryFields
)

// AppendSnapshotRequest appends [id, after, end].
func AppendSnapshotRequest(dst []byte, r *SnapshotRequest) []byte {
	e := appendTo(dst)
	e.array(3)
	e.uint(r.ID)
	e.bytes(r.After)
	e.bool(r.End)
	return e.done()
}

// DecodeSnapshotRequest reads what AppendSnapshotRequest wrote.
func DecodeSnapshotRequest(body []byte) (SnapshotRequest, error) {
	return decode("SnapshotRequest", body, func(d *decoder) SnapshotRequest {
		d.exactly("array", 3)
		return SnapshotRequest{ID: d.uint64("id"), After: d.bytes("after", ClientFrameMax), End: d.bool("end")}
	})
}

// AppendSnapshotPart appends [id, head or nil, [[key, value]...], last], the head being [cluster, replica, members].
func AppendSnapshotPart(dst []byte, p *SnapshotPart) []byte {
	e := appendTo(dst)
	e.array(4)
	e.uint(p.ID)
	if p.Head == nil {
		e.nil()
	} else {
		e.array(3)
		e.bytes(p.Head.Cluster[:])
		e.uint(uint64(p.Head.Replica))
		e.members(&p.Head.Members)
	}
	e.array(len(p.Entries))
	for i := range p.Entries {
		e.array(snapshotEntryFields)
		e.bytes(p.Entries[i].Key)
		e.bytes(p.Entries[i].Value)
	}
	e.bool(p.Last)
	return e.done()
}

// DecodeSnapshotPart reads what AppendSnapshotPart wrote. It does not validate members.
func DecodeSnapshotPart(body []byte) (SnapshotPart, error) {
	return decode("SnapshotPart", body, (*decoder).snapshotPart)
}

func (d *decoder) snapshotPart() SnapshotPart {
	d.exactly("array", 4)
	p := SnapshotPart{ID: d.uint64("id")}
	if !d.nil("head") {
		d.exactly("head", 3)
		p.Head = &SnapshotHead{Cluster: d.cluster(), Replica: d.replica("replica"), Members: d.members()}
	}
	if n := d.array("entries", snapshotEntryMin, ClientFrameMax); n > 0 {
		p.Entries = make([]SnapshotEntry, 0, n)
		for i := 0; i < n && d.ok(); i++ {
			d.exactly("entry", snapshotEntryFields)
			p.Entries = append(p.Entries, SnapshotEntry{
				Key: d.bytes("key", ClientFrameMax), Value: d.bytes("value", ClientFrameMax),
			})
		}
	}
	p.Last = d.bool("last")
	return p
}
