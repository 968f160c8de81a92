package wire

import "github.com/264bc8cf/epaxos/epaxos"

func (e *encoder) preAccept(m *epaxos.PreAccept) {
	e.message(TypePreAccept, 3)
	e.instance(m.ID)
	e.command(m.Command)
	e.dependencies(m.Initial)
}

func (d *decoder) preAccept() epaxos.Message {
	return epaxos.PreAccept{
		ID:      d.instance("id"),
		Command: d.command("command"),
		Initial: d.dependencies("initial"),
	}
}

func (e *encoder) preAcceptReply(m *epaxos.PreAcceptReply) {
	e.message(TypePreAcceptReply, 2)
	e.instance(m.ID)
	e.dependencies(m.Deps)
}

func (d *decoder) preAcceptReply() epaxos.Message {
	return epaxos.PreAcceptReply{ID: d.instance("id"), Deps: d.dependencies("deps")}
}
