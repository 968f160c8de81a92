package transport

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// peer is another member: the lanes that this replica dials, and what it has accepted from it.
type peer struct {
	host   *Host
	member identity.Member
	logger *slog.Logger
	budget budget
	lanes  []*lane

	bulkBudget budget
	bulk       *lane

	ctx    context.Context
	cancel context.CancelCauseFunc
	ended  chan struct{} // closed when the lanes have ended

	// events orders PeerUp and PeerDown, which are called while it is held. Nothing that a callback
	// may wait for takes it: lanesUp, which changes under it, is read without.
	events  sync.Mutex
	lanesUp atomic.Int32

	mu       sync.Mutex
	accepted [bulkLane + 1]*quic.Conn // by the number of the lane that the peer gave
	lastErr  error                    // why the last attempt or connection of a lane failed

	rtt      rttEstimate
	heard    atomic.Int64 // the host's clock when a frame last came; 0 is never
	counters counters
}

// counters only grow.
type counters struct {
	framesSent, bytesSent         atomic.Uint64
	framesReceived, bytesReceived atomic.Uint64
	framesDropped                 atomic.Uint64
	connects                      atomic.Uint64
	bulkBytesSent, bulkDropped    atomic.Uint64
}

func newPeer(h *Host, member identity.Member) *peer {
	p := &peer{
		host:   h,
		member: member,
		logger: h.config.Logger.With(slog.Uint64("peer", uint64(member.Replica)), slog.String("addr", member.Addr)),
		budget: budget{max: int64(h.config.QueueBytes)},
		ended:  make(chan struct{}),

		bulkBudget: budget{max: int64(h.config.BulkQueueBytes)},
	}
	p.ctx, p.cancel = context.WithCancelCause(h.ctx)
	for number := range h.config.Lanes {
		p.lanes = append(p.lanes, newLane(p, number, &p.budget))
	}
	p.bulk = newLane(p, bulkLane, &p.bulkBudget)
	return p
}

// run starts the lanes, once those of the peer that stood for the same replica before, if any, have
// ended: so PeerUp and PeerDown alternate.
func (p *peer) run(before *peer) {
	p.host.wg.Go(func() {
		defer close(p.ended)
		if before != nil {
			<-before.ended
		}
		var lanes sync.WaitGroup
		for _, l := range p.lanes {
			lanes.Go(l.run)
		}
		lanes.Go(p.bulk.runBulk)
		lanes.Wait()
	})
}

// stop ends the lanes and what was accepted, and frees the queues, without waiting for the former.
func (p *peer) stop(why dismissal) {
	p.cancel(why)
	for _, l := range p.lanes {
		l.queue.close()
	}
	p.bulk.queue.close()
}

// dismiss closes a connection, telling whether the host is closing or only this peer is dropped.
func (p *peer) dismiss(conn *quic.Conn) {
	var why dismissal
	if errors.As(context.Cause(p.ctx), &why) {
		closeConn(conn, why.code, why.reason)
		return
	}
	closeConn(conn, CloseShutdown, "the replica is shutting down")
}

// disowned passes on that the peer says that this replica is no member.
func (p *peer) disowned(err error) (why *PeerError, found bool) {
	why, found = disowned(err)
	if found && p.ctx.Err() == nil && p.host.config.Disowned != nil {
		p.host.config.Disowned(p.member.Replica, why)
	}
	return why, found
}

func (p *peer) send(stripe int, body []byte) bool {
	lane := p.lanes[uint(stripe)%uint(len(p.lanes))]
	if len(body) > p.host.config.FrameBytesMax || !lane.queue.push(frameData, body) {
		p.counters.framesDropped.Add(1)
		return false
	}
	p.counters.framesSent.Add(1)
	return true
}

// laneUp and laneDown count the standing lanes and tell the first and the last.
func (p *peer) laneUp(hello []byte) {
	p.events.Lock()
	defer p.events.Unlock()
	p.counters.connects.Add(1)
	if p.lanesUp.Add(1) == 1 && p.host.config.PeerUp != nil {
		p.host.config.PeerUp(p.member.Replica, hello)
	}
}

func (p *peer) laneDown(err error) {
	p.events.Lock()
	defer p.events.Unlock()
	if p.lanesUp.Add(-1) == 0 {
		p.rtt.reset()
		if p.host.config.PeerDown != nil {
			p.host.config.PeerDown(p.member.Replica, err)
		}
	}
}

// failed keeps why a lane could not be opened, or why it ended after it had stood; the latter is
// told by PeerDown. The former is logged once for each reason, however often the lane is tried, or
// a member that is down would fill the log.
func (p *peer) failed(err error, stood time.Duration) {
	p.mu.Lock()
	repeated := p.lastErr != nil && p.lastErr.Error() == err.Error()
	p.lastErr = err
	p.mu.Unlock()
	if stood == 0 && !repeated {
		p.logger.Warn("cannot connect, will keep trying", slog.Any("reason", err))
	}
}

// hear notes that the peer lives.
func (p *peer) hear() { p.heard.Store(max(1, int64(p.host.clock()))) }

