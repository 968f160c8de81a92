package epaxos_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
)

// The commands of scripts. Several of them may form one block, with one answer. "R" is a replica such as
// r1, "R,R" several, or all; "ID" an instance such as 1.2, the second that r1 leads. A message is chosen by
// its type, its two ends and, where that is not enough, its instance and ballot.
//
//	cluster n=5 f=2 e=2 [perkey= window= queue= gather= pack=]  replicas r1 to r5 start, with these limits
//	propose R FOOTPRINT [FOOTPRINT...]      a client's requests, in one turn; "w:x", "r:x,w:y,w:@session", "everything"
//	cancel R N                              request number N is taken back
//	deliver [one] TYPE R->R,R [ID] [@B]     messages arrive; all that match, or the oldest one
//	ask TYPE R->R,R [ID] [@B]               requests arrive, and the answers to them
//	drop [one] TYPE R->R,R [ID] [@B]        messages are lost
//	dup TYPE R->R,R [ID] [@B]               the network makes copies
//	try COMMAND                             if it is possible: what a faulty core would have made possible
//	sees R,R                                whatever is under way among them arrives, and what that causes
//	silence                                 everything under way is lost
//	wire                                    shows what is under way
//	kill R,R   start R,R                    replicas crash, and lose what they had not synced; they restart
//	suspect R->R,R   trust R->R,R           the first believes that the others are dead, or alive
//	wait DURATION [R,R]                     time passes, at all replicas or at these
//	recover R ID                            R begins a new attempt to decide it, as it would in due time
//	state R ID                              what the disk of R holds
//	status [R,R]                            how far replicas are
//	show gossip                             from now on; it is noise in most stories
//	heal [without R,R]                      the faults end, but for these dead; everything becomes decided,
//	                                        which the answer lists
var commands = map[string]func(*script, []string) error{
	"cluster": (*script).cluster, "propose": (*script).proposeAt, "cancel": (*script).cancel,
	"deliver": (*script).deliver, "ask": (*script).ask, "drop": (*script).drop, "dup": (*script).dup,
	"sees": (*script).seesAmong, "silence": (*script).silence, "wire": (*script).showWire,
	"kill": (*script).killAll, "start": (*script).startAll,
	"suspect": (*script).suspectAll, "trust": (*script).trustAll, "wait": (*script).waitFor,
	"recover": (*script).recoverAt, "state": (*script).state, "status": (*script).statusOf,
	"show": (*script).show, "heal": (*script).healWithout,
}

