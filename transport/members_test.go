package transport

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/identity"
)

// epoch is the membership of some of the bed's replicas.
func (b *bed) epoch(epoch epaxos.Epoch, ids ...epaxos.ReplicaID) *identity.Members {
	b.t.Helper()
	var list []identity.Member
	for _, id := range ids {
		list = append(list, b.cluster.Members[id-1])
	}
	members, err := identity.NewMembers(b.cluster.ID, list)
	if err != nil {
		b.t.Fatal(err)
	}
	return members.InEpoch(epoch, 0)
}

// in starts a replica with a membership, and keeps what members say about its own.
func in(members *identity.Members, disowned chan<- string) func(*Config) {
	return func(c *Config) {
		c.Members = members
		c.Disowned = func(by epaxos.ReplicaID, why *PeerError) {
			select {
			case disowned <- fmt.Sprintf("%d: %d: %s", by, why.Code, why.Reason):
			default:
			}
		}
	}
}

func (r *replica) follow(t *testing.T, members *identity.Members) {
	t.Helper()
	if err := r.SetMembers(members); err != nil {
		t.Fatal(err)
	}
}

func TestTheMembershipIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 4)
		said := make(chan string, 1000)
		old := bed.epoch(4, 1, 2, 4)
		one := bed.startFake(network, 1, in(old, said))
		two := bed.startFake(network, 2, in(old, said))
		three := bed.startFake(network, 3, in(bed.epoch(4, 1, 2, 3, 4), said)) // joins, knows more than they do
		four := bed.startFake(network, 4, in(old, said))
		up := []string{<-one.ups, <-one.ups}
		slices.Sort(up)
		if want := []string{"2:hello of 2", "4:hello of 4"}; !slices.Equal(up, want) {
			t.Fatalf("up: %v", up)
		}
		// A joiner is refused in words, and goes on asking.
		time.Sleep(10 * time.Second)
		const refusal = "replica 3 is not a member (yet): epoch 4 does not have it"
		if got := <-said; !strings.Contains(got, fmt.Sprintf(": %d: %s", CloseNotMember, refusal)) {
			t.Errorf("a joiner was told %q", got)
		}
		if s := three.status(t, 1); s.Up || !strings.Contains(s.LastError, refusal) {
			t.Errorf("at the joiner: %+v", s)
		}
		if len(three.ups) != 0 || one.Refused() < 5 {
			t.Errorf("%d members let the joiner in; refused %d times", len(three.ups), one.Refused())
		}

		// Replica 3 joins, replica 2 leaves, and replica 4 notices nothing.
		next := bed.epoch(5, 1, 3, 4)
		three.follow(t, next)
		one.follow(t, next)
		if got := <-one.ups; got != "3:hello of 3" {
			t.Fatalf("up: %q", got)
		}
		if got := <-one.downs; got != 2 {
			t.Fatalf("down: %d", got)
		}
		if got := <-three.ups; got != "1:hello of 1" {
			t.Fatalf("up at the joiner: %q", got)
		}
		for len(said) > 0 {
			<-said
		}
		time.Sleep(10 * time.Second)
		for range 2 { // for calling, and what it had accepted
			if got := <-said; got != fmt.Sprintf("1: %d: replica 2 was removed in epoch 5", CloseRemoved) &&
				!strings.Contains(got, "epoch 4 does not have it") {
				t.Errorf("the former member was told %q", got)
			}
		}
		if s := two.status(t, 1); s.Up || !strings.Contains(s.LastError, "replica 2 was removed in epoch 5") {
			t.Errorf("at the former member: %+v", s)
		}
		if one.Send(2, 0, nil) || one.SendBulk(2, nil) || !one.Send(3, 0, nil) || !one.Suspected(2) {
			t.Error("sends follow the old membership")
		}
		if s := one.status(t, 4); !s.Up || s.Connects != 1 {
			t.Errorf("the member that stayed: %+v", s)
		}
		if s := four.status(t, 1); !s.Up || s.Connects != 1 {
			t.Errorf("at the member that stayed: %+v", s)
		}
	})
}

