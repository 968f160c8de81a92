package sim

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// The checkers of epochs on planted violations.

// changing is a world without events in which a fourth machine may join.
func changing() *world {
	w := &world{options: Options{Seed: 1}, members: three}
	w.setup.machines, w.setup.epochs = 4, true
	w.check.init(w)
	for i := range w.setup.machines {
		w.hosts = append(w.hosts, &host{disk: newDisk(storage.NewMemory(storage.MemoryOptions{}))})
		w.check.crashed(i, w.hosts[i].disk)
		w.check.bounds.started(i, epaxos.DefaultLimits(), three)
	}
	return w
}

// joined is the first membership with a fourth member.
func joined(w *world) wire.Members {
	next := w.firstMembers()
	next.Epoch, next.NextReplica = 2, 5
	next.Voters = append(next.Voters, wire.Member{Replica: 4, Incarnation: incarnation(3)})
	return next
}

// endingWith is a component of one Reconfigure.
func endingWith(id epaxos.InstanceID, next wire.Members) []execution.Vertex {
	control := wire.Control{Kind: wire.ControlReconfigure, Members: &next}
	command := &epaxos.Command{
		Requests: []epaxos.Request{{Payload: wire.AppendControl(nil, &control)}}, Footprint: control.Footprint(),
	}
	return []execution.Vertex{{ID: id, Command: command}}
}

// execute has hosts execute a Reconfigure and save that.
func (w *world) execute(component []execution.Vertex, hosts ...int) {
	v := component[0]
	w.check.decisions[v.ID] = &epaxos.Decision{ID: v.ID, Command: v.Command, Deps: epaxos.Dependencies{0, 0, 0}}
	control, _ := wire.DecodeControl(v.Command.Requests[0].Payload) //nolint:errcheck // it was encoded here
	for _, host := range hosts {
		w.check.executed(host, 1, component)
		batch := storage.Batch{
			Group:  wire.AppendGroup(nil, &wire.Group{Executed: []epaxos.InstanceID{v.ID}}),
			Writes: []storage.Write{{Key: membersKey, Value: wire.AppendMembers(nil, control.Members)}},
			Hold:   storage.HoldThis,
		}
		if err := w.hosts[host].disk.Save(batch); err != nil {
			panic(err)
		}
	}
}

func TestEpochsPlanted(t *testing.T) {
	first, second := instanceID(1, 1), instanceID(2, 1)
	group := func(g wire.Group) []byte { return wire.AppendGroup(nil, &g) }
	for name, test := range map[string]struct {
		play   func(w *world)
		broken string
	}{
		"an epoch ends": {func(w *world) { w.execute(endingWith(first, joined(w)), 0, 1, 2) }, ""},
		"by another": {func(w *world) {
			w.execute(endingWith(first, joined(w)), 0)
			w.execute(endingWith(second, joined(w)), 1)
		}, "agreement"},
		"executed behind the end": {func(w *world) {
			w.check.executed(0, 1, endingWith(first, joined(w)))
			w.check.executed(0, 1, []execution.Vertex{{ID: second, Command: write("k")}})
		}, "order"},
		"executed in the next too soon": {func(w *world) {
			w.check.executed(0, 1, endingWith(first, joined(w)))
			next := epaxos.InstanceID{Epoch: 2, Replica: 1, Slot: 1}
			w.check.executed(0, 2, []execution.Vertex{{ID: next, Command: write("k")}})
		}, "order"},
		"another order before the end": {func(w *world) {
			w.check.executed(0, 1, []execution.Vertex{{ID: second, Command: write("k")}})
			w.check.executed(0, 1, endingWith(first, joined(w)))
			w.check.executed(1, 1, endingWith(first, joined(w)))
		}, "order"},
		"begun without its end": {func(w *world) {
			w.execute(endingWith(first, joined(w)), 0)
			w.check.books[0].orders.at(1).ended = epaxos.InstanceID{}
			next := joined(w)
			w.hosts[1].disk.Save(storage.Batch{ //nolint:errcheck // it goes to memory
				Group: group(wire.Group{}), Writes: []storage.Write{{Key: membersKey, Value: wire.AppendMembers(nil, &next)}},
			})
		}, "durability"},
		"a core for members that are not saved": {func(w *world) {
			w.check.executed(0, 1, endingWith(first, joined(w)))
			next := joined(w)
			w.check.begins(0, next.Membership())
		}, "order"},
		"a core for other members": {func(w *world) {
			w.execute(endingWith(first, joined(w)), 0)
			w.check.begins(0, epaxos.NewMembership(2, 1, 2))
		}, "agreement"},
		"marks without the members": {func(w *world) {
			w.execute(endingWith(first, joined(w)), 0)
			w.check.executed(1, 1, endingWith(first, joined(w)))
			w.check.synced(1, storage.Batch{Group: group(wire.Group{Executed: []epaxos.InstanceID{first}})})
		}, "durability"},
		"let go too early": {func(w *world) {
			w.execute(endingWith(first, joined(w)), 0, 1)
			w.check.synced(0, storage.Batch{Group: group(wire.Group{}), Hold: storage.HoldNone})
		}, "durability"},
		"an answer that does not stand": {func(w *world) {
			w.check.stands(second)
			w.execute(endingWith(first, joined(w)), 0)
		}, "durability"},
		"an answer too late": {func(w *world) {
			w.execute(endingWith(first, joined(w)), 0)
			w.check.stands(second)
		}, "durability"},
		"a state that nobody had": {func(w *world) {
			w.hosts[3].disk.Save(storage.Batch{ //nolint:errcheck // it goes to memory
				Group: group(wire.Group{}), Writes: []storage.Write{{Key: []byte("\x00k"), Value: []byte("v")}},
			})
		}, "order"},
		"marks of one who executes nothing": {func(w *world) {
			w.check.synced(3, storage.Batch{Group: group(wire.Group{Executed: []epaxos.InstanceID{first}})})
		}, "durability"},
		"a vote of one who has none": {func(w *world) {
			w.check.synced(3, storage.Batch{Group: group(wire.Group{Records: []epaxos.Record{{ID: first}}})})
		}, "promise"},
	} {
		t.Run(name, func(t *testing.T) {
			w := changing()
			test.play(w)
			if test.broken == "" {
				wantNone(t, w.err)
				if w.check.newest().record.Epoch != 2 || w.check.epochs[2] != 2 {
					t.Errorf("epochs %v", w.check.epochs)
				}
				return
			}
			wantViolation(t, w.err, test.broken)
		})
	}
}

