package wan

import "time"

// alarm wakes the courier of a socket. The runtime's own timers may come a millisecond late, since
// it sleeps in epoll with that resolution; where the system has something finer, it is used.
type alarm interface {
	// set makes wait return after d, at once if d is not positive, whatever was set before. It may
	// be called while another goroutine waits.
	set(d time.Duration)
	// wait blocks until the time set has come; false if the alarm was closed.
	wait() bool
	close() error
}
