package node

import (
	"fmt"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Execute applies what was committed, as far as its dependencies are known, and returns the answers
// to proposals of this replica. It follows a Save that returned no error. An error is final.
func (n *Node) Execute(now time.Duration) ([]Answer, error) {
	n.advance(now)
	if n.fault != nil {
		return nil, n.fault
	}
	if n.noRoom != nil {
		return nil, nil // the decisions may rely on records that are not saved yet
	}
	n.hand()
	var answers []Answer
	for component := n.config.Orderer.Next(); component != nil; component = n.config.Orderer.Next() {
		for _, vertex := range component {
			results, err := n.state.Apply(n.config.Machine, vertex.Command)
			if err != nil {
				n.fault = fmt.Errorf("execute %v: %w", vertex.ID, err)
				return nil, n.fault
			}
			answers = n.answer(vertex.ID, results, answers)
		}
		n.mark()
		if n.admitted && n.state.PendingBytes() >= writeBackBytes {
			if err := n.flush(true); err != nil {
				return answers, n.settle(err)
			}
		}
	}
	n.mark()
	return answers, nil
}

// hand gives the decisions of the turn to the executor.
func (n *Node) hand() {
	p := &n.pending
	for _, l := range p.Learned {
		n.config.Orderer.Learn(l.ID, l.Command)
	}
	for _, d := range p.Committed {
		n.config.Orderer.Commit(d.ID, d.Command, d.Deps)
	}
	for _, l := range p.Led {
		n.led[l.ID] = l
	}
	p.Learned, p.Committed, p.Led = nil, nil, nil
}

func (n *Node) answer(id epaxos.InstanceID, results [][]byte, answers []Answer) []Answer {
	led, here := n.led[id]
	if !here {
		return answers
	}
	delete(n.led, id)
	for i, proposal := range led.Proposals {
		answers = append(answers, Answer{Proposal: proposal, Result: results[i], Fast: led.Fast})
	}
	return answers
}

// mark notes what was executed, for the next group and for the windows of the core.
func (n *Node) mark() {
	executed := n.config.Orderer.TakeExecuted()
	if len(executed) == 0 {
		return
	}
	n.unsaved.executed = append(n.unsaved.executed, executed...)
	n.unsaved.touch(n.now)
	n.config.Core.Executed(n.now, executed)
}
