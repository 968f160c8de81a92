package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/storage"
)

// effects checks that the effects of commands and the marks that they were executed reach a disk
// together, once, on all replicas alike (docs/protocol.md, rule S6). What a key holds is a function of
// the marked commands that may write it: their order is checked elsewhere.
type effects struct {
	first  epaxos.Membership
	values map[version]saved
	hosts  []*hostEffects
}

// version is a key after a set of commands.
type version struct {
	key pointKey
	at  digest
}

// saved is what a disk held first at a version.
type saved struct {
	host  int
	value string
}

// absent is the value of a key that does not exist.
const absent = "\x00absent"

// hostEffects is what one disk says was executed in the epoch that it is in, and before.
type hostEffects struct {
	members epaxos.Membership
	before  *basis
	order   []epaxos.InstanceID
	marked  map[epaxos.InstanceID]bool
	prefix  epaxos.Dependencies
	keys    map[pointKey]digest // of the marked accesses that may write
	wide    []placed            // those of them that are wide

	truncated epaxos.Dependencies // records at or below need not be in the log
}

// basis is what was executed in all earlier epochs, which is the same for all.
type basis struct {
	keys map[pointKey]digest
	wide []placed
}

func newEffects(m epaxos.Membership) *effects {
	return &effects{first: m, values: map[version]saved{}}
}

// at is what a disk says.
func (e *effects) at(host int) *hostEffects {
	for host >= len(e.hosts) {
		e.hosts = append(e.hosts, newHostEffects(e.first, &basis{}))
	}
	return e.hosts[host]
}

// begin is the first moment of an epoch.
func (e *effects) begin(host int, m epaxos.Membership, before *basis) {
	*e.at(host) = *newHostEffects(m, before)
}

func newHostEffects(m epaxos.Membership, before *basis) *hostEffects {
	h := &hostEffects{
		members: m, before: before, marked: map[epaxos.InstanceID]bool{}, prefix: make(epaxos.Dependencies, m.N()),
		keys: maps.Clone(before.keys), wide: slices.Clip(before.wide),
	}
	if h.keys == nil {
		h.keys = map[pointKey]digest{}
	}
	return h
}

// basis is what the next epoch begins with.
func (h *hostEffects) basis() *basis { return &basis{keys: h.keys, wide: h.wide} }

// mark is an instance that a group says was executed, with its command; nil for a no-op.
type mark struct {
	id      epaxos.InstanceID
	command *epaxos.Command
}

// saved takes a durable batch.
func (e *effects) saved(host int, marks []mark, writes []storage.Write, get func(pointKey) string) *Violation {
	h := e.at(host)
	var touched []pointKey
	for _, m := range marks {
		if h.marked[m.id] {
			return found("once", "r%d marks %v as executed again", replicaOf(host), m.id)
		}
		touched = append(touched, h.enter(m)...)
	}
	for i := range writes {
		if key, ok := keyOf(writes[i].Key); ok {
			touched = append(touched, key)
		}
	}
	for _, key := range touched {
		if v := e.compare(host, key, get(key)); v != nil {
			return v
		}
	}
	return nil
}

// keyOf is the key that a storage key stands for.
func keyOf(stored []byte) (pointKey, bool) {
	if len(stored) < 2 {
		return pointKey{}, false
	}
	return pointKey{epaxos.Space(stored[0]), string(stored[1:])}, true
}

// compare holds what a disk has against what another had after the same commands.
func (e *effects) compare(host int, key pointKey, value string) *Violation {
	at := version{key, e.at(host).at(key)}
	first, seen := e.values[at]
	switch {
	case !seen && at.at.count == 0 && value != absent:
		return found("durability", "r%d has %q=%q on its disk, and no mark of a command that may write it",
			replicaOf(host), key.key, value)
	case !seen:
		e.values[at] = saved{host, value}
	case first.value != value:
		return found("durability", "r%d has %q=%q on its disk, r%d has %q after the same %d commands that may write it",
			replicaOf(host), key.key, value, replicaOf(first.host), first.value, at.at.count)
	}
	return nil
}

// restart takes what a disk holds after a crash: its marks, in their order, and every key.
func (e *effects) restart(host int, marks []mark, state map[pointKey]string) *Violation {
	h := e.at(host)
	*h = *newHostEffects(h.members, h.before)
	for _, m := range marks {
		if h.marked[m.id] {
			return found("once", "the log of r%d marks %v as executed twice", replicaOf(host), m.id)
		}
		h.enter(m)
	}
	for key := range h.keys {
		if _, exists := state[key]; !exists {
			state[key] = absent
		}
	}
	var worst *Violation
	for key, value := range state {
		// Ranging over a map: of several violations the least is told, so that a seed tells the same.
		if v := e.compare(host, key, value); v != nil && (worst == nil || v.Text < worst.Text) {
			worst = v
		}
	}
	return worst
}

// enter counts a mark, and returns the keys whose value it may change.
func (h *hostEffects) enter(m mark) []pointKey {
	h.marked[m.id] = true
	h.order = append(h.order, m.id)
	if column, votes := h.members.Column(m.id.Replica); votes {
		for h.marked[h.members.ID(column, h.prefix[column]+1)] {
			h.prefix[column]++
		}
	}
	if m.command == nil {
		return nil
	}
	var touched []pointKey
	for i := range m.command.Footprint {
		access := &m.command.Footprint[i]
		one := digest{count: 1, sum: hashOf(m.id, i)}
		switch {
		case access.Mode == epaxos.Read:
		case isWide(access):
			h.wide = append(h.wide, placed{access, one})
		default:
			key := pointKey{access.Space, access.Key}
			sum := h.keys[key]
			sum.add(one)
			h.keys[key] = sum
			touched = append(touched, key)
		}
	}
	return touched
}

// at is the set of marked accesses that may have written a key.
func (h *hostEffects) at(key pointKey) digest {
	sum := h.keys[key]
	if session, is := sessionOf(key); is { // whatever changes a session may change what it remembers
		sum.add(h.keys[session])
		for _, record := range recordsOf(key, session) {
			sum.add(h.keys[record])
		}
	}
	point := epaxos.Footprint{{Mode: epaxos.Write, Space: key.space, Key: key.key}}
	for _, p := range h.wide {
		if point.Interferes(epaxos.Footprint{*p.access}) {
			sum.add(p.one)
		}
	}
	return sum
}

// sessionOf is the key of the session of which a key remembers something: a request, or what is attached to it.
func sessionOf(key pointKey) (pointKey, bool) {
	const length = len("epocreplslotslot")
	if key.space != epaxos.SpaceSession || len(key.key) <= length {
		return pointKey{}, false
	}
	key.key = key.key[:length]
	return key, true
}

// recordsOf is the keys of the requests whose records share a key.
func recordsOf(key, session pointKey) (records []pointKey) {
	const mark, numbers = '\xfd', 16
	rest := key.key[len(session.key):]
	if len(rest) != 9 || rest[0] != mark {
		return nil
	}
	first := binary.BigEndian.Uint64([]byte(rest[1:])) * numbers
	for number := first; number < first+numbers; number++ {
		record := session
		record.key = string(binary.BigEndian.AppendUint64([]byte(session.key), number))
		records = append(records, record)
	}
	return records
}

// stateOf reads every key of a disk.
func stateOf(d *disk) (map[pointKey]string, error) {
	state := map[pointKey]string{}
	err := d.memory.Scan(nil, nil, func(stored, value []byte) error {
		if key, ok := keyOf(stored); ok {
			state[key] = string(value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the state back: %w", err)
	}
	return state, nil
}
