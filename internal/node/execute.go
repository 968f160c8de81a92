package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/264bc8cf/epaxos/execution"
	"github.com/264bc8cf/epaxos/internal/wire"
)

// Execute applies what was committed, as far as its dependencies are known, and returns the answers
// to proposals of this replica. It follows a Save that returned no error. An error is final.
func (n *Node) Execute(now time.Duration) ([]Answer, error) {
	n.advance(now)
	if n.fault != nil {
		return nil, n.fault
	}
	if n.noRoom != nil {
		return n.VoidWatches(), nil // the decisions may rely on records that are not saved yet
	}
	if n.core == nil {
		answers, err := n.serveReads(nil)
		if err != nil {
			return answers, err
		}
		return n.takeIn(answers)
	}
	var answers []Answer
	n.hand()
	for n.next == nil {
		component := n.orderer.Next()
		if component == nil {
			break
		}
		var err error
		if answers, err = n.execute(component, answers); err != nil {
			return answers, err
		}
		if n.noRoom != nil {
			n.stamp(answers)
			return answers, nil
		}
	}
	if n.next != nil {
		if !n.admitted { // then nothing may be written but a whole state that has come (rules S8 and M10)
			return n.takeIn(answers)
		}
		return n.endEpoch(answers)
	}
	n.mark()
	if err := n.keepBooks(); err != nil {
		n.fault = err
		return answers, err
	}
	answers, err := n.serveReads(answers)
	if err == nil {
		answers, err = n.serveWatches(answers)
	}
	if err != nil {
		return answers, err
	}
	n.stamp(answers)
	return n.takeIn(answers)
}

// execute carries out one component, up to the Reconfigure if one in it is accepted.
func (n *Node) execute(component []execution.Vertex, answers []Answer) ([]Answer, error) {
	first := len(answers)
	for i, vertex := range component {
		results, err := n.apply(&component[i])
		if err != nil {
			n.fault = fmt.Errorf("execute %v: %w", vertex.ID, err)
			return nil, n.fault
		}
		n.watches.Executed(vertex.ID.Replica, vertex.ID.Slot, n.state.TakeChanges())
		if err := n.hearSessions(&component[i]); err != nil {
			n.fault = err
			return nil, err
		}
		answers = n.answer(&component[i], results, answers)
		if n.next != nil {
			n.cutOff(component[i+1:])
			return answers, nil
		}
	}
	n.mark()
	if !n.admitted {
		n.cuts.refuseOwed(errCutStart) // it cannot be saved yet
		return answers, nil
	}
	cut := len(n.cuts.owed) > 0 || slices.ContainsFunc(answers[first:], func(a Answer) bool { return a.barrier })
	if cut || n.state.PendingBytes() >= writeBackBytes {
		if err := n.flush(true); err != nil {
			return answers, n.settle(err)
		}
	}
	if cut {
		n.pin(answers[first:])
	}
	return answers, nil
}

// apply carries out the requests of one command.
func (n *Node) apply(v *execution.Vertex) ([]execution.Result, error) {
	if !v.Command.Footprint.Controls() {
		return n.state.Perform(n.config.Machine, v)
	}
	results := make([]execution.Result, len(v.Command.Requests))
	for i := range v.Command.Requests {
		results[i].Value = n.control(v, v.Command.Requests[i].Payload)
	}
	return results, nil
}

// hand gives the decisions of the turn to the executor.
func (n *Node) hand() {
	p := &n.pending
	for _, l := range p.Learned {
		n.orderer.Learn(l.ID, l.Command)
	}
	for _, d := range p.Committed {
		n.orderer.Commit(d.ID, d.Command, d.Deps)
	}
	for _, l := range p.Led {
		n.led[l.ID] = l
	}
	p.Learned, p.Committed, p.Led = nil, nil, nil
}

func (n *Node) answer(v *execution.Vertex, results []execution.Result, answers []Answer) []Answer {
	led, here := n.led[v.ID]
	if !here {
		return answers
	}
	delete(n.led, v.ID)
	controls := v.Command.Footprint.Controls() && !v.Command.Footprint.EndsEpoch()
	for i, proposal := range led.Proposals {
		if proposal&ownProposal != 0 {
			continue
		}
		barrier := controls && controlKind(&v.Command.Requests[i]) == wire.ControlBarrier
		answers = append(answers, Answer{
			Proposal: proposal, Result: results[i].Value, Verdict: results[i].Verdict, Fast: led.Fast, barrier: barrier,
		})
	}
	return answers
}

// mark notes what was executed, for the next group and for the windows of the core.
func (n *Node) mark() {
	executed := n.orderer.TakeExecuted()
	if len(executed) == 0 {
		return
	}
	n.tellExecuted(executed)
	n.unsaved.executed = append(n.unsaved.executed, executed...)
	n.unsaved.touch(n.now)
	n.core.Executed(n.now, executed)
}
