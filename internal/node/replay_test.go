package node_test

import (
	"errors"
	"testing"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

// replay starts replica 1 of 3 on a log of one group.
func replay(t *testing.T, group []byte) error {
	t.Helper()
	store := storage.NewMemory(storage.MemoryOptions{})
	if err := store.Save(storage.Batch{Group: group}); err != nil {
		t.Fatal(err)
	}
	_, err := node.New(configOf(1, store, 3))
	return err
}

// A group whose checksum is right says what was written, so what is wrong is the program or its configuration:
// the operator is told which.
func TestLogsThatARunningReplicaDidNotWrite(t *testing.T) {
	record := func(id epaxos.InstanceID, voters int) []byte {
		deps := make(epaxos.Dependencies, voters)
		return wire.AppendGroup(nil, &wire.Group{Records: []epaxos.Record{
			{ID: id, Phase: epaxos.Committed, NoOp: true, Initial: deps, Deps: deps},
		}})
	}
	for name, test := range map[string]struct {
		group []byte
		want  error
	}{
		"in an encoding of later": {[]byte{0x93, 0x91, 0x07, 0x90, 0x90}, storage.ErrFormat},
		"empty":                   {nil, storage.ErrFormat},
		"by more voters":          {record(epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 1}, 5), epaxos.ErrOtherMembers},
		"by another voter":        {record(epaxos.InstanceID{Epoch: 1, Replica: 4, Slot: 1}, 3), epaxos.ErrOtherMembers},
		"in another epoch":        {record(epaxos.InstanceID{Epoch: 2, Replica: 2, Slot: 1}, 3), epaxos.ErrOtherMembers},
		"by these voters":         {record(epaxos.InstanceID{Epoch: 1, Replica: 2, Slot: 1}, 3), nil},
	} {
		if err := replay(t, test.group); !errors.Is(err, test.want) {
			t.Errorf("written %s: %v, want %v", name, err, test.want)
		}
	}
}