// carryOut does what one line says. An error tells why that is impossible.
func (s *script) carryOut(line string) error {
	words := strings.Fields(line)
	if words[0] == "try" && len(words) > 1 {
		if err := s.carryOut(strings.Join(words[1:], " ")); err != nil {
			s.note("impossible: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return nil
	}
	command := commands[words[0]]
	if command == nil {
		return unknownCommand(words[0])
	}
	defer s.count()
	if words[0] != "cluster" {
		if s.player == nil {
			return errors.New("a script begins with cluster")
		}
		s.healed = false
	}
	return command(s, words[1:])
}

// count adds the branches that a command has taken.
func (s *script) count() {
	if s.player != nil {
		s.taken.Add(&s.branches)
		s.branches = epaxos.Branches{}
	}
}

func (s *script) cluster(args []string) error {
	if s.player != nil && !s.healed {
		return errors.New("heal the cluster before there is another")
	}
	limits := epaxos.DefaultLimits()
	limits.InFlightPerKey = 8
	var n, f, e int
	settings := map[string]*int{
		"n": &n, "f": &f, "e": &e, "window": &limits.InFlight, "perkey": &limits.InFlightPerKey,
		"queue": &limits.Queue, "gather": &limits.Gather, "pack": &limits.Pack,
	}
	for _, arg := range args {
		name, text, _ := strings.Cut(arg, "=")
		value, err := strconv.Atoi(text)
		if err != nil || settings[name] == nil {
			return fmt.Errorf("no such setting: %s", arg)
		}
		*settings[name] = value
	}
	m := shape{n, f, e}.membership()
	if err := m.Validate(); err != nil {
		return err
	}
	s.player = newPlayer(m, limits)
	rules := "optimised"
	if m.Baseline() {
		rules = "baseline"
	}
	s.note("slow quorum %d, fast quorum %d, %s rules", m.SlowQuorum(), m.FastQuorum(), rules)
	return nil
}

func (s *script) proposeAt(args []string) error {
	if len(args) < 2 {
		return errors.New("want a replica and footprints")
	}
	at, err := s.replica(args[0])
	if err != nil {
		return err
	}
	var footprints []epaxos.Footprint
	for _, text := range args[1:] {
		f, err := footprintOf(text)
		if err != nil {
			return err
		}
		footprints = append(footprints, f)
	}
	s.propose(at, footprints...)
	return nil
}

func (s *script) cancel(args []string) error {
	at, err := s.replica(args[0])
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if s.at(at).Cancel(epaxos.ProposalID(number)) {
		s.note("r%d takes request %d back", at, number)
	} else {
		s.note("r%d cannot take request %d back", at, number)
	}
	return nil
}

func (s *script) deliver(args []string) error {
	return s.each(args, func(e epaxos.Envelope) error { s.step(e); return nil })
}

func (s *script) drop(args []string) error {
	return s.each(args, func(epaxos.Envelope) error { return nil })
}

func (s *script) dup(args []string) error {
	return s.each(args, func(e epaxos.Envelope) error { s.wire = append(s.wire, e, e); return nil })
}

func (s *script) ask(args []string) error {
	return s.each(args, func(e epaxos.Envelope) error {
		s.step(e)
		f := filter{kind: kindName(e.Message) + "Reply", from: e.To, to: e.From, id: epaxos.InstanceOf(e.Message)}
		replies := s.take(f)
		if len(replies) == 0 {
			return fmt.Errorf("r%d does not answer with %s", e.To, f.kind)
		}
		for _, reply := range replies {
			s.step(reply)
		}
		return nil
	})
}

// each takes the chosen messages from the wire, receiver by receiver, and does something with them.
func (s *script) each(args []string, do func(epaxos.Envelope) error) error {
	f, receivers, err := s.choice(args)
	if err != nil {
		return err
	}
	var failed error
	for _, f.to = range receivers {
		chosen := s.take(f)
		if len(chosen) == 0 {
			failed = errors.Join(failed, fmt.Errorf("no %s from r%d to r%d is under way", f.kind, f.from, f.to))
		}
		for _, e := range chosen {
			failed = errors.Join(failed, do(e))
		}
	}
	return failed
}

func (s *script) seesAmong(args []string) error {
	among, err := s.replicas(args)
	if err == nil {
		s.sees(among...)
	}
	return err
}

func (s *script) silence([]string) error {
	s.wire = nil
	return nil
}

func (s *script) showWire([]string) error {
	for _, e := range s.wire {
		if _, gossip := e.Message.(epaxos.Gossip); !gossip || s.gossip {
			s.note("%s", s.members.FormatEnvelope(e))
		}
	}
	return nil
}

func (s *script) killAll(args []string) error {
	return s.forEach(args, func(id epaxos.ReplicaID) error {
		if !s.alive(id) {
			return fmt.Errorf("r%d is down already", id)
		}
		s.kill(id)
		return nil
	})
}

func (s *script) startAll(args []string) error {
	return s.forEach(args, func(id epaxos.ReplicaID) error {
		if s.alive(id) {
			return fmt.Errorf("r%d is up already", id)
		}
		s.start(id)
		return nil
	})
}

func (s *script) forEach(args []string, do func(epaxos.ReplicaID) error) error {
	ids, err := s.replicas(args)
	for _, id := range ids {
		err = errors.Join(err, do(id))
	}
	return err
}

func (s *script) suspectAll(args []string) error { return s.believe(args, true) }
func (s *script) trustAll(args []string) error   { return s.believe(args, false) }

func (s *script) believe(args []string, dead bool) error {
	if len(args) != 1 {
		return errors.New("want R->R,R")
	}
	at, whom, err := s.arrow(args[0])
	for _, id := range whom {
		s.suspect(at, id, dead)
	}
	return err
}

func (s *script) waitFor(args []string) error {
	if len(args) == 0 {
		return errors.New("want a duration")
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	at := s.members.Voters
	if len(args) > 1 {
		if at, err = s.replicas(args[1:]); err != nil {
			return err
		}
	}
	s.wait(d, at...)
	return nil
}

func (s *script) recoverAt(args []string) error {
	at, id, err := s.replicaAndInstance(args)
	if err != nil {
		return err
	}
	if !s.alive(at) || !s.recover(at, id) {
		return fmt.Errorf("r%d does not recover %v", at, id)
	}
	return nil
}

func (s *script) state(args []string) error {
	at, id, err := s.replicaAndInstance(args)
	if err != nil {
		return err
	}
	record, known := s.at(at).disk.state[id]
	if !known {
		s.note("r%d holds nothing of %v", at, id)
		return nil
	}
	s.note("%s", strings.Replace(s.members.FormatRecord(at, record), " save ", " holds ", 1))
	return nil
}

func (s *script) statusOf(args []string) error {
	if len(args) == 0 {
		args = []string{"all"}
	}
	return s.forEach(args, func(id epaxos.ReplicaID) error {
		s.note("%s", s.status(id))
		return nil
	})
}

func (s *script) show(args []string) error {
	if len(args) != 1 || args[0] != "gossip" {
		return errors.New("only gossip can be shown")
	}
	s.gossip = true
	return nil
}

func (s *script) healWithout(args []string) error {
	var dead []epaxos.ReplicaID
	if len(args) > 0 {
		var err error
		if dead, err = s.replicas(args[1:]); err != nil || args[0] != "without" {
			return errors.New("want heal, or heal without R,R")
		}
	}
	if len(dead) > s.members.F {
		return fmt.Errorf("more than f=%d are dead", s.members.F)
	}
	s.heal(dead...)
	return nil
}

// filter chooses messages on the wire.
type filter struct {
	kind     string
	from, to epaxos.ReplicaID
	id       epaxos.InstanceID // any, if zero
	ballot   string            // any, if empty
	one      bool              // the oldest only
}

func (p *player) choice(args []string) (f filter, receivers []epaxos.ReplicaID, err error) {
	if len(args) > 0 && args[0] == "one" {
		f.one, args = true, args[1:]
	}
	if len(args) < 2 {
		return f, nil, errors.New("want a type and R->R,R")
	}
	f.kind = args[0]
	if f.from, receivers, err = p.arrow(args[1]); err != nil {
		return f, nil, err
	}
	for _, arg := range args[2:] {
		if text, ballot := strings.CutPrefix(arg, "@"); ballot {
			f.ballot = text
		} else if f.id, err = instanceOf(arg); err != nil {
			return f, nil, err
		}
	}
	return f, receivers, nil
}

func kindName(m epaxos.Message) string { return strings.TrimPrefix(fmt.Sprintf("%T", m), "epaxos.") }

func (f filter) matches(e epaxos.Envelope) bool {
	return kindName(e.Message) == f.kind && e.From == f.from && (f.to == 0 || e.To == f.to) &&
		(f.id.IsZero() || epaxos.InstanceOf(e.Message) == f.id) &&
		(f.ballot == "" || ballotOf(e.Message) == f.ballot)
}

func ballotOf(m epaxos.Message) string {
	switch m := m.(type) {
	case epaxos.Accept:
		return m.Ballot.String()
	case epaxos.AcceptReply:
		return m.Ballot.String()
	case epaxos.Commit:
		return m.Ballot.String()
	case epaxos.Recover:
		return m.Ballot.String()
	case epaxos.RecoverReply:
		return m.Ballot.String()
	case epaxos.Validate:
		return m.Ballot.String()
	case epaxos.ValidateReply:
		return m.Ballot.String()
	default:
		return ""
	}
}

// take removes the chosen messages from the wire.
func (p *player) take(f filter) []epaxos.Envelope {
	var taken []epaxos.Envelope
	p.wire = slices.DeleteFunc(p.wire, func(e epaxos.Envelope) bool {
		match := f.matches(e) && !(f.one && len(taken) > 0)
		if match {
			taken = append(taken, e)
		}
		return match
	})
	return taken
}

// replica parses "r1".
func (p *player) replica(text string) (epaxos.ReplicaID, error) {
	number, err := strconv.Atoi(strings.TrimPrefix(text, "r"))
	if err != nil || text[0] != 'r' || number < 1 || number > p.members.N() {
		return 0, fmt.Errorf("no replica %q", text)
	}
	return epaxos.ReplicaID(number), nil
}

// replicas parses "r1,r2" or "all".
func (p *player) replicas(args []string) ([]epaxos.ReplicaID, error) {
	if len(args) != 1 {
		return nil, errors.New("want replicas")
	}
	if args[0] == "all" {
		return p.members.Voters, nil
	}
	var ids []epaxos.ReplicaID
	for _, text := range strings.Split(args[0], ",") {
		id, err := p.replica(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// arrow parses "r1->r2,r3"; "r1->all" is to all others.
func (p *player) arrow(text string) (from epaxos.ReplicaID, to []epaxos.ReplicaID, err error) {
	left, right, _ := strings.Cut(text, "->")
	if from, err = p.replica(left); err != nil {
		return 0, nil, err
	}
	to, err = p.replicas([]string{right})
	if right == "all" {
		to = slices.DeleteFunc(slices.Clone(to), func(id epaxos.ReplicaID) bool { return id == from })
	}
	return from, to, err
}

func (p *player) replicaAndInstance(args []string) (at epaxos.ReplicaID, id epaxos.InstanceID, err error) {
	if len(args) != 2 {
		return 0, id, errors.New("want a replica and an instance")
	}
	if at, err = p.replica(args[0]); err != nil {
		return 0, id, err
	}
	id, err = instanceOf(args[1])
	return at, id, err
}

// instanceOf parses "1.2".
func instanceOf(text string) (epaxos.InstanceID, error) {
	id := epaxos.InstanceID{Epoch: 1}
	if n, err := fmt.Sscanf(text, "%d.%d", &id.Replica, &id.Slot); n != 2 || err != nil {
		return id, fmt.Errorf("no instance %q", text)
	}
	return id, nil
}

// footprintOf parses what Command.String prints.
func footprintOf(text string) (epaxos.Footprint, error) {
	var f epaxos.Footprint
	for text != "" {
		var entry string
		end := strings.IndexByte(text, ',')
		if bracket := strings.IndexByte(text, '['); bracket >= 0 && bracket < end {
			end = strings.IndexByte(text, ')') + 1
		}
		if end <= 0 || end >= len(text) {
			entry, text = text, ""
		} else {
			entry, text = text[:end], text[end+1:]
		}
		access, err := accessOf(entry)
		if err != nil {
			return nil, err
		}
		f = append(f, access)
	}
	return f, nil
}

func accessOf(text string) (epaxos.Access, error) {
	if text == "everything" {
		return epaxos.Access{Mode: epaxos.Everything}, nil
	}
	mode, key, _ := strings.Cut(text, ":")
	a := epaxos.Access{Key: key}
	switch mode {
	case "r":
		a.Mode = epaxos.Read
	case "w":
		a.Mode = epaxos.Write
	case "a":
		a.Mode = epaxos.Add
	default:
		return a, fmt.Errorf("no access %q", text)
	}
	if strings.HasPrefix(key, "@") {
		a.Space = epaxos.SpaceSession
	}
	if inner, ranged := strings.CutPrefix(key, "["); ranged {
		a.Range = true
		a.Key, a.End, _ = strings.Cut(strings.TrimSuffix(inner, ")"), ",")
	}
	return a, nil
}
