package sim

import (
	"github.com/264bc8cf/epaxos/epaxos"
)

// orders checks that any two interfering commands of an epoch execute in the same order on all replicas in all
// lives, the moment that one of them executes. It does not look at results: what commutes may be
// exchanged, what does not may not, even where nobody could tell the difference.
//
// A command stands rightly if exactly those commands that interfere with it have executed before it as
// did where it executed first. Which these were is kept as a sum of hashes, so that a comparison costs
// no more than the command has keys. Two different sets of one sum take 2^32 comparisons to be likely.
type orders struct {
	standing map[epaxos.InstanceID]standing
	commands map[epaxos.InstanceID]*epaxos.Command
	hosts    []*hostOrder
}

// standing is what executed before a command where it executed first.
type standing struct {
	host   int
	before digest
	log    []epaxos.InstanceID // of that host up to here, shared
}

// digest stands for a set of accesses.
type digest struct {
	count int
	sum   uint64
}

func (d *digest) add(of digest) {
	d.count += of.count
	d.sum += of.sum
}

// hostOrder is what one replica has executed, as far as it knows it: a crash takes it back to the marks
// on its disk.
type hostOrder struct {
	log  []epaxos.InstanceID
	done map[epaxos.InstanceID]bool
	keys map[pointKey]*[epaxos.Everything]digest // executed point accesses, by mode
	wide []placed                                // executed accesses that are wide
	all  []placed                                // all executed accesses

	ended epaxos.InstanceID // the Reconfigure that it executed last of all
}

// placed is an executed access.
type placed struct {
	access *epaxos.Access
	one    digest
}

func newOrders() *orders {
	o := &orders{
		standing: map[epaxos.InstanceID]standing{}, commands: map[epaxos.InstanceID]*epaxos.Command{},
	}
	return o
}

// at is what a replica has executed in the epoch.
func (o *orders) at(host int) *hostOrder {
	for host >= len(o.hosts) {
		o.hosts = append(o.hosts, newHostOrder())
	}
	return o.hosts[host]
}

func newHostOrder() *hostOrder {
	return &hostOrder{done: map[epaxos.InstanceID]bool{}, keys: map[pointKey]*[epaxos.Everything]digest{}}
}

// executed takes a command in its place.
func (o *orders) executed(host int, id epaxos.InstanceID, command *epaxos.Command) *Violation {
	h := o.at(host)
	if h.done[id] {
		return found("once", "r%d executes %v again", replicaOf(host), id)
	}
	before := h.interfering(command.Footprint)
	h.enter(id, command)
	o.commands[id] = command
	first, seen := o.standing[id]
	if !seen {
		o.standing[id] = standing{host: host, before: before, log: h.log[:len(h.log):len(h.log)]}
		return nil
	}
	if first.before == before {
		return nil
	}
	return o.explain(host, id, first)
}

// explain finds a command that stands before the other here and behind it, or nowhere, there.
func (o *orders) explain(host int, id epaxos.InstanceID, first standing) *Violation {
	there := map[epaxos.InstanceID]bool{}
	for _, other := range first.log {
		there[other] = true
	}
	footprint := o.commands[id].Footprint
	missing := func(log []epaxos.InstanceID, in map[epaxos.InstanceID]bool) (epaxos.InstanceID, bool) {
		for _, other := range log {
			command := o.commands[other]
			if other != id && !in[other] && command != nil && footprint.Interferes(command.Footprint) {
				return other, true
			}
		}
		return epaxos.InstanceID{}, false
	}
	here, at := replicaOf(host), replicaOf(first.host)
	if other, extra := missing(o.at(host).log, there); extra {
		return found("order", "r%d executes %v before %v, r%d has not", here, other, id, at)
	}
	if other, lacks := missing(first.log, o.at(host).done); lacks {
		return found("order", "r%d executes %v before %v, r%d has not", at, other, id, here)
	}
	return found("order", "r%d executes other commands before %v than r%d did", here, id, at)
}

// restart takes a replica back to what its disk says was executed, in the order of the marks.
func (o *orders) restart(host int, durable []epaxos.InstanceID) {
	h := o.at(host)
	*h = *newHostOrder()
	for _, id := range durable {
		if command := o.commands[id]; command != nil {
			h.enter(id, command)
		} else {
			h.done[id] = true // a no-op
		}
	}
}

// enter counts a command as executed.
func (h *hostOrder) enter(id epaxos.InstanceID, command *epaxos.Command) {
	h.done[id] = true
	h.log = append(h.log, id)
	for i := range command.Footprint {
		access := &command.Footprint[i]
		p := placed{access: access, one: digest{count: 1, sum: hashOf(id, i)}}
		h.all = append(h.all, p)
		if isWide(access) {
			h.wide = append(h.wide, p)
			continue
		}
		key := h.keys[pointKey{access.Space, access.Key}]
		if key == nil {
			key = new([epaxos.Everything]digest)
			h.keys[pointKey{access.Space, access.Key}] = key
		}
		key[access.Mode].add(p.one)
	}
}

// interfering is the set of executed accesses that interfere with a footprint.
func (h *hostOrder) interfering(footprint epaxos.Footprint) digest {
	var all digest
	for i := range footprint {
		access := &footprint[i]
		candidates := h.all
		if !isWide(access) {
			candidates = h.wide
			if key := h.keys[pointKey{access.Space, access.Key}]; key != nil {
				for mode := range key {
					if !access.Mode.CommutesWith(epaxos.Mode(mode)) { //nolint:gosec // small
						all.add(key[mode])
					}
				}
			}
		}
		one := epaxos.Footprint{*access}
		for _, p := range candidates {
			if one.Interferes(epaxos.Footprint{*p.access}) {
				all.add(p.one)
			}
		}
	}
	return all
}

// hashOf is a number for one access of a command. Sums of such numbers must not repeat, so each bit of
// it depends on each bit of the name.
func hashOf(id epaxos.InstanceID, access int) uint64 {
	x := uint64(id.Slot)<<24 ^ uint64(id.Replica)<<16 ^ uint64(id.Epoch)<<52 ^ uint64(access) //nolint:gosec // small
	for range 2 {
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}