// TestUntimelyPlanted: what may be said of an epoch depends on the one that the disk is in.
func TestUntimelyPlanted(t *testing.T) {
	old := instanceID(1, 1)
	next := epaxos.InstanceID{Epoch: 2, Replica: 1, Slot: 1}
	for name, test := range map[string]struct {
		host    int
		message epaxos.Message
		broken  string
	}{
		"a vote":                      {1, epaxos.PreAcceptReply{ID: old}, ""},
		"a vote in an ended epoch":    {0, epaxos.PreAcceptReply{ID: old}, "promise"},
		"a promise in an ended epoch": {0, epaxos.RecoverReply{ID: old}, "promise"},
		"a decision of it":            {0, epaxos.Commit{ID: old}, ""},
		"its end":                     {0, epaxos.Ended{Epoch: 2}, ""},
		"the end before it":           {1, epaxos.Ended{Epoch: 2}, "durability"},
		"a vote in the next":          {1, epaxos.PreAcceptReply{ID: next}, "durability"},
		"a vote of who has none":      {3, epaxos.PreAcceptReply{ID: next}, "commit-votes"},
		"two epochs in one message":   {0, epaxos.Fetch{IDs: []epaxos.InstanceID{next, old}}, "integrity"},
		"no epoch":                    {0, epaxos.Waiting{}, "integrity"},
	} {
		t.Run(name, func(t *testing.T) {
			w := changing()
			shrunk := w.firstMembers()
			shrunk.Epoch, shrunk.F, shrunk.E, shrunk.NextReplica = 2, 0, 0, 5
			shrunk.Learners = []wire.Member{{Replica: 4, Incarnation: incarnation(3)}}
			w.execute(endingWith(old, shrunk), 0)
			w.check.epochs[3] = 2
			wantNone(t, w.err)
			v := w.check.misplaced(test.host, test.message)
			if test.broken == "" {
				wantNone(t, v)
				return
			}
			wantViolation(t, v, test.broken)
		})
	}
}

// TestGreetingsPlanted: a replica that takes part was greeted by a quorum.
func TestGreetingsPlanted(t *testing.T) {
	w := newWorld(Options{Seed: 1, Replicas: 3, Epochs: EpochsOne})
	for i := range w.members.Voters {
		w.start(i)
	}
	w.runUntil(w.now + 10*w.setup.far + 10*helloInterval)
	wantNone(t, w.err)
	if !w.hosts[0].node.Admitted() || w.hosts[0].role() != node.Voter {
		t.Fatal("nobody is admitted")
	}
	w.check.greeted[0] = map[int]bool{}
	w.check.turnedTo(0)
	wantViolation(t, w.err, "durability", "r1", "probation")
}
