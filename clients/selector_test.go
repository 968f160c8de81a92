package clients

import (
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

const ms = time.Millisecond

// at is a time of the selector's scenarios.
func at(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }

// connected returns a selector over replicas 1, 2, … with these round trips, which serves from 1.
func connected(rtts ...time.Duration) *selector {
	s := newSelector(Policy{})
	for i, rtt := range rtts {
		s.up(epaxos.ReplicaID(i + 1))
		if i == 0 {
			s.choose(at(0))
		}
		if rtt > 0 {
			s.observe(epaxos.ReplicaID(i+1), rtt)
		}
	}
	return &s
}

// probe gives every replica one answered probe, in order.
func (s *selector) probe(rounds int, rtts ...time.Duration) {
	for range rounds {
		for i, rtt := range rtts {
			s.observe(epaxos.ReplicaID(i+1), rtt)
		}
	}
}

func TestSelector(t *testing.T) {
	tests := []struct {
		name string
		play func() *selector
		when time.Duration
		want epaxos.ReplicaID
	}{
		{"nobody is connected", func() *selector { return connected() }, 0, 0},
		{"the first connected serves", func() *selector { return connected(80 * ms) }, 0, 1},
		{"one fast probe is not enough", func() *selector { return connected(80*ms, 10*ms) }, 0, 1},
		{"three in a row are", func() *selector {
			s := connected(80*ms, 10*ms)
			s.probe(2, 80*ms, 10*ms)
			return s
		}, 0, 2},
		{"the nearest of several nearer ones", func() *selector {
			s := connected(80*ms, 10*ms, 5*ms)
			s.probe(2, 80*ms, 10*ms, 5*ms)
			return s
		}, 0, 3},
		{"nearer by ratio but not by margin", func() *selector {
			s := connected(2*ms, 500*time.Microsecond)
			s.probe(9, 2*ms, 500*time.Microsecond)
			return s
		}, 0, 1},
		{"nearer by margin but not by ratio", func() *selector {
			s := connected(100*ms, 80*ms)
			s.probe(9, 100*ms, 80*ms)
			return s
		}, 0, 1},
		{"a run is broken by the current one's good probe", func() *selector {
			s := connected(50*ms, 30*ms)
			s.probe(1, 50*ms, 30*ms)
			s.observe(1, 1*ms) // smoothed to 38 ms: 30 is no longer clearly nearer
			s.observe(2, 30*ms)
			return s
		}, 0, 1},
		{"an unmeasured replica does not attract", func() *selector { return connected(80*ms, 0) }, 0, 1},
		{"the current one is lost", func() *selector {
			s := connected(10*ms, 80*ms, 40*ms)
			s.down(1)
			return s
		}, 0, 3},
		{"the current one drains", func() *selector {
			s := connected(10*ms, 80*ms, 40*ms)
			s.drain(1, true)
			return s
		}, 0, 3},
		{"the only one drains: it can at least refuse", func() *selector {
			s := connected(10 * ms)
			s.drain(1, true)
			return s
		}, 0, 1},
		{"the current one is silent", func() *selector {
			s := connected(10*ms, 80*ms)
			s.overdue(1, 1500*ms)
			return s
		}, 0, 2},
		{"a short silence is none", func() *selector {
			s := connected(10*ms, 80*ms)
			s.overdue(1, 60*ms)
			return s
		}, 0, 1},
		{"an open probe makes the current one look as far as it has taken", func() *selector {
			s := connected(10*ms, 80*ms)
			s.overdue(1, 400*ms)
			for range 3 {
				s.observe(2, 80*ms)
			}
			return s
		}, 0, 2},
		{"the current one is held", func() *selector {
			s := connected(10*ms, 80*ms)
			s.hold(1, at(0))
			return s
		}, 1999 * ms, 2},
		{"a hold ends", func() *selector {
			s := connected(10*ms, 80*ms)
			s.hold(1, at(0))
			return s
		}, 2000 * ms, 1},
		{"the second hold is twice as long", func() *selector {
			s := connected(10*ms, 80*ms)
			s.hold(1, at(-2*time.Second))
			s.hold(1, at(0))
			return s
		}, 3999 * ms, 2},
		{"a hold under way is not prolonged", func() *selector {
			s := connected(10*ms, 80*ms)
			s.hold(1, at(0))
			s.hold(1, at(ms))
			return s
		}, 2000 * ms, 1},
		{"service between makes the next hold short", func() *selector {
			s := connected(10*ms, 80*ms)
			s.hold(1, at(-2*time.Second))
			s.serving(1)
			s.hold(1, at(0))
			return s
		}, 2000 * ms, 1},
		{"held is better than draining, draining than silent", func() *selector {
			s := connected(10*ms, 20*ms, 30*ms)
			s.overdue(1, 2*time.Second)
			s.drain(2, true)
			s.hold(3, at(0))
			return s
		}, 0, 3},
		{"all are silent: stay", func() *selector {
			s := connected(80*ms, 10*ms)
			s.overdue(1, 2*time.Second)
			s.overdue(2, 2*time.Second)
			return s
		}, 0, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := test.play()
			if got := s.choose(at(test.when)); got != test.want {
				t.Errorf("chose %d, want %d: %+v", got, test.want, s.standings)
			}
		})
	}
}

func TestSelectorComesBack(t *testing.T) {
	s := connected(10*ms, 80*ms)
	s.drain(1, true)
	if got := s.choose(at(0)); got != 2 {
		t.Fatalf("chose %d while 1 drains, want 2", got)
	}
	s.drain(1, false)
	for round := range 3 {
		if got := s.choose(at(0)); got != 2 {
			t.Fatalf("came back after %d probes, want 3", round)
		}
		s.probe(1, 10*ms, 80*ms)
	}
	if got := s.choose(at(0)); got != 1 {
		t.Fatalf("chose %d, want 1 again", got)
	}
}

func TestSelectorForgetsOldMeasurements(t *testing.T) {
	s := connected(10*ms, 80*ms)
	s.down(1)
	s.choose(at(0))
	s.up(1)
	if got := s.choose(at(0)); got != 2 {
		t.Fatalf("chose %d, whose distance is not known any more, want 2", got)
	}
}

func TestSelectorDoesNotSwing(t *testing.T) {
	s := connected(40*ms, 40*ms)
	moves := 0
	last := s.choose(at(0))
	for round := range 1000 {
		jitter := time.Duration(round%7) * ms
		s.observe(1, 40*ms+jitter)
		s.observe(2, 46*ms-jitter)
		if now := s.choose(at(0)); now != last {
			last = now
			moves++
		}
	}
	if moves > 0 {
		t.Errorf("moved %d times between equals", moves)
	}
}

func TestSelectorAlternative(t *testing.T) {
	s := connected(10*ms, 80*ms, 40*ms)
	if got := s.alternative(1, at(0)); got != 3 {
		t.Errorf("instead of 1: %d, want 3", got)
	}
	if got := s.alternative(3, at(0)); got != 1 {
		t.Errorf("instead of 3: %d, want the current one, 1", got)
	}
	s.drain(2, true)
	s.hold(3, at(0))
	if got := s.alternative(1, at(0)); got != 0 {
		t.Errorf("nobody else is well, but got %d", got)
	}
}
