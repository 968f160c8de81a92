package sim

import (
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// watched is a world without events, to plant violations in.
func watched(e int) *world {
	w := &world{options: Options{Seed: 1}, members: three}
	w.members.E = e
	w.check.init(w)
	for i := range w.members.Voters {
		w.hosts = append(w.hosts, &host{disk: newDisk(storage.NewMemory(storage.MemoryOptions{}))})
		w.check.crashed(i, w.hosts[i].disk)
		w.check.bounds.started(i, epaxos.DefaultLimits(), three)
	}
	return w
}

func TestRecordsPlanted(t *testing.T) {
	id, none, other := instanceID(1, 1), epaxos.Dependencies{0, 0, 0}, epaxos.Dependencies{0, 1, 0}
	low, high := epaxos.Ballot{Number: 1, Replica: 2}, epaxos.Ballot{Number: 2, Replica: 3}
	voted := epaxos.Record{ID: id, Phase: epaxos.PreAccepted, Initial: none, Deps: none, Command: write("k")}
	promised := epaxos.Record{ID: id, Promised: high}
	accepted := epaxos.Record{ID: id, Phase: epaxos.Accepted, Promised: low, Accepted: low, Deps: none}
	decided := epaxos.Record{ID: id, Phase: epaxos.Committed, Promised: low, Accepted: low, Deps: none}
	with := func(r epaxos.Record, change func(*epaxos.Record)) epaxos.Record { change(&r); return r }
	for name, test := range map[string]struct {
		first, second epaxos.Record
		broken        string
	}{
		"progress":           {voted, accepted, ""},
		"decided":            {accepted, decided, ""},
		"promise lost":       {promised, with(promised, func(r *epaxos.Record) { r.Promised = low }), "promise"},
		"accept lost":        {accepted, with(accepted, func(r *epaxos.Record) { r.Accepted = epaxos.Ballot{} }), "promise"},
		"above the promise":  {voted, with(accepted, func(r *epaxos.Record) { r.Accepted = high }), "promise"},
		"phase lost":         {decided, with(accepted, func(*epaxos.Record) {}), "promise"},
		"vote after promise": {promised, with(voted, func(r *epaxos.Record) { r.Promised = high }), "promise"},
		"another decision":   {decided, with(decided, func(r *epaxos.Record) { r.Deps = other }), "agreement"},
		"another value":      {accepted, with(accepted, func(r *epaxos.Record) { r.NoOp = true }), "commit-votes"},
		"another vote":       {voted, with(voted, func(r *epaxos.Record) { r.Deps = other }), "commit-votes"},
		"another proposal":   {voted, with(voted, func(r *epaxos.Record) { r.Initial = other }), "commit-votes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := watched(1)
			w.check.record(0, test.first)
			w.check.record(0, test.second)
			if test.broken == "" {
				wantNone(t, w.err)
				return
			}
			wantViolation(t, w.err, test.broken, "1.1", "r1")
		})
	}
}

