package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// nullStore takes groups and forgets them, so that what is measured is ours.
type nullStore struct {
	storage.Versions // not for use
	storage.Staging  // likewise

	last  uint64
	state map[string][]byte
}

func (s *nullStore) BatchBytesMax() int { return 4 << 20 }
func (s *nullStore) LastGroup() uint64  { return s.last }
func (s *nullStore) Held() uint64       { return 0 }

func (s *nullStore) Staged() ([]byte, error) { return nil, nil }

// pump is a cluster whose network is a loop.
type pump struct {
	nodes    []*node.Node
	proposal epaxos.ProposalID
	answers  int
}

func newPump(tb testing.TB, replicas int) *pump {
	var ids []epaxos.ReplicaID
	for i := range replicas {
		ids = append(ids, epaxos.ReplicaID(i+1)) //nolint:gosec // few
	}
	p := &pump{}
	for _, id := range ids {
		config := configOf(id, &nullStore{state: map[string][]byte{}}, replicas)
		config.WriteBack = 100 * time.Millisecond
		n, err := node.New(config)
		if err != nil {
			tb.Fatal(err)
		}
		p.nodes = append(p.nodes, n)
	}
	for i, a := range p.nodes {
		for j, b := range p.nodes {
			if i != j {
				if err := b.Greet(0, a.Hello(ids[j])); err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	return p
}

// round proposes a batch at every node and runs turns until all is answered.
func (p *pump) round(tb testing.TB, now time.Duration, batch int, value []byte) {
	want := p.answers + batch*len(p.nodes)
	for i, n := range p.nodes {
		for j := range batch {
			payload := wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: fmt.Appendf(nil, "c%d-%d", i, j), Value: value})
			footprint, err := execution.KV{}.Footprint(payload)
			if err != nil {
				tb.Fatal(err)
			}
			p.proposal++
			if err := n.Propose(now, p.proposal, epaxos.Request{Payload: payload}, footprint); err != nil {
				tb.Fatal(err)
			}
		}
	}
	for p.answers < want {
		p.turn(tb, now)
	}
}

// turn runs one turn of every node and carries the frames, encoded as on the wire.
func (p *pump) turn(tb testing.TB, now time.Duration) {
	for i, n := range p.nodes {
		messages, err := n.Save(now)
		if err != nil {
			tb.Fatal(err)
		}
		frames := make([][]byte, len(p.nodes))
		for _, e := range messages {
			frames[e.To-1] = wire.AppendMessage(frames[e.To-1], e.Message)
		}
		answers, err := n.Execute(now)
		if err != nil {
			tb.Fatal(err)
		}
		p.answers += len(answers)
		for to, frame := range frames {
			if frame == nil {
				continue
			}
			header, decoded, err := wire.DecodeFrame(append(wire.AppendFrameHeader(nil, wire.FrameHeader{}), frame...))
			if err != nil {
				tb.Fatal(err)
			}
			p.nodes[to].Deliver(now, epaxos.ReplicaID(i+1), header, decoded)
		}
	}
}

// BenchmarkPut is the cost of one put on all replicas together, without disks, sockets and clients:
// protocol, executor, state machine and encodings.
func BenchmarkPut(b *testing.B) {
	for _, replicas := range []int{3, 5} {
		b.Run(fmt.Sprintf("replicas=%d", replicas), func(b *testing.B) {
			p := newPump(b, replicas)
			value := make([]byte, 64)
			now := time.Second
			b.ReportAllocs()
			for p.answers < b.N {
				p.round(b, now, 128, value)
				now += 5 * time.Millisecond
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(p.answers), "ns/put")
		})
	}
}

func (s *nullStore) Save(batch storage.Batch) error {
	s.last++
	for _, w := range batch.Writes {
		s.state[string(w.Key)] = w.Value
	}
	return nil
}

func (s *nullStore) Get(key []byte) ([]byte, bool, error) {
	value, found := s.state[string(key)]
	return value, found, nil
}

func (s *nullStore) Scan([]byte, []byte, func(key, value []byte) error) error { return nil }

func (s *nullStore) Groups(func(uint64, []byte) error) error { return nil }
