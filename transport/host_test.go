package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
	"github.com/264bc8cf/epaxos/internal/wan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReplicasExchangeHellosAndBodies(t *testing.T) {
	bed := newBed(t, 3)
	one, two, three := bed.start(1, nil), bed.start(2, nil), bed.start(3, nil)
	if got := next(t, two.ups, "peer"); got != "1:hello of 1" && got != "3:hello of 3" {
		t.Fatalf("up: %q", got)
	}
	for range 2 {
		next(t, one.ups, "peer")
	}
	if !one.Send(2, 0, []byte("to two")) || !one.Send(3, 7, []byte("to three")) {
		t.Fatal("Send refused a body that fits")
	}
	if got := next(t, two.received, "body"); got != (message{1, "to two"}) {
		t.Fatalf("replica 2 received %+v", got)
	}
	if got := next(t, three.received, "body"); got != (message{1, "to three"}) {
		t.Fatalf("replica 3 received %+v", got)
	}
	if one.Send(1, 0, nil) || one.Send(4, 0, nil) {
		t.Error("sent to itself, or to a stranger")
	}
}

// A callback may wait for whoever asks the host for its status.
func TestCallbacksMayAskTheHost(t *testing.T) {
	bed := newBed(t, 2)
	hosts, statuses := make(chan *Host, 1), make(chan PeerStatus, 1)
	one := bed.start(1, func(c *Config) {
		c.PeerUp = func(epaxos.ReplicaID, []byte) { statuses <- (<-hosts).Peers()[0] }
	})
	hosts <- one.Host
	bed.start(2, nil)
	if s := next(t, statuses, "status"); s.Replica != 2 || !s.Up {
		t.Errorf("status %+v", s)
	}
}

// Bodies from none to many packets keep their order on each stripe, over several lanes.
func TestEachStripeKeepsItsOrder(t *testing.T) {
	const stripes, bodies = 6, 25
	bed := newBed(t, 2)
	one := bed.start(1, func(c *Config) { c.Lanes = 4 })
	two := bed.start(2, nil)
	size := func(i int) int { return (i * i * i * 7) % 100_000 }
	for i := range bodies {
		for stripe := range stripes {
			body := append([]byte{byte(stripe), byte(i)}, bytes.Repeat([]byte{byte(i)}, size(i))...)
			for !one.Send(2, stripe, body) {
				time.Sleep(time.Millisecond)
			}
		}
	}
	var seen [stripes]int
	for range stripes * bodies {
		got := next(t, two.received, "body").body
		stripe, i := int(got[0]), int(got[1])
		if i != seen[stripe] || len(got) != 2+size(i) || strings.Trim(got[2:], string([]byte{byte(i)})) != "" {
			t.Fatalf("stripe %d: body %d of %d bytes where body %d should be", stripe, i, len(got), seen[stripe])
		}
		seen[stripe]++
	}
	if s := one.status(t, 2); s.Connects != 4 || s.FramesSent != stripes*bodies || s.QueueBytes != 0 {
		t.Errorf("status %+v", s)
	}
}

// crash stops a host as a kill would: nobody is told.
func (r *replica) crash() {
	r.config.Conn.Close()
	r.Close()
}

func TestARestartIsNoticedByAStatelessReset(t *testing.T) {
	bed := newBed(t, 2)
	reasons := make(chan error, 16)
	one := bed.start(1, func(c *Config) {
		c.PeerDown = func(_ epaxos.ReplicaID, err error) { reasons <- err }
	})
	two := bed.start(2, nil)
	next(t, one.ups, "peer")
	two.crash()
	two = bed.start(2, nil)
	// Replica 2 dials as well, but only a reset ends replica 1's own connection before the idle
	// time-out does, and only a heartbeat, since nothing else is sent, provokes it.
	if reason := next(t, reasons, "end of the old connection"); !errors.Is(reason, errRestarted) {
		t.Errorf("down because: %v", reason)
	}
	next(t, one.ups, "peer")
	one.Send(2, 0, []byte("welcome back"))
	if got := next(t, two.received, "body"); got.body != "welcome back" {
		t.Errorf("received %+v", got)
	}
}

