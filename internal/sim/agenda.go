package sim

import "time"

// event is something that happens at an instant.
type event struct {
	at  time.Duration
	seq int // among those of one instant
	run func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// agenda is a heap of events. container/heap would box each of them.
type agenda []event

func (a *agenda) push(e event) {
	*a = append(*a, e)
	s := *a
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].before(&s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (a *agenda) pop() event {
	s := *a
	first, last := s[0], len(s)-1
	s[0] = s[last]
	s[last] = event{}
	s = s[:last]
	*a = s
	for i := 0; ; {
		least := i
		for down := 2*i + 1; down <= 2*i+2 && down < last; down++ {
			if s[down].before(&s[least]) {
				least = down
			}
		}
		if least == i {
			return first
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}
