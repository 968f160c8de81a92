package wire

import "github.com/264bc8cf/epaxos/epaxos"

func (e *encoder) recover(m *epaxos.Recover) {
	e.message(TypeRecover, 2)
	e.instance(m.ID)
	e.ballot(m.Ballot)
}

func (d *decoder) recover() epaxos.Message {
	return epaxos.Recover{ID: d.instance("id"), Ballot: d.ballot("ballot")}
}

func (e *encoder) recoverReply(m *epaxos.RecoverReply) {
	e.message(TypeRecoverReply, 7)
	e.instance(m.ID)
	e.ballot(m.Ballot)
	e.uint(uint64(m.Phase))
	e.ballot(m.Accepted)
	e.value(m.Value)
	e.dependencies(m.Deps)
	e.dependencies(m.Initial)
}

func (d *decoder) recoverReply() epaxos.Message {
	return epaxos.RecoverReply{
		ID:       d.instance("id"),
		Ballot:   d.ballot("ballot"),
		Phase:    d.phase("phase"),
		Accepted: d.ballot("accepted"),
		Value:    d.valueOrNone("value", epaxos.Full),
		Deps:     d.dependencies("deps"),
		Initial:  d.dependencies("initial"),
	}
}

func (d *decoder) phase(field string) epaxos.Phase {
	return epaxos.Phase(d.uint(field, uint64(epaxos.Initial), uint64(epaxos.Committed)))
}

func (e *encoder) tryRecover(m *epaxos.TryRecover) {
	e.message(TypeTryRecover, 1)
	e.instances(m.IDs)
}

func (d *decoder) tryRecover() epaxos.Message {
	return epaxos.TryRecover{IDs: d.instances("ids")}
}

func (e *encoder) refusal(m *epaxos.Refusal) {
	e.message(TypeRefusal, 2)
	e.instance(m.ID)
	e.ballot(m.Promised)
}

func (d *decoder) refusal() epaxos.Message {
	return epaxos.Refusal{ID: d.instance("id"), Promised: d.ballot("promised")}
}
