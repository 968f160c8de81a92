package epaxos_test

import (
	"fmt"
	"slices"

	"github.com/264bc8cf/epaxos/epaxos"
)

// catalogue holds all local states, inputs and steps that were met, each once.
type catalogue struct {
	x        *exploration
	members  epaxos.Membership
	inputs   []input
	own      ownInputs
	inputIDs map[string]inputID
	locals   []local
	localIDs map[[16]byte]localID
	steps    []step
	narrowed map[narrowing]localID
	known    map[uint64]int32 // local and input -> index of steps; -1 is impossible
	branches epaxos.Branches  // of all steps: each distinct local step counts once
	broken   string           // the first violation
	culprit  []inputID        // the input of the local step in which it happened, if it did in one
}

func newCatalogue(x *exploration) *catalogue {
	c := &catalogue{
		x: x, members: x.shape.membership(), inputIDs: map[string]inputID{},
		locals: make([]local, 1), localIDs: map[[16]byte]localID{}, known: map[uint64]int32{},
		narrowed: map[narrowing]localID{},
	}
	c.numberInputs()
	return c
}

func (c *catalogue) intern(name string, in input) inputID {
	id, known := c.inputIDs[name]
	if !known {
		if len(c.inputs) == 1<<16-1 {
			panic("more inputs than an explorer can number")
		}
		id = inputID(len(c.inputs))
		c.inputs = append(c.inputs, in)
		c.inputIDs[name] = id
	}
	return id
}

// ownInputs numbers the inputs that are no messages, so that the search need not look for them.
type ownInputs struct {
	propose, hurry []inputID   // by command
	recover        [][]inputID // by column, command
	crash          [][]inputID // by column, records kept
}

// keptMax bounds how many records can wait for a sync, all commands being decided.
const keptMax = 8

func (c *catalogue) numberInputs() {
	for command, leader := range c.x.leaders {
		id := c.x.instance(command)
		at, _ := c.members.Column(leader)
		name := fmt.Sprint(command)
		c.own.propose = append(c.own.propose, c.intern("propose "+name, input{kind: inPropose, at: at, id: id, command: command}))
		c.own.hurry = append(c.own.hurry, c.intern("hurry "+name, input{kind: inHurry, at: at, id: id}))
	}
	for at := range c.members.Voters {
		var begin, crash []inputID
		for command := range c.x.leaders {
			name := fmt.Sprint("recover ", at, " ", command)
			begin = append(begin, c.intern(name, input{kind: inRecover, at: at, id: c.x.instance(command), command: command}))
		}
		for kept := range keptMax + 1 {
			crash = append(crash, c.intern(fmt.Sprint("crash ", at, " ", kept), input{kind: inCrash, at: at, kept: kept}))
		}
		c.own.recover, c.own.crash = append(c.own.recover, begin), append(c.own.crash, crash)
	}
}

// message numbers a message.
func (c *catalogue) message(e epaxos.Envelope) inputID {
	at, _ := c.members.Column(e.To)
	in := input{kind: inMessage, at: at, envelope: e, subject: len(c.x.leaders)}
	in.from, _ = c.members.Column(e.From)
	id := epaxos.InstanceOf(e.Message)
	name := e
	switch m := e.Message.(type) {
	case epaxos.PreAcceptReply, epaxos.AcceptReply, epaxos.RecoverReply, epaxos.ValidateReply:
		in.reply = true
	case epaxos.PreAccept, epaxos.Accept, epaxos.Recover, epaxos.Validate:
		in.request = true
	case epaxos.Fetch:
		in.request, id = true, m.IDs[0]
	case epaxos.Refusal:
		in.refusal = true
	case epaxos.Commit:
		in.commit = true
		if !c.x.plain {
			name.From = 0
		}
	}
	for command := range c.x.leaders {
		if c.x.instance(command) == id {
			in.subject = command
		}
	}
	in.id = id
	return c.intern(c.members.FormatEnvelope(name), in)
}

