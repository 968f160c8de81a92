package wire

import "github.com/264bc8cf/epaxos/epaxos"

func (e *encoder) accept(m *epaxos.Accept) {
	e.message(TypeAccept, 4)
	e.instance(m.ID)
	e.ballot(m.Ballot)
	e.value(m.Value)
	e.dependencies(m.Deps)
}

func (d *decoder) accept() epaxos.Message {
	return epaxos.Accept{
		ID:     d.instance("id"),
		Ballot: d.ballot("ballot"),
		Value:  d.value("value", epaxos.Full),
		Deps:   d.dependencies("deps"),
	}
}

func (e *encoder) acceptReply(m *epaxos.AcceptReply) {
	e.message(TypeAcceptReply, 2)
	e.instance(m.ID)
	e.ballot(m.Ballot)
}

func (d *decoder) acceptReply() epaxos.Message {
	return epaxos.AcceptReply{ID: d.instance("id"), Ballot: d.ballot("ballot")}
}

func (e *encoder) commit(m *epaxos.Commit) {
	e.message(TypeCommit, 4)
	e.instance(m.ID)
	e.ballot(m.Ballot)
	e.value(m.Value)
	e.dependencies(m.Deps)
}

func (d *decoder) commit() epaxos.Message {
	return epaxos.Commit{
		ID:     d.instance("id"),
		Ballot: d.ballot("ballot"),
		Value:  d.value("value", epaxos.Known),
		Deps:   d.dependencies("deps"),
	}
}