func TestADeadPeerCostsABoundedQueue(t *testing.T) {
	const queueBytes, bodyBytes = 10_000, 95
	bed := newBed(t, 2)
	one := bed.start(1, func(c *Config) { c.QueueBytes = queueBytes })
	sent := 0
	for one.Send(2, 0, fmt.Appendf(nil, "%0*d", bodyBytes, sent)) {
		sent++
	}
	if want := queueBytes / (bodyBytes + frameHeaderBytes); sent != want {
		t.Fatalf("%d bodies fitted, want %d", sent, want)
	}
	if s := one.status(t, 2); s.QueueBytes > queueBytes || s.FramesDropped != 1 || s.Up || !s.Suspected {
		t.Errorf("status %+v", s)
	}
	two := bed.start(2, nil)
	for i := range sent {
		if got := next(t, two.received, "body").body; got != fmt.Sprintf("%0*d", bodyBytes, i) {
			t.Fatalf("body %d is %q", i, got)
		}
	}
	if !one.Send(2, 0, []byte("room again")) {
		t.Error("a drained queue is still full")
	}
}

func TestASlowPeerHoldsBackOnlyItself(t *testing.T) {
	bed := newBed(t, 3)
	gate := make(chan struct{})
	slow := make(chan int, 1<<16)
	one := bed.start(1, func(c *Config) { c.QueueBytes = 256 << 10 })
	bed.start(2, func(c *Config) {
		c.Receive = func(_ epaxos.ReplicaID, body []byte) {
			<-gate
			slow <- len(body)
		}
	})
	three := bed.start(3, nil)
	next(t, one.ups, "peer")
	next(t, one.ups, "peer")
	// The queue, both ends' buffers and QUIC's windows fill; refusals that last mean that all are full.
	sent, refused := 0, 0
	for refused < 200 {
		if one.Send(2, 0, make([]byte, 16<<10)) {
			sent, refused = sent+1, 0
		} else {
			refused++
			time.Sleep(time.Millisecond)
		}
	}
	one.Send(3, 0, []byte("unhindered"))
	if got := next(t, three.received, "body"); got.body != "unhindered" {
		t.Errorf("received %+v", got)
	}
	if one.Suspected(2) {
		t.Error("a slow peer is suspected although it answers")
	}
	close(gate)
	for range sent {
		if got := next(t, slow, "body"); got != 16<<10 {
			t.Fatalf("a body of %d bytes", got)
		}
	}
}

func TestClosingTellsThePeer(t *testing.T) {
	bed := newBed(t, 2)
	reasons := make(chan error, 16)
	one := bed.start(1, func(c *Config) {
		c.PeerDown = func(_ epaxos.ReplicaID, err error) { reasons <- err }
	})
	two := bed.start(2, nil)
	next(t, one.ups, "peer")
	next(t, two.ups, "peer")
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	var closed *PeerError
	if reason := next(t, reasons, "end"); !errors.As(reason, &closed) || closed.Code != CloseShutdown {
		t.Errorf("down because: %v", reason)
	}
	if err := two.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := two.AcceptClient(context.Background()); !errors.Is(err, errClosed) {
		t.Errorf("accepting on a closed host: %v", err)
	}
}

func TestTheRefusalOfAHelloIsToldByName(t *testing.T) {
	for _, refuser := range []epaxos.ReplicaID{1, 2} {
		t.Run(fmt.Sprintf("by replica %d", refuser), func(t *testing.T) {
			bed := newBed(t, 2)
			start := func(id epaxos.ReplicaID) *replica {
				return bed.start(id, func(c *Config) {
					if id == refuser {
						c.CheckHello = func(epaxos.ReplicaID, []byte) error {
							return errors.New("incarnation 7, the membership says 8")
						}
					}
				})
			}
			one, two := start(1), start(2)
			awaitError(t, one, 2, "incarnation 7, the membership says 8")
			awaitError(t, two, 1, "incarnation 7, the membership says 8")
			if len(one.ups)+len(two.ups) != 0 {
				t.Error("a peer came up although a hello was refused")
			}
		})
	}
}

