package execution

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// BenchmarkRangesAmongWrites: 3,000 commands on 30 keys that all depend on each other as far as they interfere;
// one in so many reads all keys.
func BenchmarkRangesAmongWrites(b *testing.B) {
	const size = 3_000
	all := epaxos.Dependencies{size / 3, size / 3, size / 3}
	read := &epaxos.Command{Footprint: epaxos.Footprint{{Mode: epaxos.Read, Range: true, Key: "key-"}}}
	for _, every := range []int{size, 100, 10} {
		b.Run(fmt.Sprintf("one in %d", every), func(b *testing.B) {
			commands := make([]*epaxos.Command, size)
			for i := range commands {
				commands[i] = writes(fmt.Sprintf("key-%d", i%30))
				if i%every == 0 {
					commands[i] = read
				}
			}
			for b.Loop() {
				g := NewGraph(threeVoters())
				for i, cmd := range commands {
					g.Learn(id(1+i%3, 1+i/3), cmd)
				}
				for i, cmd := range commands {
					g.Commit(id(1+i%3, 1+i/3), cmd, all)
					drain(g)
				}
				if n := g.Pending(); n != 0 {
					b.Fatalf("%d left", n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/command")
		})
	}
}

// sorted is a store that finds where a range begins, as those that ship do.
type sorted struct {
	memory
	keys []string
}

func (s *sorted) Scan(from, to []byte, visit func(key, value []byte) error) error {
	at, _ := slices.BinarySearch(s.keys, string(from))
	for _, key := range s.keys[at:] {
		if to != nil && key >= string(to) {
			return nil
		}
		if err := visit([]byte(key), []byte(s.values[key])); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkRange reads 100 of 100,000 keys, of which the store does not hold 1,000 yet.
func BenchmarkRange(b *testing.B) {
	store := &sorted{memory: *newMemory()}
	state := NewState(store)
	for i := range 100_000 {
		key := fmt.Sprintf("key-%06d", i*7919%100_000)
		state.Put(epaxos.SpaceState, key, (&record{found: true, version: 1, value: []byte("value")}).saved())
		if i == 99_000 {
			store.save(state.Take())
			state.Saved()
			store.keys = slices.Sorted(maps.Keys(store.values))
		}
	}
	op := readRange("key-05", "")
	op.Limit = 100
	payload := wire.AppendOp(nil, &op)
	footprint, err := KV{}.Footprint(payload)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := state.Run(KV{}, footprint, payload); err != nil {
			b.Fatal(err)
		}
	}
}
