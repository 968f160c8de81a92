package deps

import (
	"fmt"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
)

func keysOf(n int) []epaxos.Footprint {
	footprints := make([]epaxos.Footprint, n)
	for i := range footprints {
		footprints[i] = point(epaxos.Write, fmt.Sprintf("user/%08d", i*7919%n))
	}
	return footprints
}

// benchmarkCommands raises and inserts one command after the other, as a replica does.
func benchmarkCommands(b *testing.B, index *Index, footprints []epaxos.Footprint) {
	const columns = 5
	into := make(epaxos.Dependencies, columns)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		footprint := footprints[i%len(footprints)]
		clear(into)
		index.Raise(footprint, into)
		index.Insert(i%columns, epaxos.Slot(1+i/columns), footprint)
		if i%1024 == 0 {
			floor := max(0, i/columns-10_000)
			for column := range into {
				into[column] = epaxos.Slot(floor)
			}
			index.Forget(into, 2048)
		}
	}
}

func BenchmarkHotKey(b *testing.B)       { benchmarkCommands(b, New(5), keysOf(1)) }
func BenchmarkThousandKeys(b *testing.B) { benchmarkCommands(b, New(5), keysOf(1000)) }
func BenchmarkMillionKeys(b *testing.B)  { benchmarkCommands(b, New(5), keysOf(1_000_000)) }

// BenchmarkThousandKeysWithRanges has the points in order because a range was asked for once.
func BenchmarkThousandKeysWithRanges(b *testing.B) {
	index := New(5)
	index.Above(span2(epaxos.Read, "a", "b"), nil)
	benchmarkCommands(b, index, keysOf(1000))
}

// BenchmarkRangeOverMillionKeys asks for the maxima over 1,000 neighbouring keys.
func BenchmarkRangeOverMillionKeys(b *testing.B) {
	index := New(5)
	for i, footprint := range keysOf(1_000_000) {
		index.Insert(i%5, epaxos.Slot(1+i/5), footprint)
	}
	asked := span2(epaxos.Read, "user/00500000", "user/00501000")
	into := make(epaxos.Dependencies, 5)
	index.Raise(asked, into)
	b.ReportAllocs()
	for b.Loop() {
		clear(into)
		index.Raise(asked, into)
	}
}

// BenchmarkAbove enumerates ten instances above a floor of 100,000 on one key.
func BenchmarkAbove(b *testing.B) {
	index := New(5)
	footprint := point(epaxos.Write, "hot")
	for i := range 100_000 {
		index.Insert(0, epaxos.Slot(1+i), footprint)
	}
	floor := epaxos.Dependencies{99_990, 0, 0, 0, 0}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(index.Above(footprint, floor)); n != 10 {
			b.Fatalf("%d instances", n)
		}
	}
}
