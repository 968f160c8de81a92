//go:build !linux

package wan

import (
	"sync"
	"time"
)

// runtimeTimer is an alarm on a timer of the Go runtime.
type runtimeTimer struct {
	timer  *time.Timer
	closed chan struct{}
	once   sync.Once
}

func newAlarm() (alarm, error) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &runtimeTimer{timer: timer, closed: make(chan struct{})}, nil
}

func (t *runtimeTimer) set(d time.Duration) { t.timer.Reset(d) }

func (t *runtimeTimer) wait() bool {
	select {
	case <-t.timer.C:
		return true
	case <-t.closed:
		return false
	}
}

func (t *runtimeTimer) close() error {
	t.once.Do(func() { close(t.closed) })
	t.timer.Stop()
	return nil
}
