package server

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/storage"
)

// Survivor is the directory of a replica whose cluster has lost its quorum for good.
type Survivor struct {
	Role    Role
	Members MembersStatus // that it knows of
	Ahead   uint64        // the newest epoch that it heard of
	Losses  []Loss        // what it has heard of and cannot execute by itself

	node  *node.Survivor
	store *storage.Badger
}

// Loss is what is missing of the commands of one replica.
type Loss = node.Loss

// ErrNoSurvivor: the directory cannot carry a cluster on.
var ErrNoSurvivor = node.ErrNoSurvivor

// OpenSurvivor reads the directory of a replica that does not run. It changes nothing. Close it.
func OpenSurvivor(config Config, machine execution.StateMachine) (*Survivor, error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: config, machine: machine}
	store, err := storage.Open(config.storeOptions())
	if err != nil {
		return nil, err
	}
	survivor, err := node.OpenSurvivor(s.nodeConfig(store))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replay %s: %w", config.Dir, err), store.Close())
	}
	return &Survivor{
		Role: Role(survivor.Role.String()), Members: membersStatus(&survivor.Members), Ahead: uint64(survivor.Ahead),
		Losses: survivor.Losses, node: survivor, store: store,
	}, nil
}

// Force makes the replica the only voter of the next epoch, durably and at once, and gives up what it cannot
// execute. No other member of the cluster may ever be started again: those that were up could go on without this
// one, and two clusters would have one name.
func (s *Survivor) Force() (MembersStatus, error) {
	members, err := s.node.Force()
	return membersStatus(&members), err
}

// Close releases the directory.
func (s *Survivor) Close() error { return s.store.Close() }
