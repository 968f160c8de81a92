// Package hostile is what tests of hostile input share: the bound on the memory that an input may cost,
// and a source of messages, records and inputs that obey no protocol. Only tests import it.
package hostile

import (
	"math"
	"runtime"
	"testing"
)

// Decoding n bytes may allocate Factor*n + Slack bytes, what is freed again included. Slack pays for an
// error and its text, and for decoders that a pool has lost.
const (
	Factor = 64
	Slack  = 64 << 10
)

// Spent is how many bytes of heap a call allocates, and whatever else runs beside it. Each call stops all
// goroutines twice.
func Spent(call func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// Cheap fails the test if a call that decodes size bytes allocates more than factor bytes for each, and
// Slack. The call is repeated before it is found guilty: others may allocate beside it, but not each time.
func Cheap(t testing.TB, factor, size int, call func()) {
	t.Helper()
	most, least := factor*size+Slack, math.MaxInt
	for range 3 {
		if least = min(least, Spent(call)); least <= most {
			return
		}
	}
	t.Fatalf("violation of boundedness: %d bytes of input made %d be allocated, at most %d are fair", size, least, most)
}

// Retained is how many bytes of heap are in use, garbage excluded. The difference of two is what stays.
func Retained() int {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first made unreachable: pools keep their content for one more round
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}
