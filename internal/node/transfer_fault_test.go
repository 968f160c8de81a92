package node_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// apart cuts a replica off from all others.
func (c *company) apart(id epaxos.ReplicaID) {
	c.lost = func(e epaxos.Envelope) bool { return e.To == id || e.From == id }
}

// joining is a company whose fourth replica is about to join as a voter, with much to take over in small parts.
func joining(t *testing.T) *company {
	t.Helper()
	c := newCompany(t, 3)
	c.rate = node.Transfer{ChunkBytes: 300}
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	c.fill(60, "some value that takes a few bytes")
	one := c.hire()
	c.apart(4)
	c.want1(c.reconfigure(0, func(m *wire.Members) { grow(m, one) }))
	c.lost = nil
	return c
}

// joined expects that the fourth replica has become a voter like the others.
func (c *company) joined() {
	c.t.Helper()
	for range 5 {
		c.meet()
		c.settle(4 * time.Second)
	}
	if c.role(3) != node.Voter || !c.nodes[3].Admitted() {
		c.t.Fatalf("violation of progress: it is a %v, admitted: %v; %+v", c.role(3), c.nodes[3].Admitted(),
			c.nodes[3].Status().Transfer)
	}
	id := c.put(3, "own", "value")
	c.settle(2 * time.Second)
	c.want(id)
	c.same(0, 1, 2, 3)
}

var errDies = errors.New("it dies")

// mortal is a store whose replica dies at one of the steps that change it, before or after it.
type mortal struct {
	*storage.Memory
	left  int // steps until then
	after bool
	steps *int
}

func (m *mortal) step(change func() error) error {
	*m.steps++
	m.left--
	if m.left == 0 && !m.after {
		return errDies
	}
	if err := change(); err != nil {
		return err
	}
	if m.left == 0 {
		return errDies
	}
	return nil
}

func (m *mortal) Save(b storage.Batch) error { return m.step(func() error { return m.Memory.Save(b) }) }

func (m *mortal) Stage(w []storage.Write, note []byte) error {
	return m.step(func() error { return m.Memory.Stage(w, note) })
}

func (m *mortal) DropStaged() error { return m.step(m.Memory.DropStaged) }

// A replica that is killed at any step of an installation has the old state or the new one, and goes on from what
// it has staged (rule M10).
func TestKilledWhileItInstalls(t *testing.T) {
	for _, after := range []bool{false, true} {
		dies, steps := 1, 0
		for ; ; dies++ {
			c := joining(t)
			c.configs[3].Store = &mortal{Memory: c.stores[3], left: dies, after: after, steps: &steps}
			c.start(3)
			if !c.dies(3) {
				break
			}
			c.crash(3)
			checkWhole(t, c, dies)
			c.joined()
			if took := c.nodes[3].Status().Transfer.Bytes; dies > 8 && took > 3000 {
				t.Errorf("killed at step %d, it took %d bytes anew", dies, took)
			}
		}
		if dies < 12 {
			t.Errorf("only %d steps", dies)
		}
	}
}

// dies lets time pass until a replica dies.
func (c *company) dies(i int) (died bool) {
	c.t.Helper()
	for range 100 {
		c.meet()
		for j, n := range c.nodes {
			if j != i {
				c.turn(j)
			} else if messages, err := n.Save(c.now); errors.Is(err, errDies) {
				return true
			} else if _, err := n.Execute(c.now); errors.Is(err, errDies) {
				return true
			} else {
				for _, e := range messages {
					c.nodes[e.To-1].Deliver(c.now, e.From, wire.FrameHeader{}, []epaxos.Message{e.Message})
				}
			}
			n.Tick(c.now)
		}
		c.now += 50 * time.Millisecond
	}
	return false
}

// checkWhole expects nothing or everything, and never a part.
func checkWhole(t *testing.T, c *company, step int) {
	t.Helper()
	got := dump(t, c.stores[3])
	want := beginning(t, c.stores[0])
	if len(got) > 0 && !slices.Equal(got, want) {
		t.Fatalf("violation of durability: killed at step %d, it has %d keys of %d", step, len(got), len(want))
	}
	if (len(got) > 0) != (c.role(3) == node.Voter) {
		t.Fatalf("violation of durability: killed at step %d, it has %d keys and is a %v", step, len(got), c.role(3))
	}
}

