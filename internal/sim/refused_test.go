package sim

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/264bc8cf/epaxos/deps"
	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// What must be refused before it can do harm: configurations, saved records, requests, state machines
// that leave their footprint. No run gets there, since none begins like that.

func validConfig() epaxos.Config {
	return epaxos.Config{
		ID: 1, Membership: three, Index: deps.New(3), Rand: rand.New(rand.NewPCG(1, 1)), //nolint:gosec // a test
		Limits: epaxos.DefaultLimits(), Timing: epaxos.DefaultTiming(),
	}
}

func TestRefusedConfigurations(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*epaxos.Config)
		word  string
	}{
		"epoch 0":          {func(c *epaxos.Config) { c.Membership.Epoch = 0 }, "epoch"},
		"no voters":        {func(c *epaxos.Config) { c.Membership.Voters = nil }, "voters"},
		"e above f":        {func(c *epaxos.Config) { c.Membership.E = 2 }, "e=2"},
		"too few for f":    {func(c *epaxos.Config) { c.Membership.F, c.Membership.E = 2, 0 }, "n=3"},
		"a voter twice":    {func(c *epaxos.Config) { c.Membership.Voters = []epaxos.ReplicaID{1, 2, 2} }, "distinct"},
		"not a voter":      {func(c *epaxos.Config) { c.ID = 9 }, "replica 9"},
		"no index":         {func(c *epaxos.Config) { c.Index = nil }, "index"},
		"no limits":        {func(c *epaxos.Config) { c.Limits = epaxos.Limits{} }, "limits"},
		"a huge gathering": {func(c *epaxos.Config) { c.Limits.Gather = 1 << 20 }, "limits"},
		"no timing":        {func(c *epaxos.Config) { c.Timing = epaxos.Timing{} }, "timing"},
	} {
		t.Run(name, func(t *testing.T) {
			config := validConfig()
			test.spoil(&config)
			if _, err := epaxos.New(config); err == nil || !strings.Contains(err.Error(), test.word) {
				t.Errorf("New says %v, which does not tell of %q", err, test.word)
			}
		})
	}
	config := validConfig()
	replica, err := epaxos.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if m := replica.Membership(); m.N() != 3 {
		t.Errorf("the membership is %+v", m)
	}
	replica.Suspect(0, 9, true) // nobody
	replica.Executed(0, []epaxos.InstanceID{instanceID(9, 1)})
	replica.Step(0, epaxos.Envelope{From: 9, To: 1, Message: epaxos.Waiting{}})
	if replica.HasReady() || replica.Stats().Malformed != 1 {
		t.Errorf("who does not vote was listened to: %+v", replica.Stats())
	}
}

func TestRefusedRecords(t *testing.T) {
	id, short := instanceID(2, 1), epaxos.Dependencies{0}
	for name, record := range map[string]epaxos.Record{
		"of nobody":                     {ID: instanceID(9, 1)},
		"of another epoch":              {ID: epaxos.InstanceID{Epoch: 2, Replica: 1, Slot: 1}},
		"without a slot":                {ID: instanceID(1, 0)},
		"committed without its command": {ID: id, Phase: epaxos.Committed, Deps: make(epaxos.Dependencies, 3)},
		"of a smaller cluster":          {ID: id, Phase: epaxos.PreAccepted, Deps: short},
		"without dependencies":          {ID: id, Phase: epaxos.PreAccepted},
		"accepted above its promise":    {ID: id, Accepted: epaxos.Ballot{Number: 1, Replica: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			replica, err := epaxos.New(validConfig())
			if err != nil {
				t.Fatal(err)
			}
			if replica.Restore(record) == nil && replica.Restored(0) == nil {
				t.Error("it is taken")
			}
		})
	}
}

func TestRefusedTruncation(t *testing.T) {
	replica, err := epaxos.New(validConfig())
	if err != nil {
		t.Fatal(err)
	}
	if replica.RestoreTruncated(epaxos.Dependencies{1}) == nil {
		t.Error("the vector of a smaller cluster is taken")
	}
}

func TestRefusedRequests(t *testing.T) {
	key := []byte("k")
	large := make([]byte, wire.ValueMax+1)
	get := wire.Op{Kind: wire.OpGet, Key: key}
	compare := func(c wire.Compare) wire.Op {
		return wire.Op{Kind: wire.OpCompareAndSet, Key: key, Compares: []wire.Compare{c}}
	}
	refused := map[string][]byte{
		"nothing":          nil,
		"an unknown kind":  {0x92, 0x7f, 0xc4, 0x01, 'k'},
		"no key":           wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet}),
		"a long key":       wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: large[:wire.KeyMax+1]}),
		"a large value":    wire.AppendOp(nil, &wire.Op{Kind: wire.OpPut, Key: key, Value: large}),
		"no comparison":    wire.AppendOp(nil, &wire.Op{Kind: wire.OpCompareAndSet, Key: key}),
		"no relation":      wire.AppendOp(nil, ptr(compare(wire.Compare{Target: wire.CompareValue}))),
		"a large operand":  wire.AppendOp(nil, ptr(compare(wire.Compare{Target: wire.CompareValue, Relation: wire.Equal, Value: large}))),
		"nested":           wire.AppendOp(nil, &wire.Op{Kind: wire.OpTxn, Then: []wire.Op{{Kind: wire.OpTxn, Then: []wire.Op{get}}}}),
		"a bad operation":  wire.AppendOp(nil, &wire.Op{Kind: wire.OpTxn, Then: []wire.Op{{Kind: wire.OpGet}}}),
		"a bad comparison": wire.AppendOp(nil, &wire.Op{Kind: wire.OpTxn, Compares: []wire.Compare{{Target: wire.CompareVersion, Relation: wire.Equal}}}),
	}
	for name, payload := range refused {
		t.Run(name, func(t *testing.T) {
			if _, err := (execution.KV{}).Footprint(payload); err == nil {
				t.Error("it is admitted")
			}
		})
	}
}

