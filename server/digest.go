package server

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Digest is the executed prefix of each column and a digest of the applied state. Two replicas with
// equal prefixes and nothing pending must have equal digests.
type Digest struct {
	Executed []epaxos.Slot
	Idle     bool // everything heard of is executed
	State    [sha256.Size]byte
}

// Digest saves what is in memory and reads the whole applied state, so it stops the replica for as
// long as that takes. It is for tests, demonstrations and operators who suspect a divergence.
func (s *Server) Digest() (Digest, error) {
	var d Digest
	err := ErrStopped
	s.inbox.do(func() {
		if err = s.node.Flush(); err != nil {
			return
		}
		status := s.node.Status()
		d.Executed = status.Executed
		d.Idle = status.Pending == 0 && status.Executed.Equal(status.Tops)
		hash := sha256.New()
		var length [8]byte
		add := func(b []byte) {
			binary.BigEndian.PutUint64(length[:], uint64(len(b)))
			hash.Write(length[:])
			hash.Write(b)
		}
		err = s.store.Scan(nil, nil, func(key, value []byte) error {
			add(key)
			add(value)
			return nil
		})
		hash.Sum(d.State[:0])
	})
	return d, err
}
