package node_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/node"
	"github.com/264bc8cf/epaxos/internal/wire"
	"github.com/264bc8cf/epaxos/storage"
)

var diskMegabytes = flag.Int("transfer-megabytes", 1, "of state that goes to a replica on disk")

// onDisk gives a replica a directory, closed with the test.
type onDisk struct {
	*company
	disk    *storage.Badger
	options storage.Options
	replica int
}

func newOnDisk(c *company, replica int) *onDisk {
	c.t.Helper()
	d := &onDisk{company: c, replica: replica, options: storage.Options{
		Dir: filepath.Join(c.t.TempDir(), "data"), MemTableBytes: 8 << 20,
		Identity: storage.Identity{Replica: uint32(replica + 1), Incarnation: 1}, //nolint:gosec // few
	}}
	if err := storage.Create(d.options); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = d.disk.Close() })
	d.restart()
	return d
}

// restart is an end without a last save, and a start.
func (d *onDisk) restart() {
	d.t.Helper()
	if d.disk != nil {
		if err := d.disk.Close(); err != nil {
			d.t.Fatal(err)
		}
	}
	var err error
	if d.disk, err = storage.Open(d.options); err != nil {
		d.t.Fatal(err)
	}
	d.configs[d.replica].Store = d.disk
	d.start(d.replica)
}

// equals expects that the state on disk is that of another replica.
func (d *onDisk) equals(other int) {
	d.t.Helper()
	for _, i := range []int{other, d.replica} {
		if err := d.nodes[i].Flush(); err != nil {
			d.t.Fatal(err)
		}
	}
	want := dump(d.t, d.stores[other])
	at := 0
	err := d.disk.Scan(nil, nil, func(key, value []byte) error {
		if at >= len(want) || want[at] != fmt.Sprintf("%q=%x", key, value) {
			return fmt.Errorf("key %d is %q", at, key)
		}
		at++
		return nil
	})
	if err != nil || at != len(want) {
		d.t.Fatalf("violation of order: the state on disk differs at key %d of %d: %v", at, len(want), err)
	}
}

// A replica on disk learns, restarts in the middle of that, is promoted, and has the state of the others, who keep
// theirs in memory: both kinds of store mean the same by what is staged, adopted, held and changed.
func TestTransferToDisk(t *testing.T) {
	c := newCompany(t, 3)
	c.rate = node.Transfer{BytesPerSecond: 1 << 30}
	for i := range c.nodes {
		c.crash(i)
	}
	c.meet()
	value := strings.Repeat("x", 4096)
	for k := range *diskMegabytes << 8 {
		c.put(k%3, fmt.Sprintf("key%07d", k), value)
		if k%100 == 99 {
			c.settle(0)
		}
	}
	c.settle(time.Second)
	one := c.hire()
	d := newOnDisk(c, 3)
	c.apart(4)
	c.want1(c.reconfigure(0, func(m *wire.Members) { learn(m, one) }))
	parts := 0
	c.lost = partsUpTo(&parts, *diskMegabytes*2)
	c.meet()
	c.settle(time.Second)
	if c.role(3) != node.Joining || parts < *diskMegabytes*2 {
		t.Fatalf("the test shows nothing: a %v after %d parts", c.role(3), parts)
	}
	d.restart()
	c.lost = nil
	began := time.Now()
	c.meet()
	c.settle(5 * time.Second)
	c.meet()
	t.Logf("%d MiB in %v", *diskMegabytes, time.Since(began))
	if s := c.nodes[3].Status().Transfer; c.role(3) != node.Learner || s.Bytes > uint64(*diskMegabytes)<<19*13/10 {
		t.Fatalf("it is a %v; after the restart it began anew: %+v", c.role(3), s)
	}
	c.fill(60, "later")
	c.settle(2 * time.Second)
	d.equals(0)
	d.restart()
	c.fill(30, "after a restart")
	c.meet()
	c.settle(3 * time.Second)
	d.equals(0)
	c.want1(c.reconfigure(1, func(m *wire.Members) { grow(m, one) }))
	c.fill(30, "promoted")
	c.settle(3 * time.Second)
	id := c.put(3, "own", "value")
	c.settle(2 * time.Second)
	c.want(id)
	d.equals(0)
	d.restart()
	c.meet()
	c.settle(2 * time.Second)
	if c.role(3) != node.Voter || !c.nodes[3].Admitted() {
		t.Errorf("after a restart it is a %v", c.role(3))
	}
}