func TestMessagesPlanted(t *testing.T) {
	id, none, other := instanceID(1, 1), epaxos.Dependencies{0, 0, 0}, epaxos.Dependencies{0, 1, 0}
	ballot := epaxos.Ballot{Number: 1, Replica: 1}
	nothing := epaxos.Record{ID: id}
	voted := epaxos.Record{ID: id, Phase: epaxos.PreAccepted, Initial: none, Deps: none, Command: write("k")}
	promised := voted
	promised.Promised = ballot
	accepted := promised
	accepted.Phase, accepted.Accepted = epaxos.Accepted, ballot
	decided := voted
	decided.Phase = epaxos.Committed
	for name, test := range map[string]struct {
		saved   epaxos.Record
		message epaxos.Message
		fine    bool
	}{
		"PreAccept":               {voted, epaxos.PreAccept{ID: id, Initial: none}, true},
		"PreAccept unsaved":       {nothing, epaxos.PreAccept{ID: id, Initial: none}, false},
		"PreAccept other deps":    {voted, epaxos.PreAccept{ID: id, Initial: other}, false},
		"vote":                    {voted, epaxos.PreAcceptReply{ID: id, Deps: none}, true},
		"vote unsaved":            {nothing, epaxos.PreAcceptReply{ID: id, Deps: none}, false},
		"vote with other deps":    {voted, epaxos.PreAcceptReply{ID: id, Deps: other}, false},
		"vote overtaken":          {accepted, epaxos.PreAcceptReply{ID: id, Deps: other}, true},
		"Accept":                  {accepted, epaxos.Accept{ID: id, Ballot: ballot, Deps: none}, true},
		"Accept unsaved":          {promised, epaxos.Accept{ID: id, Ballot: ballot, Deps: none}, false},
		"AcceptReply":             {accepted, epaxos.AcceptReply{ID: id, Ballot: ballot}, true},
		"AcceptReply unsaved":     {promised, epaxos.AcceptReply{ID: id, Ballot: ballot}, false},
		"Recover":                 {promised, epaxos.Recover{ID: id, Ballot: ballot}, true},
		"Recover unsaved":         {voted, epaxos.Recover{ID: id, Ballot: ballot}, false},
		"report":                  {promised, epaxos.RecoverReply{ID: id, Ballot: ballot, Phase: epaxos.PreAccepted, Deps: none, Initial: none}, true},
		"report without promise":  {voted, epaxos.RecoverReply{ID: id, Ballot: ballot, Phase: epaxos.PreAccepted, Deps: none}, false},
		"report of more":          {promised, epaxos.RecoverReply{ID: id, Ballot: ballot, Phase: epaxos.Accepted, Deps: none}, false},
		"report of other deps":    {promised, epaxos.RecoverReply{ID: id, Ballot: ballot, Phase: epaxos.PreAccepted, Deps: other}, false},
		"report of other initial": {promised, epaxos.RecoverReply{ID: id, Ballot: ballot, Phase: epaxos.PreAccepted, Deps: none, Initial: other}, false},
		"Validate":                {promised, epaxos.Validate{ID: id, Ballot: ballot}, true},
		"Validate unsaved":        {nothing, epaxos.Validate{ID: id, Ballot: ballot}, false},
		"ValidateReply":           {promised, epaxos.ValidateReply{ID: id, Ballot: ballot}, true},
		"ValidateReply unsaved":   {nothing, epaxos.ValidateReply{ID: id, Ballot: ballot}, false},
		"fast commit":             {decided, epaxos.Commit{ID: id, Deps: none}, true},
		"fast commit unsaved":     {voted, epaxos.Commit{ID: id, Deps: none}, false},
		"commit of a recovery":    {promised, epaxos.Commit{ID: id, Ballot: ballot, Deps: none}, true},
		"gossip":                  {nothing, epaxos.Gossip{Epoch: 1, Executed: none}, true},
		"gossip ahead of marks":   {nothing, epaxos.Gossip{Epoch: 1, Executed: other}, false},
		"waiting":                 {nothing, epaxos.Waiting{ID: id}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if why := watched(1).check.unsupported(0, test.saved, test.message); (why == "") != test.fine {
				t.Errorf("unsupported says %q", why)
			}
		})
	}
	if why := watched(0).check.unsupported(0, voted, epaxos.Commit{ID: id, Deps: none}); why != "" {
		t.Errorf("under the baseline rules a fast commit may be told unsaved, and not: %s", why)
	}
}

