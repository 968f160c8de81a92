package server

import (
	"errors"
	"fmt"
	"time"
)

// run is the goroutine that owns the node.
func (s *Server) run() {
	timer := time.NewTimer(s.config.Timing.Tick)
	defer timer.Stop()
	var taken inputs
	resting := false
	for {
		ticked := false
		select {
		case mode := <-s.stop:
			s.finish(nil, mode)
			return
		case <-timer.C:
			ticked = true
		case <-s.inbox.signal:
		}
		taken = s.inbox.take(taken)
		if err := s.turn(taken, ticked); err != nil {
			s.log.Error("the replica stops", "error", err)
			s.finish(err, stopAbrupt)
			return
		}
		quiet := s.node.Quiet()
		switch {
		case ticked && quiet:
			timer.Reset(restTicks * s.config.Timing.Tick)
		case ticked, resting && !quiet:
			timer.Reset(s.config.Timing.Tick)
		default:
			continue
		}
		resting = quiet
	}
}

// restTicks is how many times rarer a replica looks around while it has nothing to do.
const restTicks = 50

// turn steps through the inputs and flushes once; what execution sets free is proposed in turns
// that follow at once.
func (s *Server) turn(in inputs, ticked bool) error {
	now := s.now()
	for _, f := range in.asks {
		f()
	}
	if s.fault != nil {
		return s.fault
	}
	for i := range in.frames {
		f := &in.frames[i]
		s.node.Deliver(now, f.from, f.header, f.messages)
	}
	for _, c := range in.calls {
		s.propose(now, c)
	}
	if ticked {
		s.suspect(now)
		s.node.Tick(now)
		s.calls.expire(time.Now(), s.takeBack)
		s.refreshStatus(now)
		if err := s.checkRemoved(now); err != nil {
			return err
		}
	}
	for {
		messages, err := s.node.Save(now)
		if err != nil {
			return err
		}
		s.out.send(messages)
		answers, err := s.node.Execute(now)
		s.calls.answer(answers, s.store.Unpin)
		if err != nil {
			return err
		}
		s.follow(now)
		if !s.node.Busy() || s.node.NoRoom() != nil {
			return nil
		}
		now = s.now()
	}
}

// now is the time the node sees: monotonic, since the replica started.
func (s *Server) now() time.Duration { return time.Since(s.started) }

func (s *Server) propose(now time.Duration, c *call) {
	s.calls.add(c)
	switch {
	case c.read != nil:
		s.read(now, c)
		return
	case c.poll != nil:
		s.watch(now, c)
		return
	}
	err := error(nil)
	if c.session {
		c.footprint, err = s.node.SessionFootprint(&c.request)
	}
	if err == nil {
		err = s.node.Propose(now, c.id, c.request, c.footprint)
	}
	if err != nil {
		s.calls.refuse(c.id, err)
	}
}

// suspect passes on what the heartbeats say. A peer that was never heard is not suspected before
// it had the time to be.
func (s *Server) suspect(now time.Duration) {
	if s.out.host == nil {
		return
	}
	for _, p := range s.followed.peers {
		if now-p.since >= s.config.Timing.Suspect {
			s.node.Suspect(now, p.id, s.out.host.Suspected(p.id))
		}
	}
}

// finish ends the goroutine. After a fault nothing is written any more.
func (s *Server) finish(fault error, mode stopMode) {
	if mode == stopClean {
		if err := s.node.Flush(); err != nil {
			fault = fmt.Errorf("save at the end: %w", err)
		}
	}
	s.snapshots.close()
	if err := s.store.Close(); err != nil && mode == stopClean {
		fault = errors.Join(fault, fmt.Errorf("close the store: %w", err))
	}
	s.err = s.condemn(fault)
	left := s.inbox.close()
	for _, f := range left.asks {
		f()
	}
	stopped := errors.Join(ErrStopped, s.err)
	for _, c := range left.calls {
		c.done(Reply{Outcome: NotApplied}, stopped)
	}
	s.calls.abandon(stopped)
	close(s.done)
}