// A replica that is stopping has no hello. Its peers must not take it for one that sends malformed ones.
func TestAStoppingReplicaSaysSo(t *testing.T) {
	bed := newBed(t, 2)
	one := bed.start(1, func(c *Config) {
		c.Hello = func(epaxos.ReplicaID) []byte { return nil }
	})
	two := bed.start(2, func(c *Config) {
		c.CheckHello = func(_ epaxos.ReplicaID, hello []byte) error {
			t.Errorf("a replica without a hello sent %q", hello)
			return nil
		}
	})
	awaitError(t, one, 2, "this replica is stopping")
	awaitError(t, two, 1, "shutting down: \"this replica is stopping\"")
	if len(one.ups)+len(two.ups) != 0 {
		t.Error("a peer came up although there was no hello")
	}
}

// awaitError waits until a replica's last error about a peer contains text.
func awaitError(t *testing.T, r *replica, peer epaxos.ReplicaID, text string) {
	t.Helper()
	var last string
	for range 2000 {
		if last = r.status(t, peer).LastError; strings.Contains(last, text) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("last error about replica %d is %q, want %q", peer, last, text)
}

func TestAWrongCertificateIsRefusedOnBothSides(t *testing.T) {
	bed := newBed(t, 3)
	second, err := bed.cluster.Authority.IssueReplica(2, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	one, three := bed.start(1, nil), bed.start(3, nil)
	// The impostor believes in a membership with its own key; the others do not.
	impostor := bed.start(2, func(c *Config) {
		claimed := append([]identity.Member(nil), bed.cluster.Members...)
		claimed[1].Fingerprint = second.Fingerprint()
		c.Credential = second
		if c.Members, err = identity.NewMembers(bed.cluster.ID, claimed); err != nil {
			t.Fatal(err)
		}
	})
	awaitError(t, one, 2, "binds the replica to key")
	awaitError(t, impostor, 1, "not a member: \"replica 2 shows key")
	for one.Refused() == 0 {
		time.Sleep(time.Millisecond)
	}
	awaitNoHandshakes(t, one)
	next(t, one.ups, "peer")
	one.Send(3, 0, []byte("business as usual"))
	if got := next(t, three.received, "body"); got.body != "business as usual" {
		t.Errorf("received %+v", got)
	}
}

func TestAHostNeedsItsOwnCertificate(t *testing.T) {
	bed := newBed(t, 2)
	for name, change := range map[string]func(*Config){
		"another's certificate": func(c *Config) { c.Credential = bed.cluster.Replicas[1] },
		"no socket":             func(c *Config) { c.Conn = nil },
		"no callbacks":          func(c *Config) { c.Receive = nil },
		"too many lanes":        func(c *Config) { c.Lanes = LanesMax + 1 },
		"impatience":            func(c *Config) { c.SuspectAfter = c.HeartbeatInterval / 2 },
		"a frame above 1 GiB":   func(c *Config) { c.FrameBytesMax = frameBytesLimit + 1 },
	} {
		config := bed.config(1, &replica{})
		config.Conn = listen(t, "127.0.0.1:0")
		socket := config.Conn
		change(&config)
		if host, err := NewHost(config); err == nil {
			host.Close()
			t.Errorf("%s: accepted", name)
		}
		socket.Close()
	}
}

func TestReplicasTalkAcrossAnEmulatedNetwork(t *testing.T) {
	profile, err := wan.Parse([]byte(`{"sites":["A","B"],"rtt_ms":[[0,30],[30,0]]}`))
	if err != nil {
		t.Fatal(err)
	}
	em, err := wan.New(profile, 1)
	if err != nil {
		t.Fatal(err)
	}
	bed := newBed(t, 2)
	at := func(id epaxos.ReplicaID) func(*Config) {
		return func(c *Config) {
			c.Conn.Close()
			if c.Conn, err = em.Listen(int(id)-1, "udp", bed.cluster.Members[id-1].Addr); err != nil {
				t.Fatal(err)
			}
		}
	}
	one, two := bed.start(1, at(1)), bed.start(2, at(2))
	next(t, one.ups, "peer")
	one.Send(2, 0, []byte("from afar"))
	if got := next(t, two.received, "body"); got.body != "from afar" {
		t.Errorf("received %+v", got)
	}
	for range 2000 {
		if _, least, known := one.RTT(2); known {
			if least < 30*time.Millisecond {
				t.Errorf("round trip of %v over 30 ms", least)
			}
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error("no round trip measured")
}
