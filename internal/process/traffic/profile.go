// Package traffic is the load under which the tests of real processes inject faults: clients that read
// and write hot and cold keys by every operation there is, and record what they see.
package traffic

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// Profile is what a load does.
type Profile struct {
	Name string
	// Pinned workers of each replica send to it alone, whatever becomes of it. Roaming workers, as
	// many at the site of each replica, leave it for another when the client finds that better.
	Pinned, Roaming int
	Mix             []Share
	ValueBytes      int // how long values are, at most
	// Timeout ends an operation; 0 is operationTimeout. Where none may fail it is long: a busy machine is no failure.
	Timeout time.Duration
}

// Share is a family of operations and its share of the load.
type Share struct {
	Family Family
	Weight int
}

// Family draws the operations on its keys. Each family has keys of its own, so that the histories
// of hot keys stay quick to check.
type Family struct {
	Name string
	// Keys to be read at the end, by each replica.
	Keys []string
	draw func(w *worker) wire.Op
}

// The families.
var (
	// Registers that everybody reads and puts: commands of all replicas interfere.
	hotRegister = registers("hot", 2)
	// Registers that hardly anybody shares: commands go through on the fast path.
	coldRegister = registers("cold", 200)
	// Counters. Whatever is lost or done twice shows in the next sum.
	counter = Family{Name: "counter", Keys: names("counter", 3), draw: func(w *worker) wire.Op {
		key := pick(w.random, counterKeys)
		if w.random.IntN(4) == 0 {
			return get(key)
		}
		return wire.Op{Kind: wire.OpIncrement, Key: []byte(key), Delta: 1 - int64(w.random.IntN(3))*2}
	}}
	// Values that are set only where nobody else has set them since.
	guarded = Family{Name: "guarded", Keys: guardedKeys, draw: func(w *worker) wire.Op {
		key := pick(w.random, guardedKeys)
		if w.random.IntN(5) == 0 {
			return get(key)
		}
		return wire.Op{
			Kind: wire.OpCompareAndSet, Key: []byte(key), Value: w.value(), Compares: []wire.Compare{{
				Target: wire.CompareVersion, Relation: wire.Equal, Version: w.versions[key],
			}},
		}
	}}
	// Keys that come and go.
	scratch = Family{Name: "scratch", Keys: scratchKeys, draw: func(w *worker) wire.Op {
		key := pick(w.random, scratchKeys)
		switch w.random.IntN(4) {
		case 0:
			return wire.Op{Kind: wire.OpDelete, Key: []byte(key)}
		case 1:
			return get(key)
		default:
			return wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: w.value()}
		}
	}}
	// Transfers between accounts that nobody else has touched, and reads of all of them at once.
	account = Family{Name: "account", Keys: accountKeys, draw: drawAccount}
)

var (
	counterKeys = names("counter", 3)
	guardedKeys = names("guarded", 2)
	scratchKeys = names("scratch", 30)
	accountKeys = names("account", 4)
)

// The profiles.
var (
	Mixed = Profile{Name: "mixed", Pinned: 2, Roaming: 3, ValueBytes: 64, Mix: []Share{
		{coldRegister, 35}, {hotRegister, 20}, {counter, 15}, {guarded, 10}, {scratch, 8}, {account, 12},
	}}
	Hot = Profile{Name: "hot", Pinned: 2, Roaming: 4, ValueBytes: 16, Mix: []Share{
		{hotRegister, 55}, {counter, 25}, {guarded, 10}, {account, 10},
	}}
	Cold = Profile{Name: "cold", Pinned: 4, Roaming: 4, ValueBytes: 256, Mix: []Share{
		{coldRegister, 90}, {scratch, 10},
	}}
	// Followers send nowhere in particular: their replicas may leave for good.
	Followers = Profile{Name: "followers", Roaming: 5, ValueBytes: 64, Mix: Mixed.Mix, Timeout: time.Minute}
	Large     = Profile{Name: "large", Pinned: 1, Roaming: 2, ValueBytes: 64 << 10, Mix: []Share{
		{coldRegister, 60}, {hotRegister, 20}, {scratch, 20},
	}}
)

func names(family string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s/%d", family, i)
	}
	return keys
}

func pick(random *rand.Rand, keys []string) string { return keys[random.IntN(len(keys))] }

func get(key string) wire.Op { return wire.Op{Kind: wire.OpGet, Key: []byte(key)} }

func registers(name string, n int) Family {
	keys := names(name, n)
	return Family{Name: name, Keys: keys, draw: func(w *worker) wire.Op {
		key := pick(w.random, keys)
		if w.random.IntN(2) == 0 {
			return get(key)
		}
		return wire.Op{Kind: wire.OpPut, Key: []byte(key), Value: w.value()}
	}}
}

func drawAccount(w *worker) wire.Op {
	i := w.random.IntN(len(accountKeys))
	from, to := accountKeys[i], accountKeys[(i+1+w.random.IntN(len(accountKeys)-1))%len(accountKeys)]
	switch w.random.IntN(6) {
	case 0:
		return get(from)
	case 1, 2:
		op := wire.Op{Kind: wire.OpTxn}
		for _, key := range accountKeys {
			op.Then = append(op.Then, get(key))
		}
		return op
	}
	untouched := func(key string) wire.Compare {
		return wire.Compare{
			Key: []byte(key), Target: wire.CompareVersion, Relation: wire.Equal, Version: w.versions[key],
		}
	}
	amount := int64(1 + w.random.IntN(100))
	return wire.Op{
		Kind:     wire.OpTxn,
		Compares: []wire.Compare{untouched(from), untouched(to)},
		Then: []wire.Op{
			{Kind: wire.OpIncrement, Key: []byte(from), Delta: -amount},
			{Kind: wire.OpIncrement, Key: []byte(to), Delta: amount},
		},
		Else: []wire.Op{get(from), get(to)},
	}
}
