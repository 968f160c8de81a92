package sim

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// twoAdds is a key that was put, added to twice, and deleted.
var twoAdds = lineage{deeds: []deed{
	{id: instanceID(1, 1), kind: puts, value: "5", version: 1},
	{id: instanceID(2, 1), kind: adds, delta: 2},
	{id: instanceID(3, 1), kind: adds, delta: 3},
	{id: instanceID(1, 2), kind: deletes, version: 4},
}}

func TestEventsPlanted(t *testing.T) {
	put := wire.WatchEvent{Kind: wire.WatchPut, Instance: instanceID(1, 1), Value: []byte("5"), Version: 1}
	first := wire.WatchEvent{Kind: wire.WatchAdd, Instance: instanceID(2, 1), Delta: 2}
	second := wire.WatchEvent{Kind: wire.WatchAdd, Instance: instanceID(3, 1), Delta: 3}
	gone := wire.WatchEvent{Kind: wire.WatchDelete, Instance: instanceID(1, 2), Version: 4}
	other := put
	other.Value = []byte("6")
	for name, test := range map[string]struct {
		events []wire.WatchEvent
		fine   bool
	}{
		"in order":          {[]wire.WatchEvent{put, first, second, gone}, true},
		"adds in any order": {[]wire.WatchEvent{put, second, first, gone}, true},
		"one twice":         {[]wire.WatchEvent{put, put}, false},
		"an add twice":      {[]wire.WatchEvent{put, first, first}, false},
		"an add lost":       {[]wire.WatchEvent{put, first, gone}, false},
		"a put lost":        {[]wire.WatchEvent{gone}, false},
		"an add too soon":   {[]wire.WatchEvent{first}, false},
		"an add too late":   {[]wire.WatchEvent{put, second, first, gone, first}, false},
		"another value":     {[]wire.WatchEvent{other}, false},
		"nobody did that":   {[]wire.WatchEvent{put, first, second, gone, put}, false},
	} {
		p, why := progress{last: -1, adds: map[int]bool{}}, ""
		for i := range test.events {
			if why == "" {
				why = twoAdds.takes(&p, &test.events[i])
			}
		}
		if (why == "") != test.fine {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestHolds(t *testing.T) {
	for name, test := range map[string]struct {
		executed []epaxos.InstanceID
		value    string
		version  uint64
		found    bool
	}{
		"nothing":       {nil, "", 0, false},
		"put":           {[]epaxos.InstanceID{instanceID(1, 1)}, "5", 1, true},
		"the later add": {[]epaxos.InstanceID{instanceID(1, 1), instanceID(3, 1)}, "8", 2, true},
		"deleted": {
			[]epaxos.InstanceID{instanceID(1, 1), instanceID(2, 1), instanceID(3, 1), instanceID(1, 2)}, "", 4, false,
		},
	} {
		p := twoAdds.of(func(id epaxos.InstanceID) bool {
			for _, known := range test.executed {
				if id == known {
					return true
				}
			}
			return false
		})
		if value, version, found := twoAdds.holds(&p); value != test.value || version != test.version || found != test.found {
			t.Errorf("%s: %q at version %d, %v", name, value, version, found)
		}
	}
}

// TestOldReadsPlanted: a read shows no older version than it may.
func TestOldReadsPlanted(t *testing.T) {
	get := getOf([]byte("k"))
	for name, test := range map[string]struct {
		must uint64
		fine bool
	}{"newer": {3, true}, "just that": {4, true}, "older": {5, false}} {
		w := watched(1)
		w.told = map[string][]shown{}
		c := &client{w: w, seen: map[string]uint64{"k": test.must}}
		o := &operation{client: c, op: get}
		o.least = c.mustShow(&get)
		c.saw(0, o, &wire.Result{Found: true, Version: 4}, c.token)
		if test.fine {
			wantNone(t, w.err)
		} else if w.err == nil || w.err.Invariant != "linearizability" {
			t.Errorf("%s: %v", name, w.err)
		}
	}
}
