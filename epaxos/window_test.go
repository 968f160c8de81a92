package epaxos_test

import (
	"slices"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// TestKeyWindow: waiting for others halves the window of a key, down to two, and each command that does not wait
// gives one back.
func TestKeyWindow(t *testing.T) {
	const ms = time.Millisecond
	calm, fight := [2]time.Duration{100 * ms, 100 * ms}, [2]time.Duration{100 * ms, 101 * ms}
	for _, c := range []struct {
		limit int
		took  [][2]time.Duration
		want  int
	}{
		{16, nil, 16},
		{16, slices.Repeat([][2]time.Duration{calm}, 3), 16},
		{16, slices.Repeat([][2]time.Duration{fight}, 1), 8},
		{16, slices.Repeat([][2]time.Duration{fight}, 3), 2},
		{16, slices.Repeat([][2]time.Duration{fight}, 9), 2},
		{16, [][2]time.Duration{fight, fight, calm, calm}, 6},
		{16, slices.Concat(slices.Repeat([][2]time.Duration{fight}, 9), slices.Repeat([][2]time.Duration{calm}, 20)), 16},
		{1, slices.Repeat([][2]time.Duration{fight}, 3), 1},
		{3, slices.Repeat([][2]time.Duration{fight}, 3), 2},
	} {
		if got := epaxos.KeyWindow(c.limit, c.took...); got != c.want {
			t.Errorf("limit %d after %v: window %d, want %d", c.limit, c.took, got, c.want)
		}
	}
}
