package transport

import (
	"bytes"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// bulkConns is how many bulk connections a replica has accepted from a peer and still holds.
func (r *replica) hasBulkFrom(from epaxos.ReplicaID) bool {
	p := r.roster.Load().peers[from]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted[bulkLane] != nil
}

func TestBulkHasAConnectionWhileItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, nil)
		two := bed.startFake(network, 2, func(c *Config) { c.BulkIdle = 10 * time.Second })
		<-one.ups
		<-two.ups
		time.Sleep(time.Minute)
		if one.hasBulkFrom(2) {
			t.Fatal("a bulk connection that nobody asked for")
		}
		for range 2 {
			chunk := make([]byte, chunkBytes)
			for i := range byte(4) {
				chunk[0] = i
				if !two.SendBulk(1, chunk) {
					t.Fatal("no room")
				}
			}
			for i := range byte(4) {
				if got := <-one.received; len(got.body) != chunkBytes || got.body[0] != i || got.from != 2 {
					t.Fatalf("chunk %d: %d bytes from %d", got.body[0], len(got.body), got.from)
				}
			}
			if !one.hasBulkFrom(2) {
				t.Error("the chunks came on a lane of the protocol")
			}
			time.Sleep(9 * time.Second)
			if !one.hasBulkFrom(2) {
				t.Error("closed before it was idle for long")
			}
			time.Sleep(2 * time.Second)
			if one.hasBulkFrom(2) {
				t.Error("an idle bulk connection stays")
			}
		}
		s := two.status(t, 1)
		if !s.Up || s.Connects != 1 || s.BulkBytesSent < 8*chunkBytes || s.BulkQueueBytes != 0 || s.BulkDropped != 0 {
			t.Errorf("%+v", s)
		}
		if len(one.ups)+len(one.downs)+len(two.ups)+len(two.downs) != 0 {
			t.Error("bulk connections count as the peer's ups and downs")
		}
	})
}

func TestBulkForADeadPeerIsBoundedAndDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, nil)
		chunk := make([]byte, chunkBytes)
		queued := 0
		for ; one.SendBulk(2, chunk); queued++ {
		}
		if want := DefaultBulkQueueBytes / (chunkBytes + frameHeaderBytes); queued != want {
			t.Errorf("%d chunks were queued, want %d", queued, want)
		}
		one.Send(2, 0, []byte("protocol"))
		if one.SendBulk(2, make([]byte, DefaultFrameBytesMax+1)) || one.SendBulk(3, nil) || one.SendBulk(1, nil) {
			t.Error("took what can never be sent")
		}
		time.Sleep(2 * dialTimeout)
		if s := one.status(t, 2); s.BulkQueueBytes != 0 || s.BulkDropped != uint64(queued)+2 || s.QueueBytes == 0 {
			t.Errorf("after a failed dial: %+v", s)
		}
		two := bed.startFake(network, 2, nil)
		if got := <-two.received; got.body != "protocol" {
			t.Errorf("received %d bytes", len(got.body))
		}
		one.SendBulk(2, []byte("asked for again"))
		if got := <-two.received; got.body != "asked for again" {
			t.Errorf("received %d bytes", len(got.body))
		}
	})
}

// A peer that does not take its chunks holds back chunks only.
func TestBlockedBulkHoldsBackOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, nil)
		release := make(chan struct{})
		var chunks atomic.Int64
		two := bed.startFake(network, 2, func(c *Config) {
			pass := c.Receive
			c.Receive = func(from epaxos.ReplicaID, body []byte) {
				if len(body) < chunkBytes {
					pass(from, body)
					return
				}
				<-release
				chunks.Add(1)
			}
		})
		<-one.ups
		chunk := make([]byte, chunkBytes)
		sent := int64(0)
		for range 40 {
			for ; one.SendBulk(2, chunk); sent++ {
			}
			time.Sleep(time.Second)
		}
		if inFlight := sent * chunkBytes; inFlight > streamWindow+2*DefaultBulkQueueBytes {
			t.Errorf("%d bytes under way to a peer that takes none", inFlight)
		}
		one.Send(2, 0, []byte("protocol"))
		start := time.Now()
		if got := <-two.received; got.body != "protocol" || time.Since(start) > 2*oneWay {
			t.Errorf("received %d bytes after %v", len(got.body), time.Since(start))
		}
		close(release)
		time.Sleep(time.Minute)
		if got := chunks.Load(); got != sent {
			t.Errorf("%d of %d chunks arrived", got, sent)
		}
	})
}

func TestBulkKeepsToItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, func(c *Config) { c.BulkBytesPerSecond = 1 << 20 })
		two := bed.startFake(network, 2, nil)
		<-one.ups
		start := time.Now()
		body := bytes.Repeat([]byte{1}, chunkBytes)
		for range 12 {
			one.SendBulk(2, body)
		}
		for range 12 {
			<-two.received
		}
		if took := time.Since(start); took < 2900*time.Millisecond || took > 4*time.Second {
			t.Errorf("3 MiB at 1 MiB/s took %v", took)
		}
	})
}

func TestThePacerGivesWay(t *testing.T) {
	const least = 40 * time.Millisecond
	p := newPacer(64 << 20)
	number := uint64(0)
	after := func(samples int, last time.Duration) float64 {
		for range samples {
			number++
			p.judge(number, last, least)
			p.judge(number, 10*time.Second, least) // counted already
		}
		return p.rate
	}
	if p.rate != bulkRateStart {
		t.Errorf("starts at %v bytes/s", p.rate)
	}
	if rate := after(10, least+bulkDelayMax); rate != 64<<20 {
		t.Errorf("on a free path: %v bytes/s", rate)
	}
	if rate := after(1, least+11*time.Millisecond); rate != 32<<20 {
		t.Errorf("after one late heartbeat: %v bytes/s", rate)
	}
	if rate := after(20, 2*least); rate != bulkRateMin {
		t.Errorf("on a full path: %v bytes/s", rate)
	}
	if rate := after(20, least); rate != 64<<20 {
		t.Errorf("on a path that is free again: %v bytes/s", rate)
	}
	slow := newPacer(1000)
	slow.judge(1, time.Second, 0)
	if slow.rate != 1000 {
		t.Errorf("a bound below the least rate became %v bytes/s", slow.rate)
	}

	now := time.Unix(1, 0)
	q := &pacer{max: 1e6, rate: 1e6}
	if wait := q.pay(1000, now); wait != 0 {
		t.Errorf("a first millisecond's worth waits %v", wait)
	}
	if wait := q.pay(5000, now); wait != 5*time.Millisecond {
		t.Errorf("five more wait %v", wait)
	}
	if wait := q.pay(2000, now.Add(time.Hour)); wait != time.Millisecond {
		t.Errorf("after an hour of rest, two milliseconds' worth wait %v", wait)
	}
}