// beginning is the state with which the epoch began, of one who still holds it.
func beginning(t *testing.T, s *storage.Memory) (all []string) {
	t.Helper()
	if s.Held() == 0 {
		t.Fatal("violation of durability: the state with which the epoch began is not held")
	}
	err := s.Changes(0, s.Held(), nil, func(w storage.Write) error {
		all = append(all, fmt.Sprintf("%q=%x", w.Key, w.Value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever the network makes of the parts, no other state than the one that was sent is taken over.
func TestDamagedPartsAreNotTaken(t *testing.T) {
	clone := func(c epaxos.StateChunk) epaxos.StateChunk {
		c.Writes = slices.Clone(c.Writes)
		for i := range c.Writes {
			c.Writes[i].Key, c.Writes[i].Value = slices.Clone(c.Writes[i].Key), slices.Clone(c.Writes[i].Value)
		}
		return c
	}
	for name, spoil := range map[string]func(c *epaxos.StateChunk){
		"a value is changed":  func(c *epaxos.StateChunk) { c.Writes[0].Value = append(c.Writes[0].Value, 1) },
		"a key is changed":    func(c *epaxos.StateChunk) { c.Writes[len(c.Writes)-1].Key[1] ^= 1 },
		"a key is missing":    func(c *epaxos.StateChunk) { c.Writes = c.Writes[:len(c.Writes)-1] },
		"two are exchanged":   func(c *epaxos.StateChunk) { slices.Reverse(c.Writes) },
		"one comes twice":     func(c *epaxos.StateChunk) { c.Writes = append(c.Writes, c.Writes[len(c.Writes)-1]) },
		"it claims to be all": func(c *epaxos.StateChunk) { c.Last = true },
		"it is not the last":  func(c *epaxos.StateChunk) { c.Last = !c.Last },
		"the epoch is later":  func(c *epaxos.StateChunk) { c.Epoch++ },
		"no beginning":        func(c *epaxos.StateChunk) { c.Boundary = false },
		"of another group":    func(c *epaxos.StateChunk) { c.At++ },
		"deletes":             func(c *epaxos.StateChunk) { c.Writes[0].Delete = true },
		"another sum":         func(c *epaxos.StateChunk) { c.Sum++ },
		"behind another key":  func(c *epaxos.StateChunk) { c.After = append(slices.Clone(c.After), 7) },
	} {
		t.Run(name, func(t *testing.T) {
			c := joining(t)
			spoiled := 0
			var seen []epaxos.StateChunk
			c.lost = func(e epaxos.Envelope) bool {
				chunk, is := e.Message.(epaxos.StateChunk)
				if !is || len(chunk.Writes) == 0 || spoiled >= 40 {
					return false
				}
				seen = append(seen, chunk)
				spoiled++
				bad := clone(chunk)
				spoil(&bad)
				for _, m := range []epaxos.StateChunk{bad, seen[spoiled/2]} { // and an older one once more
					c.nodes[3].Deliver(c.now, e.From, wire.FrameHeader{}, []epaxos.Message{m})
				}
				return spoiled%2 == 0
			}
			c.joined()
			if spoiled < 10 {
				t.Errorf("only %d were spoiled", spoiled)
			}
		})
	}
}

// What is staged is read back before it counts: a disk that has changed it meanwhile does not get through.
func TestStagedStateIsReadBack(t *testing.T) {
	c := joining(t)
	flips := 1
	c.configs[3].Store = &forger{Memory: c.stores[3], flips: &flips}
	c.start(3)
	c.joined()
	if flips != 0 {
		t.Errorf("%d were not flipped", flips)
	}
}

// forger is a store that now and then stages something else.
type forger struct {
	*storage.Memory
	flips *int
}

func (f *forger) Stage(writes []storage.Write, note []byte) error {
	if decoded, err := wire.DecodeNote(note); err == nil && !decoded.Whole && *f.flips > 0 && len(writes) > 0 {
		*f.flips--
		writes = slices.Clone(writes)
		writes[0].Value = append(slices.Clone(writes[0].Value), 'x')
	}
	return f.Memory.Stage(writes, note)
}

// Another takes the place of a source that dies in the middle.
func TestSourceDies(t *testing.T) {
	c := joining(t)
	c.rate = node.Transfer{ChunkBytes: 300, BytesPerSecond: 1000}
	for i := range 3 {
		c.crash(i)
	}
	c.meet()
	c.settle(time.Second)
	c.meet()
	c.settle(2 * time.Second)
	status := c.nodes[3].Status().Transfer
	if status.Source == 0 || status.Bytes == 0 {
		t.Fatalf("the test shows nothing: %+v", status)
	}
	c.nodes[status.Source-1] = nil
	for range 30 {
		c.meet()
		c.settle(2 * time.Second)
	}
	if c.role(3) != node.Voter {
		t.Fatalf("violation of progress: a %v; %+v", c.role(3), c.nodes[3].Status().Transfer)
	}
	c.start(int(status.Source) - 1)
	c.joined()
}

// A restart of the source costs nothing: what it holds for the beginning it holds durably.
func TestSourceRestarts(t *testing.T) {
	c := joining(t)
	c.rate = node.Transfer{ChunkBytes: 300, BytesPerSecond: 2000}
	for range 100 {
		for i := range 3 {
			c.crash(i)
		}
		c.meet()
		c.settle(200 * time.Millisecond)
	}
	if c.role(3) != node.Voter {
		t.Fatalf("violation of progress: a %v; %+v", c.role(3), c.nodes[3].Status().Transfer)
	}
	c.joined()
}

// A disk that is full holds up an installation at any step, and nothing else.
func TestNoRoomToInstall(t *testing.T) {
	c := joining(t)
	for k := range 60 {
		c.stores[3].Full(k%3 > 0)
		c.meet()
		c.settle(100 * time.Millisecond)
	}
	c.stores[3].Full(false)
	c.joined()
}

// partsUpTo loses every part of a state behind so many.
func partsUpTo(seen *int, most int) func(e epaxos.Envelope) bool {
	return func(e epaxos.Envelope) bool {
		if _, part := e.Message.(epaxos.StateChunk); part {
			*seen++
			return *seen > most
		}
		return false
	}
}