// Who was removed is told at once, on the connections that stand, and is not hammering afterwards.
func TestTheRemovedAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		said := make(chan string, 1000)
		one := bed.startFake(network, 1, in(bed.epoch(4, 1, 2), nil))
		two := bed.startFake(network, 2, in(bed.epoch(4, 1, 2), said))
		<-one.ups
		<-two.ups
		removed := time.Now()
		one.follow(t, bed.epoch(5, 1))
		want := fmt.Sprintf("1: %d: replica 2 was removed in epoch 5", CloseRemoved)
		if got := <-said; got != want || time.Since(removed) > 3*oneWay {
			t.Errorf("told %q after %v", got, time.Since(removed))
		}
		time.Sleep(10 * time.Minute)
		calls := 1
		for ; len(said) > 0; calls++ {
			if got := <-said; got != want {
				t.Errorf("told %q", got)
			}
		}
		if calls < 20 || calls > 100 {
			t.Errorf("%d attempts in ten minutes", calls)
		}
		// A later process knows it from the record of used ids alone.
		one.Close()
		time.Sleep(time.Second) // for what is on its way
		for len(said) > 0 {
			<-said
		}
		again := bed.startFake(network, 1, in(bed.epoch(7, 1).InEpoch(7, 3), nil))
		time.Sleep(2 * time.Minute)
		want = fmt.Sprintf("1: %d: replica 2 was removed: epoch 7 does not have it any more", CloseRemoved)
		if got := <-said; got != want {
			t.Errorf("told %q", got)
		}
		if again.Refused() == 0 {
			t.Error("nobody was refused")
		}
	})
}

func TestAQueueEndsWithItsMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 3)
		one := bed.startFake(network, 1, in(bed.epoch(1, 1, 2, 3), nil)) // the others are down
		body := make([]byte, 1000)
		for range 100 {
			if !one.Send(2, 0, body) || !one.Send(3, 0, body) || !one.SendBulk(2, body) {
				t.Fatal("no room")
			}
		}
		leaving := one.roster.Load().peers[2]
		one.follow(t, bed.epoch(2, 1, 3))
		if used := leaving.budget.used.Load() + leaving.bulkBudget.used.Load(); used != 0 {
			t.Errorf("%d bytes wait for a former member", used)
		}
		if leaving.send(0, body) || leaving.sendBulk(body) {
			t.Error("who looked the member up before can still queue for it")
		}
		<-leaving.ended
		if s := one.status(t, 3); s.QueueBytes == 0 {
			t.Errorf("the queue of a member that stayed: %+v", s)
		}
		three := bed.startFake(network, 3, in(bed.epoch(2, 1, 3), nil))
		for range 100 {
			<-three.received
		}
	})
}

// A member that moves is dialed at its new address, with everything else as if it were new.
func TestAMemberMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		one := bed.startFake(network, 1, in(bed.epoch(1, 1, 2), nil))
		two := bed.startFake(network, 2, in(bed.epoch(1, 1, 2), nil))
		<-one.ups
		<-two.ups
		two.Close()
		<-one.downs
		bed.cluster.Members[1].Addr = "127.0.0.1:40099"
		bed.cluster.Members[1].Incarnation++
		moved := bed.epoch(2, 1, 2)
		before := one.roster.Load().peers[2]
		one.follow(t, moved)
		two = bed.startFake(network, 2, in(moved, nil))
		<-one.ups
		<-two.ups
		one.Send(2, 0, []byte("welcome"))
		if got := <-two.received; got.body != "welcome" {
			t.Errorf("received %+v", got)
		}
		after := one.roster.Load().peers[2]
		one.follow(t, moved) // again: nothing happens
		if now := one.roster.Load().peers[2]; now != after || now == before {
			t.Error("the same membership again made a new peer, or another address none")
		}
		// A new incarnation alone is judged by a new hello.
		bed.cluster.Members[1].Incarnation++
		one.follow(t, bed.epoch(3, 1, 2))
		if down, up := <-one.downs, <-one.ups; down != 2 || up != "2:hello of 2" {
			t.Errorf("down %d, up %q", down, up)
		}
	})
}

func TestMembershipsThatCannotBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 2)
		foreign, _ := fakeBed(t, 2)
		one := bed.startFake(network, 1, in(bed.epoch(3, 1, 2), nil))
		for name, members := range map[string]*identity.Members{
			"none": nil, "of another cluster": foreign.epoch(4, 1), "of an epoch that has ended": bed.epoch(2, 1),
		} {
			if err := one.SetMembers(members); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
		if now := one.Members(); now.Epoch() != 3 || len(now.All()) != 2 {
			t.Errorf("members of epoch %d: %v", now.Epoch(), now.All())
		}
		one.Close()
		if err := one.SetMembers(bed.epoch(4, 1)); err == nil {
			t.Error("a closed host follows")
		}
	})
}

// The membership changes again and again, in several goroutines, while everything else goes on and the
// host is closed at last: PeerUp and PeerDown alternate for each member, and nothing is left behind.
func TestChangesRaceWithEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bed, network := fakeBed(t, 4)
		all := []epaxos.ReplicaID{1, 2, 3, 4}
		var mu sync.Mutex
		up := map[epaxos.ReplicaID]bool{}
		turn := func(peer epaxos.ReplicaID, now bool) {
			mu.Lock()
			defer mu.Unlock()
			if up[peer] == now {
				t.Errorf("peer %d: told twice that up is %t", peer, now)
			}
			up[peer] = now
		}
		one := bed.startFake(network, 1, func(c *Config) {
			c.PeerUp = func(peer epaxos.ReplicaID, _ []byte) { turn(peer, true) }
			c.PeerDown = func(peer epaxos.ReplicaID, _ error) { turn(peer, false) }
		})
		for _, id := range all[1:] {
			bed.startFake(network, id, func(c *Config) { c.Receive = func(epaxos.ReplicaID, []byte) {} })
		}
		ctx, cancel := context.WithCancel(context.Background())
		var busy sync.WaitGroup
		loop := func(pause time.Duration, work func(i int)) {
			busy.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					work(i)
					time.Sleep(pause)
				}
			})
		}
		moved := *bed
		cluster := *bed.cluster
		moved.cluster, cluster.Members = &cluster, slices.Clone(cluster.Members)
		cluster.Members[2].Incarnation++
		memberships := []*identity.Members{
			bed.epoch(0, all...), bed.epoch(0, 1, 2), moved.epoch(0, 1, 3, 4), bed.epoch(0, 1), moved.epoch(0, all...),
		}
		for k := range 3 {
			loop(time.Duration(70+k*110)*time.Millisecond, func(i int) {
				if err := one.SetMembers(memberships[(i*(k+1))%len(memberships)]); err != nil && ctx.Err() == nil {
					t.Errorf("follow: %v", err)
				}
			})
		}
		loop(5*time.Millisecond, func(i int) {
			to := all[i%len(all)]
			one.Send(to, i, []byte("body"))
			one.SendBulk(to, []byte("bulk"))
			one.Suspected(to)
			one.RTT(to)
			one.Peers()
		})
		time.Sleep(4 * time.Second)
		for _, p := range one.roster.Load().peers {
			if p.budget.used.Load() < 0 || p.bulkBudget.used.Load() < 0 {
				t.Errorf("the room of replica %d: %d, %d bytes", p.member.Replica, p.budget.used.Load(), p.bulkBudget.used.Load())
			}
		}
		cancel()
		one.Close()
		busy.Wait()
		mu.Lock()
		defer mu.Unlock()
		for peer, still := range up {
			if still {
				t.Errorf("peer %d is up at a closed host", peer)
			}
		}
	})
}
