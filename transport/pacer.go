package transport

import "time"

const (
	// bulkRateStart and bulkRateMin are in bytes per second. The first is what a new connection may
	// send; the second keeps a transfer alive on a path that is slow for other reasons.
	bulkRateStart = 8 << 20
	bulkRateMin   = 256 << 10
	// bulkDelayMax is by how much the round trip may grow before bulk gives way: less cannot be told
	// from a scheduler's or a collector's pause.
	bulkDelayMax = 10 * time.Millisecond
	// paceGrain is the least pause: longer ones would mean longer bursts, behind which protocol frames
	// wait; timers are hardly finer.
	paceGrain = 200 * time.Microsecond
	// paceCredit is how much of a pause that took too long is made up for.
	paceCredit = time.Millisecond
)

// pacer says how fast bulk may go to one peer. What bulk keeps waiting in the buffers of the path, and in
// those of both replicas, keeps protocol frames waiting, too, and the congestion control of a connection
// yields only when they overflow. So bulk slows down when the heartbeats of the same peer come back
// late. Use it from one goroutine at a time.
type pacer struct {
	max    float64 // bytes per second
	rate   float64
	judged uint64    // number of the last round trip that was considered
	free   time.Time // when what was sent has been paid for
}

func newPacer(max int) *pacer {
	return &pacer{max: float64(max), rate: min(bulkRateStart, float64(max))}
}

// judge takes the newest round trip, the number-th, and the least one known. Each counts once.
func (p *pacer) judge(number uint64, last, least time.Duration) {
	if number == p.judged {
		return
	}
	p.judged = number
	if last-least > max(bulkDelayMax, least/4) {
		p.rate = max(p.rate/2, min(bulkRateMin, p.max))
	} else {
		p.rate = min(p.rate*1.5, p.max)
	}
}

// pay notes that n bytes are sent now, and returns how long to wait before the next.
func (p *pacer) pay(n int, now time.Time) time.Duration {
	if earliest := now.Add(-paceCredit); p.free.Before(earliest) {
		p.free = earliest
	}
	p.free = p.free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	if owed := p.free.Sub(now); owed >= paceGrain {
		return owed
	}
	return 0
}
