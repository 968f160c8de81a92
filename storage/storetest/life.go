package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

func testConcurrent(t *testing.T, f Factory) {
	s := open(t, f)
	done := make(chan struct{})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for last := uint64(0); ; {
				now := s.LastGroup()
				if now < last || s.Usage().GroupLast < now {
					t.Errorf("the log shrank: %d, %d, %+v", last, now, s.Usage())
				}
				last = now
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 50 {
		save(t, s, "g", set("k", "v"))
	}
	close(done)
	asking.Wait()
}

// testRandom lives through random batches, crashes and restarts, and reads as a sorted map would.
func testRandom(t *testing.T, f Factory) {
	r := rand.New(rand.NewPCG(20, 26))
	s := open(t, f)
	model := map[string]string{}
	var wantGroups []string
	randomKey := func() string { return pattern(r.IntN(3), r.IntN(40)) }
	for range 250 {
		switch r.IntN(40) {
		case 0:
			s = reopen(t, f, s)
		case 1:
			s = f.Crash(t, s)
		}
		group := pattern(r.IntN(100), r.Int())
		var writes []storage.Write
		for range r.IntN(6) {
			if key := randomKey(); r.IntN(3) == 0 {
				writes = append(writes, del(key))
				delete(model, key)
			} else {
				value := pattern(r.IntN(50), r.Int())
				writes = append(writes, set(key, value))
				model[key] = value
			}
		}
		dropped := 0
		if r.IntN(8) == 0 {
			dropped = r.IntN(len(wantGroups) + 1)
		}
		saveAndDrop(t, s, dropped, group, writes...)
		wantGroups = append(wantGroups[dropped:], group)
		from, to := randomKey(), randomKey()
		var want []string
		for _, key := range slices.Sorted(maps.Keys(model)) {
			if key >= from && (key < to || to == "") {
				want = append(want, key+"="+model[key])
			}
		}
		wantStrings(t, fmt.Sprintf("scan from %q to %q", from, to), state(t, s, from, to), want...)
	}
	wantStrings(t, "groups", groups(t, s), wantGroups...)
}