// start is the local state of a replica that has never run.
func (c *catalogue) start(column int) localID {
	p := newReplayer(c.x, column)
	return c.keep(p, local{column: column, future: c.x.future(c.x.budget(), uint8(c.x.crashes))})
}

// keep finds or numbers the local state that a replayer is in.
func (c *catalogue) keep(p *replayer, l local) localID {
	firm := uint32(0)
	for command := range c.x.leaders {
		id := c.x.instance(command)
		if p.replica.CommittedHere(id) && (!l.mortal || p.disk.state[id].Phase == epaxos.Committed) {
			firm |= 1 << command
		}
	}
	l.deeds = nil
	for _, d := range p.deeds {
		if c.x.plain || firm>>d.command&1 == 0 {
			l.deeds = append(l.deeds, d)
		}
	}
	digest := p.digest(l.future, l.deeds)
	if id, known := c.localIDs[digest]; known {
		return id
	}
	l.firm = firm
	for command := range c.x.leaders {
		id := c.x.instance(command)
		if p.replica.CommittedHere(id) {
			l.committed |= 1 << command
		}
		if at, _ := c.members.Column(id.Replica); at == l.column {
			if p.replica.Tops()[at] >= id.Slot {
				l.led |= 1 << command
			}
			if p.replica.Impatient(id) {
				l.hasty |= 1 << command
			}
		}
	}
	l.lazy = len(p.disk.lazy)
	id := localID(len(c.locals))
	c.locals = append(c.locals, l)
	c.localIDs[digest] = id
	return id
}

// history are the inputs that lead to a local state.
func (c *catalogue) history(l localID) []inputID {
	var all []inputID
	for ; c.locals[l].parent != 0; l = c.locals[l].parent {
		all = append(all, c.locals[l].by)
	}
	slices.Reverse(all)
	return all
}

func (c *catalogue) replay(l localID) *replayer {
	p := newReplayer(c.x, c.locals[l].column)
	for _, in := range c.history(l) {
		p.take(&c.inputs[in])
	}
	return p
}

// step is what an input does to a local state; nil if it is impossible there.
func (c *catalogue) step(l localID, in inputID) *step {
	key := uint64(l)<<16 | uint64(in)
	at, known := c.known[key]
	if !known {
		at = c.compute(l, in)
		c.known[key] = at
	}
	if at < 0 {
		return nil
	}
	return &c.steps[at]
}

func (c *catalogue) compute(l localID, in inputID) int32 {
	p := c.replay(l)
	before := p.branches()
	if !p.take(&c.inputs[in]) {
		return -1
	}
	for b, after := range p.branches() {
		c.branches[b] += after - before[b]
	}
	if p.broken != "" && c.broken == "" {
		c.broken, c.culprit = p.broken, []inputID{in}
	}
	from := c.locals[l]
	s := step{claims: p.claims}
	s.to = c.keep(p, local{parent: l, by: in, column: from.column, future: from.future})
	for _, e := range p.sent {
		s.sent = append(s.sent, c.message(e))
	}
	slices.Sort(s.sent)
	s.sent = slices.Compact(s.sent)
	s.inert = s.to == l && len(s.sent) == 0
	c.steps = append(c.steps, s)
	return int32(len(c.steps) - 1)
}

// future is what the budgets of a cluster leave to each of its replicas.
func (x *exploration) future(recoveries, crashes uint8) future {
	return future{mortal: crashes > 0, restless: recoveries > 0}
}

// narrow is the same state of a replica with less of a future.
func (c *catalogue) narrow(l localID, f future) localID {
	from := c.locals[l]
	if from.future == f {
		return l
	}
	key := narrowing{l, f}
	if id, known := c.narrowed[key]; known {
		return id
	}
	from.future, from.committed, from.led, from.hasty = f, 0, 0, 0
	id := c.keep(c.replay(l), from)
	c.narrowed[key] = id
	return id
}

type narrowing struct {
	l localID
	f future
}
