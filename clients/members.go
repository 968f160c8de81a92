package clients

import (
	"errors"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// errLeft ends the connection to a replica that is no member, or not any more.
var errLeft = errors.New("the replica is no member of the cluster")

// learn takes the members that a replica tells of, unless it is behind others: connections to new ones
// are opened, endpoints of former ones are forgotten, and the sessions with those, which it returns, get
// nothing more to do. The caller holds mu, and relieves them once it does not.
//
// Replicas that tell no epoch are believed in what they add only: their hellos may be of any age.
func (c *Client) learn(hello *wire.ServerHello) (former []*session) {
	if len(hello.Members) == 0 || hello.Epoch < c.epoch {
		return nil
	}
	c.epoch, c.members = hello.Epoch, slices.Clone(hello.Members)
	for i := range c.members {
		m := &c.members[i]
		if m.Endpoint != "" && len(c.links) < endpointsMax {
			c.addLink(m.Endpoint, false)
		}
		c.selector.serves(m.Replica, m.Role == wire.RoleVoter)
	}
	for _, s := range c.sessions {
		if !c.isMember(s.hello.Replica) {
			former = append(former, s)
		}
	}
	for _, s := range former {
		c.sessions = slices.DeleteFunc(c.sessions, func(other *session) bool { return other == s })
		c.leaving = append(c.leaving, s)
		c.selector.down(s.hello.Replica)
		c.log.Info("replica left the cluster", "replica", s.hello.Replica, "epoch", c.epoch)
	}
	for _, l := range c.links {
		l.wake() // to find out whether it is still wanted
	}
	return former
}

// relieve moves to other replicas what former members have not begun. What they have begun they answer:
// the keeper ends their sessions when nothing is open any more.
func (c *Client) relieve(former []*session) {
	for _, s := range former {
		for _, f := range s.evacuate() {
			c.rescue(f, s.hello.Replica)
		}
	}
	if len(former) > 0 {
		c.wakeKeeper()
	}
}

// isMember reports whether a replica may belong to the cluster, as far as is known. The caller holds mu.
func (c *Client) isMember(replica epaxos.ReplicaID) bool {
	return c.epoch == 0 || slices.ContainsFunc(c.members, func(m wire.MemberInfo) bool { return m.Replica == replica })
}

// votes reports whether a replica takes part in agreeing, as far as is known. The caller holds mu.
func (c *Client) votes(replica epaxos.ReplicaID) bool {
	return !slices.ContainsFunc(c.members, func(m wire.MemberInfo) bool {
		return m.Replica == replica && m.Role != wire.RoleVoter
	})
}

// prospect says what is to become of a link without a session.
type prospect uint8

const (
	linkWanted prospect = iota
	linkResting
	linkUseless
)

// prospect judges a link. An endpoint that was given to Dial, but led to a former member, is the last
// resort of a client that has lost all others: it may be a name that leads elsewhere by now.
func (c *Client) prospect(l *link) prospect {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.epoch == 0, slices.ContainsFunc(c.members, func(m wire.MemberInfo) bool { return m.Endpoint == l.endpoint }):
		return linkWanted
	case !l.given:
		return linkUseless
	case l.replica != 0 && !c.isMember(l.replica) && len(c.sessions) > 0:
		return linkResting
	default:
		return linkWanted
	}
}

// addLink connects to an endpoint, unless it is known. The caller holds mu.
func (c *Client) addLink(endpoint string, given bool) {
	if c.closed || slices.ContainsFunc(c.links, func(l *link) bool { return l.endpoint == endpoint }) {
		return
	}
	l := &link{client: c, endpoint: endpoint, given: given, woken: make(chan struct{}, 1)}
	c.links = append(c.links, l)
	c.wg.Add(1)
	go l.run()
}

// dropLink forgets a link that has ended.
func (c *Client) dropLink(l *link) {
	c.mu.Lock()
	c.links = slices.DeleteFunc(c.links, func(other *link) bool { return other == l })
	c.mu.Unlock()
}

// finishLeaving ends the sessions with former members that have answered everything.
func (c *Client) finishLeaving(now time.Time, full bool) {
	c.mu.Lock()
	leaving := slices.Clone(c.leaving)
	c.mu.Unlock()
	for _, s := range leaving {
		s.sweep(now, full)
		s.endIfIdle(errLeft)
	}
}
