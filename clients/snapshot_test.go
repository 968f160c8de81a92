package clients_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/264bc8cf/epaxos/clients"
	"github.com/264bc8cf/epaxos/clients/gateway"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// serving answers requests for a snapshot with these parts, one after the other.
func serving(t *testing.T, parts []wire.SnapshotPart, asked *[]wire.SnapshotRequest) func(gateway.Request, func(gateway.Answer)) {
	return func(request gateway.Request, done func(gateway.Answer)) {
		r, err := wire.DecodeSnapshotRequest(request.Payload)
		if err != nil || request.Kind != wire.RequestSnapshot {
			t.Errorf("kind %d: %v", request.Kind, err)
		}
		answer := gateway.Answer{Code: wire.CodeOK, Outcome: wire.OutcomeApplied}
		if *asked = append(*asked, r); !r.End {
			answer.Result = wire.AppendSnapshotPart(nil, &parts[0])
			parts = parts[1:]
		}
		done(answer)
	}
}

func entries(keys ...string) (all []wire.SnapshotEntry) {
	for _, key := range keys {
		all = append(all, wire.SnapshotEntry{Key: []byte(key), Value: []byte("v")})
	}
	return all
}

var someHead = &wire.SnapshotHead{Cluster: [16]byte{1}, Replica: 1, Members: wire.Members{Epoch: 1, NextReplica: 2}}

// TestSnapshot: each part is asked for behind the last key of the one before, and in the end nothing more.
func TestSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		var asked []wire.SnapshotRequest
		r.proposer.set(serving(t, []wire.SnapshotPart{
			{ID: 9, Head: someHead, Entries: entries("a", "b")}, {ID: 9, Entries: entries("c")}, {ID: 9, Last: true},
		}, &asked))
		parts := 0
		if err := c.Snapshot(t.Context(), 0, func([]byte) error { parts++; return nil }); err != nil || parts != 3 {
			t.Errorf("%d parts, %v", parts, err)
		}
		synctest.Wait()
		want := `[{0 "" false} {9 "b" false} {9 "c" false} {9 "" true}]`
		got := "["
		for i, a := range asked {
			if got += fmt.Sprintf("{%d %q %v}", a.ID, a.After, a.End); i < len(asked)-1 {
				got += " "
			}
		}
		if got += "]"; got != want {
			t.Errorf("asked for %s, want %s", got, want)
		}
	})
}

// TestHostileSnapshot: parts that do not follow, and callers that have enough, end the copy.
func TestHostileSnapshot(t *testing.T) {
	enough := errors.New("enough")
	for name, c := range map[string]struct {
		parts []wire.SnapshotPart
		take  error
		want  error
	}{
		"no id":        {[]wire.SnapshotPart{{Head: someHead, Last: true}}, nil, wire.ErrMalformed},
		"no head":      {[]wire.SnapshotPart{{ID: 9, Last: true}}, nil, wire.ErrMalformed},
		"two heads":    {[]wire.SnapshotPart{{ID: 9, Head: someHead, Entries: entries("a")}, {ID: 9, Head: someHead}}, nil, wire.ErrMalformed},
		"for ever":     {[]wire.SnapshotPart{{ID: 9, Head: someHead}}, nil, wire.ErrMalformed},
		"taken enough": {[]wire.SnapshotPart{{ID: 9, Head: someHead, Entries: entries("a")}}, enough, enough},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, client := alone(t)
				var asked []wire.SnapshotRequest
				r.proposer.set(serving(t, c.parts, &asked))
				if err := client.Snapshot(t.Context(), 0, func([]byte) error { return c.take }); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				synctest.Wait()
				if last := asked[len(asked)-1]; c.parts[0].ID != 0 && (!last.End || last.ID != 9) {
					t.Errorf("the replica is not told that nothing more is wanted, but %+v", last)
				}
			})
		})
	}
}

// TestControl: what is for the service itself goes there, once.
func TestControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := alone(t)
		reply, err := c.Control(t.Context(), []byte("payload"))
		if err != nil || string(reply.Result) != "payload" || r.proposer.handled[0].Kind != wire.RequestControl {
			t.Errorf("%+v, %v", reply, err)
		}
		r.proposer.set(refusing(wire.CodeInternal, wire.OutcomeUnknown, false))
		_, err = c.Control(t.Context(), []byte("payload"))
		wantError(t, err, clients.CodeInternal, clients.Unknown)
		if n := r.proposer.count(); n != 2 {
			t.Errorf("it was sent %d times", n)
		}
	})
}