func TestDecisionsPlanted(t *testing.T) {
	id, none := instanceID(1, 1), epaxos.Dependencies{0, 0, 0}
	command := write("k")
	proposed := func() *world {
		w := watched(1)
		wantNone(t, w.check.newest().ledger.sent(0, epaxos.PreAccept{ID: id, Command: command, Initial: none}))
		wantNone(t, w.check.newest().ledger.sent(1, epaxos.PreAcceptReply{ID: id, Deps: none}))
		w.check.told(0, &epaxos.Commit{ID: id, Value: epaxos.Value{Kind: epaxos.Known}, Deps: none})
		wantNone(t, w.err)
		return w
	}
	t.Run("agreement", func(t *testing.T) {
		w := proposed()
		w.check.decided(1, epaxos.Decision{ID: id, Deps: none})
		wantViolation(t, w.err, "agreement", "r2", "1.1")
	})
	t.Run("agreement in a message", func(t *testing.T) {
		w := proposed()
		w.check.told(2, &epaxos.Commit{ID: id, Value: epaxos.Value{Kind: epaxos.NoOp}, Deps: none})
		wantViolation(t, w.err, "agreement", "r3", "1.1")
	})
	t.Run("known without a proposal", func(t *testing.T) {
		w := watched(1)
		w.check.told(2, &epaxos.Commit{ID: id, Value: epaxos.Value{Kind: epaxos.Known}, Deps: none})
		wantViolation(t, w.err, "commit-votes", "r3", "1.1")
	})
	t.Run("marks without a decision", func(t *testing.T) {
		w := watched(1)
		w.check.synced(0, storage.Batch{Group: wire.AppendGroup(nil, &wire.Group{Executed: []epaxos.InstanceID{id}})})
		wantViolation(t, w.err, "durability", "r1", "1.1", "nobody has decided")
	})
	t.Run("marks without an execution", func(t *testing.T) {
		w := proposed()
		w.check.synced(0, storage.Batch{Group: wire.AppendGroup(nil, &wire.Group{Executed: []epaxos.InstanceID{id}})})
		wantViolation(t, w.err, "durability", "r1", "1.1", "has not executed")
	})
	t.Run("a group that does not decode", func(t *testing.T) {
		w := watched(1)
		w.check.synced(0, storage.Batch{Group: []byte{0xc1}})
		wantViolation(t, w.err, "integrity", "r1")
	})
}

func TestResultsPlanted(t *testing.T) {
	a, b := place{instanceID(1, 1), 0}, place{instanceID(2, 1), 0}
	t.Run("another result", func(t *testing.T) {
		w := watched(1)
		w.check.applied(0, a, []byte("x"), []byte("1"))
		w.check.applied(1, a, []byte("x"), []byte("2"))
		wantViolation(t, w.err, "order", "r2", "1.1")
	})
	t.Run("a request in two places", func(t *testing.T) {
		w := watched(1)
		w.check.once["x"] = place{}
		w.check.applied(0, a, []byte("x"), nil)
		w.check.applied(1, a, []byte("x"), nil)
		wantNone(t, w.err)
		w.check.applied(0, b, []byte("x"), nil)
		wantViolation(t, w.err, "once", "r1", "2.1", "1.1")
	})
	t.Run("an answer that nobody waits for", func(t *testing.T) {
		w := watched(1)
		w.hosts[0].calls = map[epaxos.ProposalID]*operation{}
		w.answer(0, []node.Answer{{Proposal: 7}})
		wantViolation(t, w.err, "once", "r1", "7")
	})
	t.Run("a request that was taken back", func(t *testing.T) {
		w := watched(1)
		w.check.cancelled["x"] = true
		w.check.applied(0, a, []byte("x"), nil)
		wantViolation(t, w.err, "once", "r1", "1.1")
	})
}

func TestHellosPlanted(t *testing.T) {
	w := watched(1)
	heard := wire.Group{Heard: []wire.Heard{{Replica: 2, Incarnation: 1, Group: 5}}}
	w.check.synced(0, storage.Batch{Group: wire.AppendGroup(nil, &heard)})
	w.check.greets(0, 1, &wire.Hello{HeardGroup: 6})
	w.check.greets(0, 2, &wire.Hello{})
	wantNone(t, w.err)
	w.check.greets(0, 1, &wire.Hello{HeardGroup: 4})
	wantViolation(t, w.err, "durability", "r1", "r2", "4")
	w = watched(1)
	w.check.greets(0, 1, &wire.Hello{Group: 1})
	wantViolation(t, w.err, "durability", "r1", "r2")
}

func TestRestPlanted(t *testing.T) {
	w := watched(1)
	for _, h := range w.hosts {
		h.gone = true // nobody is left who has anything to do
	}
	fetch := epaxos.Envelope{From: 1, To: 2, Message: epaxos.Fetch{}}
	w.check.disturbs(fetch)
	w.check.resting = true
	w.check.disturbs(epaxos.Envelope{From: 1, To: 2, Message: epaxos.Gossip{}})
	wantNone(t, w.err)
	w.check.disturbs(fetch)
	wantViolation(t, w.err, "boundedness", "r1 -> r2 Fetch")
}
