package history

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Operation is one request to the key-value machine as its client saw it.
type Operation struct {
	Client int
	Op     wire.Op
	// Outcome is Applied if there is a result; Unknown if the operation may have had an effect, or
	// may have one yet. What was not applied need not be recorded, and is passed over.
	Outcome wire.Outcome
	Result  wire.Result // if applied
	// Call and Return count from one instant for all clients, on one clock. The effect of an
	// applied operation lies between them, bounds included. Return is not looked at otherwise.
	Call, Return time.Duration
}

// never is the return of operations of unknown outcome.
const never = time.Duration(math.MaxInt64)

// Recorder gathers the operations of many clients. Its zero value is ready, and its methods are
// safe for concurrent use.
type Recorder struct {
	mu         sync.Mutex
	operations []Operation
}

// Add records one operation after it has ended. Its slices must not change any more.
func (r *Recorder) Add(operation Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, operation)
}

// Operations returns a copy of what was recorded so far.
func (r *Recorder) Operations() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.operations)
}