// register makes conn the one accepted connection of a lane; an older one is superseded: the peer
// has restarted, or found its connection broken before we did.
func (p *peer) register(number int, conn *quic.Conn) {
	p.mu.Lock()
	old := p.accepted[number]
	p.accepted[number] = conn
	p.mu.Unlock()
	if old != nil {
		closeConn(old, CloseSuperseded, "the same lane was opened anew")
	}
}

func (p *peer) unregister(number int, conn *quic.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted[number] == conn {
		p.accepted[number] = nil
	}
}

// rttEstimate is the round trip of heartbeats, smoothed as TCP does (RFC 6298), and the least seen
// since the peer came up.
type rttEstimate struct {
	mu                  sync.Mutex
	smoothed, min, last time.Duration
	samples             uint64 // since the start
}

func (r *rttEstimate) add(sample time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = sample
	r.samples++
	if r.smoothed == 0 {
		r.smoothed, r.min = sample, sample
		return
	}
	r.smoothed += (sample - r.smoothed) / 8
	r.min = min(r.min, sample)
}

func (r *rttEstimate) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.smoothed, r.min = 0, 0
}

// newest is the last round trip, its number, and the least.
func (r *rttEstimate) newest() (number uint64, last, least time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.samples, r.last, r.min
}

func (r *rttEstimate) get() (smoothed, least time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.smoothed, r.min
}

// PeerStatus is what a host knows about one peer at a moment.
type PeerStatus struct {
	Replica   epaxos.ReplicaID
	Addr      string
	Up        bool          // at least one lane stands
	Suspected bool          // nothing was heard for Config.SuspectAfter
	RTT       time.Duration // smoothed round trip of heartbeats; 0 if unknown
	RTTMin    time.Duration // least round trip since the peer came up; 0 if unknown
	LastHeard time.Time     // zero if never
	LastError string        // why the last connection failed; empty if none did

	QueueBytes     int64  // waiting now
	FramesDropped  uint64 // by Send, since the start
	FramesSent     uint64 // accepted by Send
	BytesSent      uint64 // handed to QUIC
	FramesReceived uint64
	BytesReceived  uint64
	Connects       uint64 // lanes opened, so a flapping peer shows

	BulkQueueBytes int64  // waiting now, of SendBulk
	BulkBytesSent  uint64 // handed to QUIC
	BulkDropped    uint64 // frames refused by SendBulk, or lost with its connection
}

// Peers is the status of every peer, ascending by replica id.
func (h *Host) Peers() []PeerStatus {
	var all []PeerStatus
	for _, p := range h.roster.Load().peers {
		all = append(all, p.status())
	}
	slices.SortFunc(all, func(a, b PeerStatus) int { return int(a.Replica) - int(b.Replica) })
	return all
}

func (p *peer) status() PeerStatus {
	s := PeerStatus{
		Replica:        p.member.Replica,
		Addr:           p.member.Addr,
		Up:             p.lanesUp.Load() > 0,
		Suspected:      p.suspected(),
		LastHeard:      p.lastHeard(),
		QueueBytes:     p.budget.used.Load(),
		FramesDropped:  p.counters.framesDropped.Load(),
		FramesSent:     p.counters.framesSent.Load(),
		BytesSent:      p.counters.bytesSent.Load(),
		FramesReceived: p.counters.framesReceived.Load(),
		BytesReceived:  p.counters.bytesReceived.Load(),
		Connects:       p.counters.connects.Load(),
		BulkQueueBytes: p.bulkBudget.used.Load(),
		BulkBytesSent:  p.counters.bulkBytesSent.Load(),
		BulkDropped:    p.counters.bulkDropped.Load(),
	}
	s.RTT, s.RTTMin = p.rtt.get()
	p.mu.Lock()
	if p.lastErr != nil {
		s.LastError = p.lastErr.Error()
	}
	p.mu.Unlock()
	return s
}

// RTT is the smoothed and the least round trip to a peer; false if unknown, as while it is down.
func (h *Host) RTT(to epaxos.ReplicaID) (smoothed, least time.Duration, known bool) {
	p, found := h.roster.Load().peers[to]
	if !found {
		return 0, 0, false
	}
	smoothed, least = p.rtt.get()
	return smoothed, least, smoothed > 0
}

// LastHeard is when the last frame came from a peer; zero if none ever did.
func (h *Host) LastHeard(from epaxos.ReplicaID) time.Time {
	if p, found := h.roster.Load().peers[from]; found {
		return p.lastHeard()
	}
	return time.Time{}
}

// Suspected reports whether nothing came from a peer for Config.SuspectAfter. It is a guess about
// the present that may be wrong, never a reason to believe that the peer has stopped.
func (h *Host) Suspected(peer epaxos.ReplicaID) bool {
	p, found := h.roster.Load().peers[peer]
	return !found || p.suspected()
}

func (p *peer) lastHeard() time.Time {
	heard := p.heard.Load()
	if heard == 0 {
		return time.Time{}
	}
	return p.host.start.Add(time.Duration(heard))
}

func (p *peer) suspected() bool {
	heard := p.heard.Load()
	return heard == 0 || p.host.clock()-time.Duration(heard) > p.host.config.SuspectAfter
}
