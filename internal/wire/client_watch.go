package wire

import (
	"bytes"
	"hash/fnv"
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// WatchRequest asks for the changes of the keys in [From, End) that a token does not name, as soon as there are
// some (docs/protocol.md, H). An empty End is no bound.
type WatchRequest struct {
	From, End []byte
	Token     []byte // as AppendWatchToken wrote it; empty begins a watch
	State     bool   // a watch that begins is told first what the keys hold
	BytesMax  uint64 // of events in the answer, roughly; 0 is WatchBytesMax
	Wait      uint64 // milliseconds after which the answer comes without events
}

// WatchResult answers a WatchRequest.
type WatchResult struct {
	Events  []WatchEvent
	Token   []byte // what to ask with next
	Resync  bool   // the replica cannot tell all that has changed: with this token it tells what the keys hold
	Current bool   // with these events the state of all keys, as of one point, has been told
	More    bool   // more events are there already
}

// WatchKind is what a WatchEvent tells of a key.
type WatchKind uint8

// The kinds of events.
const (
	WatchPut    WatchKind = iota + 1 // it was set to Value, at Version
	WatchDelete                      // it was deleted, at Version
	WatchAdd                         // Delta was added to its number; which version that made is not told
	WatchState                       // it holds Value, at Version

	watchLast = WatchState
)

// WatchEvent is one change of one key, or what a key holds.
type WatchEvent struct {
	Kind     WatchKind
	Instance epaxos.InstanceID // that made the change; zero with WatchState
	Index    uint32            // of the change among those of the instance
	Key      []byte
	Value    []byte
	Version  uint64
	Delta    int64
}

// WatchToken names which changes of a span of keys were told: those of the instances in Told. It is understood by
// every replica.
type WatchToken struct {
	Span uint64 // see SpanSum; a token is of use for its span only
	Told InstanceSet
	// Part, if not nil, is an instance of which some changes were told.
	Part *WatchPart
	// Cursor, if not nil, is the first key whose state was not told yet. All that Told names is of keys before.
	Cursor []byte
}

// WatchPart is an instance whose changes were told up to, and without, that of an index.
type WatchPart struct {
	Replica epaxos.ReplicaID
	Slot    epaxos.Slot
	Index   uint32
}

// Pass makes the token name one more event of an answer, of which others follow. After is the token of the answer: what
// names all of its events, the last one included.
func (t *WatchToken) Pass(e *WatchEvent, following []WatchEvent, after *WatchToken) {
	if e.Kind == WatchState { // all changes of the answer come before
		t.Told, t.Part = after.Told.Clone(), nil
		t.Cursor = append(bytes.Clone(e.Key), 0)
		return
	}
	id := e.Instance
	if p := t.Part; p != nil && (epaxos.InstanceID{Epoch: t.Told.Epoch, Replica: p.Replica, Slot: p.Slot}) != id {
		t.Told.Add(p.Replica, p.Slot) // the rest of an instance comes before anything else
		t.Part = nil
	}
	if id.Epoch > t.Told.Epoch {
		t.Told = InstanceSet{Epoch: id.Epoch} // all of the epochs before was told
	}
	if len(following) > 0 && following[0].Instance == id {
		t.Part = &WatchPart{Replica: id.Replica, Slot: id.Slot, Index: e.Index + 1}
		return
	}
	t.Told.Add(id.Replica, id.Slot)
	t.Part = nil
}

// SpanSum tells spans apart, so that a token is not used for another one by mistake.
func SpanSum(from, end []byte) uint64 {
	e := appendTo(nil)
	e.array(2)
	e.blob(string(from))
	e.blob(string(end))
	hash := fnv.New64a()
	_, _ = hash.Write(e.done()) // it returns no errors
	return hash.Sum64()
}

const (
	watchRequestFields = 6
	watchResultFields  = 5
	watchEventFields   = 7
	watchEventMin      = 1 + watchEventFields
)

// AppendWatchRequest appends [from, end, token, state, bytes, wait].
func AppendWatchRequest(dst []byte, r *WatchRequest) []byte {
	e := appendTo(dst)
	e.array(watchRequestFields)
	e.bytes(r.From)
	e.bytes(r.End)
	e.bytes(r.Token)
	e.bool(r.State)
	e.uint(r.BytesMax)
	e.uint(r.Wait)
	return e.done()
}

// DecodeWatchRequest reads what AppendWatchRequest wrote. The token is not looked at.
func DecodeWatchRequest(body []byte) (WatchRequest, error) {
	return decode("WatchRequest", body, func(d *decoder) WatchRequest {
		extra := d.fields("array", watchRequestFields)
		r := WatchRequest{
			From: d.bytes("from", KeyMax), End: d.bytes("end", KeyMax), Token: d.bytes("token", WatchTokenMax),
			State: d.bool("state"), BytesMax: d.uint64("bytes"), Wait: d.uint64("wait"),
		}
		d.skip(extra)
		return r
	})
}

// AppendWatchResult appends [[events...], token, resync, current, more].
func AppendWatchResult(dst []byte, r *WatchResult) []byte {
	e := appendTo(dst)
	e.array(watchResultFields)
	e.array(len(r.Events))
	for i := range r.Events {
		e.watchEvent(&r.Events[i])
	}
	e.bytes(r.Token)
	e.bool(r.Resync)
	e.bool(r.Current)
	e.bool(r.More)
	return e.done()
}

func (e *encoder) watchEvent(event *WatchEvent) {
	e.array(watchEventFields)
	e.uint(uint64(event.Kind))
	e.instance(event.Instance)
	e.uint(uint64(event.Index))
	e.bytes(event.Key)
	e.bytes(event.Value)
	e.uint(event.Version)
	e.int(event.Delta)
}

// DecodeWatchResult reads what AppendWatchResult wrote.
func DecodeWatchResult(body []byte) (WatchResult, error) {
	return decode("WatchResult", body, func(d *decoder) WatchResult {
		extra := d.fields("array", watchResultFields)
		var r WatchResult
		if n := d.array("events", watchEventMin, WatchEventsMax); n > 0 {
			r.Events = make([]WatchEvent, 0, n)
			for i := 0; i < n && d.ok(); i++ {
				r.Events = append(r.Events, d.watchEvent())
			}
		}
		r.Token, r.Resync = d.bytes("token", WatchTokenMax), d.bool("resync")
		r.Current, r.More = d.bool("current"), d.bool("more")
		d.skip(extra)
		return r
	})
}

func (d *decoder) watchEvent() WatchEvent {
	extra := d.fields("event", watchEventFields)
	event := WatchEvent{
		Kind:     WatchKind(d.uint("kind", uint64(WatchPut), uint64(watchLast))),
		Instance: d.instanceOrNone("instance"),
		Index:    uint32(d.uint("index", 0, math.MaxUint32)),
		Key:      d.bytes("key", KeyMax),
		Value:    d.bytes("value", ValueMax),
		Version:  d.uint64("version"),
		Delta:    d.int64("delta"),
	}
	d.skip(extra)
	return event
}

// AppendWatchToken appends [span, epoch, columns, part or nil, cursor or nil]; see InstanceSet for the columns.
func AppendWatchToken(dst []byte, t *WatchToken) []byte {
	e := appendTo(dst)
	e.array(5)
	e.uint(t.Span)
	e.uint(uint64(t.Told.Epoch))
	e.instanceColumns(t.Told.Columns)
	if t.Part == nil {
		e.nil()
	} else {
		e.array(3)
		e.uint(uint64(t.Part.Replica))
		e.uint(uint64(t.Part.Slot))
		e.uint(uint64(t.Part.Index))
	}
	e.bytes(t.Cursor)
	return e.done()
}

// DecodeWatchToken reads what AppendWatchToken wrote. Clients keep tokens, so an unknown field, which may change what
// a token means, is refused.
func DecodeWatchToken(body []byte) (WatchToken, error) {
	return decode("WatchToken", body, func(d *decoder) WatchToken {
		d.exactly("array", 5)
		t := WatchToken{Span: d.uint64("span")}
		t.Told.Epoch = d.epochOrNone("epoch")
		t.Told.Columns = d.instanceColumns()
		if !d.nil("part") {
			d.exactly("part", 3)
			t.Part = &WatchPart{
				Replica: d.replica("part replica"), Slot: d.setSlot("part slot", 1),
				Index: uint32(d.uint("part index", 0, math.MaxUint32)),
			}
		}
		t.Cursor = d.bytes("cursor", KeyMax+1)
		return t
	})
}
