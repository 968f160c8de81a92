package wire

import "github.com/264bc8cf/epaxos/epaxos"

func (e *encoder) fetch(m *epaxos.Fetch) {
	e.message(TypeFetch, 1)
	e.instances(m.IDs)
}

func (d *decoder) fetch() epaxos.Message {
	return epaxos.Fetch{IDs: d.instances("ids")}
}

func (e *encoder) gossip(m *epaxos.Gossip) {
	e.message(TypeGossip, 4)
	e.uint(uint64(m.Epoch))
	e.dependencies(m.Executed)
	e.dependencies(m.Tops)
	e.dependencies(m.Stable)
}

func (d *decoder) gossip() epaxos.Message {
	return epaxos.Gossip{
		Epoch:    d.epoch("epoch"),
		Executed: d.dependencies("executed"),
		Tops:     d.dependencies("tops"),
		Stable:   d.dependencies("stable"),
	}
}

func (e *encoder) truncated(m *epaxos.Truncated) {
	e.message(TypeTruncated, 1)
	e.instance(m.ID)
}

func (d *decoder) truncated() epaxos.Message {
	return epaxos.Truncated{ID: d.instance("id")}
}