func ptr(op wire.Op) *wire.Op { return &op }

// reader is a saved state.
type reader map[string][]byte

var errReader = errors.New("the disk cannot be read")

// Get implements execution.Reader.
func (r reader) Get(key []byte) ([]byte, bool, error) {
	if r == nil {
		return nil, false, errReader
	}
	value, found := r[string(key)]
	return value, found, nil
}

// Scan implements execution.Reader. Nobody asks.
func (reader) Scan([]byte, []byte, func(key, value []byte) error) error { return errReader }

// stray is a machine that does not keep to its footprint.
type stray struct {
	execution.KV
	apply func(execution.View)
}

// Apply implements execution.StateMachine.
func (s stray) Apply(view execution.View, _ []byte) ([]byte, error) {
	s.apply(view)
	return nil, nil
}

func TestRefusedAccess(t *testing.T) {
	many := make(epaxos.Footprint, 40)
	for i := range many {
		many[i] = access(epaxos.Read, string(rune('a'+i)))
	}
	span := epaxos.Access{Mode: epaxos.Read, Range: true, Key: "m", End: "n"}
	for name, test := range map[string]struct {
		footprint epaxos.Footprint
		apply     func(execution.View)
		fine      bool
	}{
		"read of another key":          {epaxos.Footprint{access(epaxos.Read, "a")}, func(v execution.View) { v.Get("b"); v.Put("c", nil) }, false},
		"write of a key to be read":    {epaxos.Footprint{access(epaxos.Read, "a")}, func(v execution.View) { v.Put("a", nil) }, false},
		"delete of a key to be read":   {epaxos.Footprint{access(epaxos.Read, "a")}, func(v execution.View) { v.Delete("a") }, false},
		"write of one of many":         {many, func(v execution.View) { v.Put("b", nil) }, false},
		"read of one of many":          {many, func(v execution.View) { v.Get("b") }, true},
		"read beside many":             {many, func(v execution.View) { v.Get("zz") }, false},
		"read in a range beside many":  {append(many[:20:20], span), func(v execution.View) { v.Get("mm") }, true},
		"write in a range beside many": {append(many[:20:20], span), func(v execution.View) { v.Put("mm", nil) }, false},
		"key of another space": {epaxos.Footprint{{Mode: epaxos.Write, Space: epaxos.SpaceSession, Key: "a"}},
			func(v execution.View) { v.Get("a") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			state := execution.NewState(reader{})
			command := &epaxos.Command{Requests: []epaxos.Request{{}, {}}, Footprint: test.footprint}
			_, err := state.Apply(stray{apply: test.apply}, command)
			if (err == nil) != test.fine || err != nil && !errors.Is(err, execution.ErrFootprint) {
				t.Errorf("Apply says %v", err)
			}
		})
	}
	t.Run("a disk that cannot be read", func(t *testing.T) {
		command := write("k")
		command.Requests[0].Payload = wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: []byte("k")})
		if _, err := execution.NewState(reader(nil)).Apply(execution.KV{}, command); !errors.Is(err, errReader) {
			t.Errorf("Apply says %v", err)
		}
	})
	t.Run("a value that the machine never wrote", func(t *testing.T) {
		command := write("k")
		command.Requests[0].Payload = wire.AppendOp(nil, &wire.Op{Kind: wire.OpGet, Key: []byte("k")})
		if _, err := execution.NewState(reader{"\x00k": {1}}).Apply(execution.KV{}, command); err == nil {
			t.Error("it is taken")
		}
	})
	t.Run("a request that was never admitted", func(t *testing.T) {
		command := write("k")
		if _, err := execution.NewState(reader{}).Apply(execution.KV{}, command); err == nil {
			t.Error("it is applied")
		}
	})
}

// TestRefusedInstances: what is of another epoch is no business of the graph.
func TestRefusedInstances(t *testing.T) {
	g := execution.NewGraph(three)
	foreign := epaxos.InstanceID{Epoch: 2, Replica: 1, Slot: 1}
	g.Restore(foreign)
	g.Learn(foreign, write("k"))
	g.Commit(foreign, write("k"), make(epaxos.Dependencies, 3))
	if g.IsExecuted(foreign) || g.Pending() > 0 || g.Next() != nil {
		t.Error("it was taken for one of its own")
	}
}
