package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/264bc8cf/epaxos/storage"
)

func testScrub(t *testing.T, f Factory) {
	s := open(t, f)
	if _, done, err := s.Scrub(storage.ScrubPosition{}, 1<<20); err != nil || !done {
		t.Fatalf("scrub an empty store: %v, %v", done, err)
	}
	for i := range 100 {
		save(t, s, pattern(i*20, i), set(fmt.Sprint(i%30), pattern(i*10, i)))
	}
	stage(t, s, "", set("staged", "staged"))
	saving, stop := sync.WaitGroup{}, make(chan struct{})
	saving.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			b := storage.Batch{Group: []byte(pattern(i*7%900, i)), Writes: []storage.Write{set(fmt.Sprint(i%40), "v")}}
			b.DropGroups, b.Adopt, b.Hold = i%3, i == 20, storage.HoldAction(i%3)
			if err := s.Save(b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for _, budget := range []int{1, 1000, 30_000} {
		steps, done := 0, false
		for at := (storage.ScrubPosition{}); !done; steps++ {
			var err error
			if at, done, err = s.Scrub(at, budget); err != nil {
				t.Fatal(err)
			}
			if steps > 1_000_000/budget+10 {
				t.Fatalf("%d steps of %d bytes did not come to an end", steps, budget)
			}
		}
		if budget < 30_000 && steps < 5 {
			t.Errorf("%d steps of %d bytes scrubbed it all", steps, budget)
		}
	}
	close(stop)
	saving.Wait()
}
