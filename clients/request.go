package clients

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// SessionID names a session at the cluster for ever.
type SessionID = epaxos.InstanceID

// ParseSessionID reads what SessionID.String wrote.
func ParseSessionID(text string) (SessionID, error) {
	id := SessionID{Epoch: 1}
	rest := text
	if after, ok := strings.CutPrefix(text, "e"); ok {
		epoch, slot, _ := strings.Cut(after, ":")
		n, err := strconv.ParseUint(epoch, 10, 32)
		if err != nil {
			return SessionID{}, fmt.Errorf("session %q: want REPLICA.SLOT or eEPOCH:REPLICA.SLOT", text)
		}
		id.Epoch, rest = epaxos.Epoch(n), slot
	}
	replica, slot, _ := strings.Cut(rest, ".")
	r, errReplica := strconv.ParseUint(replica, 10, 32)
	n, errSlot := strconv.ParseUint(slot, 10, 64)
	if errReplica != nil || errSlot != nil || r == 0 || n == 0 || id.Epoch == 0 {
		return SessionID{}, fmt.Errorf("session %q: want REPLICA.SLOT or eEPOCH:REPLICA.SLOT", text)
	}
	id.Replica, id.Slot = epaxos.ReplicaID(r), epaxos.Slot(n)
	return id, nil
}

// RequestID names one request of one session. The zero value names none.
type RequestID struct {
	Session SessionID
	Number  uint64 // from 1
}

// IsZero reports whether id names no request.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// String is the form that ParseRequestID reads, as in "2.300/17".
func (id RequestID) String() string { return fmt.Sprintf("%v/%d", id.Session, id.Number) }

// ParseRequestID reads what RequestID.String wrote, in this process or another.
func ParseRequestID(text string) (RequestID, error) {
	session, number, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 {
		return RequestID{}, fmt.Errorf("request %q: want SESSION/NUMBER", text)
	}
	id, err := ParseSessionID(session)
	if err != nil {
		return RequestID{}, err
	}
	return RequestID{Session: id, Number: n}, nil
}

// NamedRequest returns a context under which one change, and no other, has a name that the caller gives: in a session
// that the caller looks after, see Client.OpenSession. The same request under the same name takes effect once, though
// other processes send it too.
func NamedRequest(ctx context.Context, id RequestID) context.Context {
	return context.WithValue(ctx, nameKey{}, &name{id: id})
}

type nameKey struct{}

// name is that of one request: another under it would be answered as the first.
type name struct {
	id   RequestID
	used atomic.Bool
}

// Consistency says what a read may show. It is a ReadOption.
type Consistency uint8

const (
	// Linearizable, the default: everything that was answered anywhere before the read began. A read of one key
	// takes one round trip from its replica to the nearest majority, and no disk; of several keys or a range, what a
	// command takes.
	Linearizable = Consistency(wire.Linearizable)
	// Session: everything that this client has written or read, and what a Token names beside. It takes no round
	// trip between replicas, unless the replica has yet to hear of what the client has seen elsewhere.
	Session = Consistency(wire.SessionConsistency)
	// Stale: what the replica has executed. It takes no round trip between replicas, and learners serve it too.
	// Reads may go back in time when the client moves to another replica. Age tells how old they may be.
	Stale = Consistency(wire.Stale)
)

// ReadOption changes what a read may show: a Consistency, a Token, or a Cut; or where it is read.
type ReadOption interface {
	RangeOption
	read(request *Request)
}

func (c Consistency) read(request *Request) { request.Consistency = c }

func (t Token) read(request *Request) { request.Consistency, request.Token = Session, t }

func (c Consistency) rangeOption(_ *wire.Op, request *Request) { c.read(request) }

func (t Token) rangeOption(_ *wire.Op, request *Request) { t.read(request) }

// ReplicaID names one replica for ever.
type ReplicaID = epaxos.ReplicaID

// At makes one replica serve a read, be it a learner, and no other.
func At(replica epaxos.ReplicaID) ReadOption { return place(replica) }

type place epaxos.ReplicaID

func (p place) rangeOption(_ *wire.Op, request *Request) { p.read(request) }

func (p place) read(request *Request) { request.Replica = epaxos.ReplicaID(p) }

// like is a read under the conditions of another.
type like Request

func (l like) rangeOption(_ *wire.Op, request *Request) { l.read(request) }

func (l like) read(request *Request) {
	request.Consistency, request.Token, request.Replica, request.Cut = l.Consistency, l.Token, l.Replica, l.Cut
}

// Token names what a client has seen. Handed to another client, also in another process, its session reads show all
// of that. The zero Token names nothing. A Token is a ReadOption: a session read after it.
type Token struct{ token wire.Token }

// String is the form that ParseToken reads.
func (t Token) String() string {
	var text strings.Builder
	text.WriteString(strconv.FormatUint(uint64(t.token.Epoch), 10))
	for _, slot := range t.token.Deps {
		text.WriteString("." + strconv.FormatUint(uint64(slot), 10))
	}
	return text.String()
}

// ParseToken reads what Token.String wrote.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(text, ".")
	epoch, err := strconv.ParseUint(parts[0], 10, 32)
	if err != nil || len(parts)-1 > epaxos.VotersMax {
		return Token{}, fmt.Errorf("token %q: want what Token.String wrote", text)
	}
	t := Token{wire.Token{Epoch: epaxos.Epoch(epoch)}}
	for _, part := range parts[1:] {
		slot, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return Token{}, fmt.Errorf("token %q: want what Token.String wrote", text)
		}
		t.token.Deps = append(t.token.Deps, epaxos.Slot(slot))
	}
	return t, nil
}

// MarshalText and UnmarshalText are String and ParseToken.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseToken.
func (t *Token) UnmarshalText(text []byte) (err error) {
	*t, err = ParseToken(string(text))
	return err
}

// merge makes the token name what another names too.
func (t *Token) merge(other wire.Token) {
	other.Deps = other.Deps.Clone()
	t.token.Raise(other)
}

func (t Token) clone() Token {
	t.token.Deps = t.token.Deps.Clone()
	return t
}
