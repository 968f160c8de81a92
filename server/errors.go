package server

import (
	"errors"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/storage"
)

// ErrStopped: the replica has stopped.
var ErrStopped = errors.New("the replica has stopped")

// Why a replica must not run on its directory, told by Open or, once it runs, by Err.
var (
	// ErrForgot: peers remember more of the replica than its directory does.
	ErrForgot = node.ErrForgot
	// ErrDamaged: the directory lost or changed what it once held.
	ErrDamaged = storage.ErrDamaged
	// ErrCondemned: the directory was found to be one of those before.
	ErrCondemned = storage.ErrCondemned
	// ErrForeign: the directory belongs to another replica, cluster or incarnation.
	ErrForeign = storage.ErrForeign
	// ErrFormat: the directory was written in a format that this program does not read.
	ErrFormat = storage.ErrFormat
	// ErrOtherMembers: the directory was written under another membership.
	ErrOtherMembers = epaxos.ErrOtherMembers
	// ErrEmpty: there is no directory of a replica.
	ErrEmpty = storage.ErrEmpty
	// ErrRemoved: the replica is no member of its cluster any more, and never will be again.
	ErrRemoved = errors.New("the replica was removed from its cluster")
	// ErrNoSpace: free disk space is below the reserve.
	ErrNoSpace = storage.ErrNoSpace
)
