package transport

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// These tests run real QUIC in virtual time.

const oneWay = 50 * time.Millisecond

// startFake runs replica id on a fake network.
func (b *bed) startFake(network *fakeNet, id epaxos.ReplicaID, change func(*Config)) *replica {
	return b.start(id, func(c *Config) {
		c.Conn.Close()
		c.Conn = network.listen(b.cluster.Members[id-1].Addr)
		c.HeartbeatInterval = 100 * time.Millisecond
		c.SuspectAfter = time.Second
		if change != nil {
			change(c)
		}
	})
}

func fakeBed(t *testing.T, n int) (*bed, *fakeNet) {
	var addrs []string
	for i := range n {
		addrs = append(addrs, fmt.Sprintf("127.0.0.1:%d", 40001+i))
	}
	cluster, err := identity.NewCluster(addrs, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &bed{t: t, cluster: cluster}, newFakeNet(oneWay)
}

func (r *replica) status(t *testing.T, peer epaxos.ReplicaID) PeerStatus {
	t.Helper()
	for _, s := range r.Peers() {
		if s.Replica == peer {
			return s
		}
	}
	t.Fatalf("replica %d is no peer", peer)
	panic("unreachable")
}

func TestHeartbeatsMeasureTheRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, nil)
		if _, _, known := one.RTT(2); known {
			t.Error("a round trip to a peer that never was is known")
		}
		bed.startFake(network, 2, nil)
		<-one.ups
		time.Sleep(5 * time.Second)
		smoothed, least, known := one.RTT(2)
		if !known || least < 2*oneWay || least > 2*oneWay+time.Millisecond || smoothed < least ||
			smoothed > 2*oneWay+5*time.Millisecond {
			t.Errorf("round trip %v, least %v: want %v", smoothed, least, 2*oneWay)
		}
	})
}

func TestSilenceIsSuspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one, two := bed.startFake(network, 1, nil), bed.startFake(network, 2, nil)
		if !one.Suspected(2) || !one.LastHeard(2).IsZero() {
			t.Error("a peer that was never heard of is trusted")
		}
		<-one.ups
		time.Sleep(time.Minute)
		if one.Suspected(2) || two.Suspected(1) {
			t.Error("an idle peer is suspected")
		}
		network.setDown(bed.cluster.Members[1].Addr, true)
		time.Sleep(500 * time.Millisecond)
		if one.Suspected(2) {
			t.Error("suspected too early")
		}
		time.Sleep(time.Second)
		if !one.Suspected(2) || !two.Suspected(1) {
			t.Error("a silent peer is not suspected")
		}
		if silence := time.Since(one.LastHeard(2)); silence < time.Second || silence > 2*time.Second {
			t.Errorf("heard %v ago", silence)
		}
		network.setDown(bed.cluster.Members[1].Addr, false)
		time.Sleep(3 * time.Second)
		if one.Suspected(2) || two.Suspected(1) {
			t.Error("a peer that is back is suspected")
		}
		if s := one.status(t, 2); s.Connects != 1 {
			t.Errorf("a short outage took %d connections: the old one should have lasted", s.Connects)
		}
	})
}

// An outage longer than the idle time-out costs the connection, and nothing that was queued later.
func TestALongOutageEndsInANewConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		reasons := make(chan error, 16)
		one := bed.startFake(network, 1, func(c *Config) {
			c.PeerDown = func(_ epaxos.ReplicaID, err error) { reasons <- err }
		})
		two := bed.startFake(network, 2, nil)
		<-one.ups
		time.Sleep(time.Second)
		if _, _, known := one.RTT(2); !known {
			t.Error("no round trip measured")
		}
		network.setDown(bed.cluster.Members[1].Addr, true)
		reason := <-reasons
		if !errors.Is(reason, errSilent) {
			t.Errorf("down because: %v", reason)
		}
		one.Send(2, 0, []byte("queued during the outage"))
		time.Sleep(3 * time.Minute)
		if _, _, known := one.RTT(2); known {
			t.Error("the round trip to a peer that is down is known")
		}
		network.setDown(bed.cluster.Members[1].Addr, false)
		<-one.ups
		if got := <-two.received; got.body != "queued during the outage" {
			t.Errorf("received %+v", got)
		}
	})
}

// A peer may be absent for long: redialing goes on, and a peer that comes back is dialed at once,
// since it dials us, instead of after the seconds to which a handshake's packets back off.
func TestAPeerThatComesBackIsDialedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, func(c *Config) { c.Rand = func() float64 { return 0.999 } })
		for range 5 {
			time.Sleep(3*time.Minute + 1234*time.Millisecond)
			two := bed.startFake(network, 2, nil)
			appeared := time.Now()
			<-one.ups
			if took := time.Since(appeared); took > time.Second {
				t.Errorf("connected to a peer only %v after it had appeared", took)
			}
			two.crash()
			<-one.downs
		}
	})
}

// A peer that can be reached but cannot reach us is found by redialing alone.
func TestRedialingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, nil)
		time.Sleep(3 * time.Minute)
		bed.cluster.Members[0].Addr = "127.0.0.1:1"
		bed.startFake(network, 2, nil)
		appeared := time.Now()
		<-one.ups
		if took := time.Since(appeared); took > dialTimeout+redialMax+time.Second {
			t.Errorf("found a peer only %v after it had appeared", took)
		}
	})
}

// A peer that lets us in and throws us out again must not be dialed in a tight loop.
func TestRefusalsAreNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		var asked atomic.Int64
		bed.startFake(network, 1, func(c *Config) { c.Rand = func() float64 { return 0.999 } })
		bed.startFake(network, 2, func(c *Config) {
			c.Rand = func() float64 { return 0.999 }
			c.CheckHello = func(epaxos.ReplicaID, []byte) error {
				asked.Add(1)
				return errors.New("not today")
			}
		})
		time.Sleep(time.Minute)
		// Each of the two dials about every two seconds, and replica 2's dials also nudge replica 1.
		if n := asked.Load(); n < 30 || n > 120 {
			t.Errorf("%d hellos refused in a minute", n)
		}
	})
}

func TestAnIdleConnectionLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 3)
		one := bed.startFake(network, 1, func(c *Config) { c.Lanes = 4; c.HeartbeatInterval = time.Second })
		bed.startFake(network, 2, nil)
		bed.startFake(network, 3, nil)
		<-one.ups
		<-one.ups
		time.Sleep(30 * time.Second)
		for _, peer := range []epaxos.ReplicaID{2, 3} {
			if s := one.status(t, peer); !s.Up || s.Connects != 4 || s.Suspected {
				t.Errorf("after half an idle minute: %+v", s)
			}
		}
		if len(one.downs) != 0 {
			t.Error("a lane fell while idle")
		}
	})
}
