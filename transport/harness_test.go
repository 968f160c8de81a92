package transport

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// message is a body that a test replica received.
type message struct {
	from epaxos.ReplicaID
	body string
}

// replica is a host under test and what its callbacks saw.
type replica struct {
	*Host
	received chan message
	ups      chan string // "<peer>:<hello>"
	downs    chan epaxos.ReplicaID
}

// bed is a cluster on the loopback interface whose members a test starts one by one.
type bed struct {
	t       testing.TB
	cluster *identity.Cluster
}

func newBed(t testing.TB, n int) *bed {
	t.Helper()
	var addrs []string
	for range n {
		// The port is freed at once and bound again by start: the kernel does not hand a
		// freshly freed port to the next caller that asks for any.
		conn := listen(t, "127.0.0.1:0")
		addrs = append(addrs, conn.LocalAddr().String())
		defer conn.Close()
	}
	cluster, err := identity.NewCluster(addrs, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &bed{t: t, cluster: cluster}
}

func listen(t testing.TB, addr string) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (b *bed) members() *identity.Members {
	members, err := identity.NewMembers(b.cluster.ID, b.cluster.Members)
	if err != nil {
		b.t.Fatal(err)
	}
	return members
}

// config is that of replica id (from 1); r collects what its callbacks see.
func (b *bed) config(id epaxos.ReplicaID, r *replica) Config {
	return Config{
		Self:              id,
		Credential:        b.cluster.Replicas[id-1],
		Members:           b.members(),
		ResetKey:          [32]byte{byte(id)},
		HeartbeatInterval: 10 * time.Millisecond,
		SuspectAfter:      200 * time.Millisecond,
		Hello:             func(epaxos.ReplicaID) []byte { return fmt.Appendf(nil, "hello of %d", id) },
		CheckHello:        func(epaxos.ReplicaID, []byte) error { return nil },
		Receive:           func(from epaxos.ReplicaID, body []byte) { r.received <- message{from, string(body)} },
		PeerUp:            func(peer epaxos.ReplicaID, hello []byte) { r.ups <- fmt.Sprintf("%d:%s", peer, hello) },
		PeerDown:          func(peer epaxos.ReplicaID, _ error) { r.downs <- peer },
	}
}

// start runs replica id; change, if not nil, alters its configuration first. It is closed with the
// test.
func (b *bed) start(id epaxos.ReplicaID, change func(*Config)) *replica {
	b.t.Helper()
	r := &replica{
		received: make(chan message, 1024),
		ups:      make(chan string, 64),
		downs:    make(chan epaxos.ReplicaID, 64),
	}
	config := b.config(id, r)
	config.Conn = listen(b.t, b.cluster.Members[id-1].Addr)
	if change != nil {
		change(&config)
	}
	host, err := NewHost(config)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Host = host
	b.t.Cleanup(func() { host.Close() })
	return r
}

// next waits for a value. The bound only keeps a broken test from hanging.
func next[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("no %s came", what)
		panic("unreachable")
	}
}
