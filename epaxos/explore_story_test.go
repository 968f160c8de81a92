package epaxos_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
)

// teller repeats a schedule that the explorer has found on replicas of its own, and writes it down twice: as
// a script in the language of testdata (see commands_test.go), and as the trace of what it causes.
type teller struct {
	x       exploration
	members epaxos.Membership
	cast    []*replayer
	wire    []epaxos.Envelope
	script  []scriptLine
	trace   []string
}

// scriptLine is a line of the script; before it the network makes so many copies of the message that it is about.
type scriptLine struct {
	text   string
	whole  string // the message
	copies int
}

func (l *scriptLine) String() string {
	about := strings.TrimPrefix(l.text, deliverOne)
	return strings.Repeat("dup "+about+"\n  ", l.copies) + l.text
}

const deliverOne = "deliver one "

func tell(x *exploration, schedule []input) string {
	t := &teller{x: *x, members: x.shape.membership()}
	t.x.plain = true // every message as it is sent
	for column := range t.members.Voters {
		t.cast = append(t.cast, newReplayer(&t.x, column))
	}
	t.line("cluster n=%d f=%d e=%d", x.shape.n, x.shape.f, x.shape.e)
	for i := range schedule {
		t.happen(&schedule[i])
	}
	text := "as a script:\n"
	for i := range t.script {
		text += "  " + t.script[i].String() + "\n"
	}
	return text + "  ----\nwhat happens:\n  " + strings.Join(t.trace, "\n  ")
}

func (t *teller) line(format string, args ...any) {
	t.script = append(t.script, scriptLine{text: fmt.Sprintf(format, args...)})
}

func (t *teller) happen(in *input) {
	at := t.members.Voters[in.at]
	switch in.kind {
	case inMessage:
		t.arrive(in)
		return
	case inPropose:
		t.line("propose r%d w:x", at)
	case inRecover:
		t.line("recover r%d %v", at, in.id)
	case inHurry:
		t.line("wait 100ms r%d", at)
	case inCrash:
		t.line("kill r%d", at)
		t.line("start r%d", at)
		t.trace = append(t.trace, fmt.Sprintf("r%d crashes, %d unsynced records survive, and restarts", at, in.kept))
	}
	t.take(in)
}

func (t *teller) take(in *input) {
	p := t.cast[in.at]
	p.take(in)
	for _, r := range p.records {
		t.trace = append(t.trace, t.members.FormatRecord(t.members.Voters[in.at], r))
	}
	for _, e := range p.sent {
		t.trace = append(t.trace, t.members.FormatEnvelope(e))
	}
	t.wire = append(t.wire, p.sent...)
}

// arrive delivers a message. The explorer takes short cuts with decisions: it gives a Commit its command,
// whoever sends it, and has requests answered at once. Where it did, what really leads there is done first.
func (t *teller) arrive(in *input) {
	for range 3 {
		if e, found := t.find(in); found {
			t.deliver(e)
			return
		}
		detour := slices.IndexFunc(t.wire, func(e epaxos.Envelope) bool { return t.leadsTo(e, in) })
		if detour < 0 {
			break
		}
		t.deliver(t.wire[detour])
	}
	t.line("# not under way: %s", t.members.FormatEnvelope(in.envelope))
}

func (t *teller) find(in *input) (epaxos.Envelope, bool) {
	want := t.members.FormatMessage(in.envelope.Message)
	_, decision := in.envelope.Message.(epaxos.Commit)
	for _, e := range t.wire {
		if e.To != in.envelope.To || !decision && e.From != in.envelope.From {
			continue
		}
		m := e.Message
		if c, commit := m.(epaxos.Commit); commit && c.Value.Kind == epaxos.Known && t.knows(in.at, c.ID) {
			c.Value = epaxos.Value{Kind: epaxos.Full, Command: t.cast[in.at].disk.state[c.ID].Command}
			m = c
		}
		if t.members.FormatMessage(m) == want {
			return e, true
		}
	}
	return epaxos.Envelope{}, false
}

func (t *teller) knows(column int, id epaxos.InstanceID) bool {
	return t.cast[column].disk.state[id].Command != nil
}

// leadsTo reports whether a message makes somebody send the Commit.
func (t *teller) leadsTo(e epaxos.Envelope, in *input) bool {
	if _, decision := in.envelope.Message.(epaxos.Commit); !decision {
		return false
	}
	to, _ := t.members.Column(e.To)
	switch m := e.Message.(type) {
	case epaxos.Commit:
		return m.ID == in.id && e.To == in.envelope.To && m.Value.Kind == epaxos.Known
	case epaxos.Fetch:
		return e.From == in.envelope.To && m.IDs[0] == in.id
	case epaxos.PreAccept, epaxos.Accept, epaxos.Recover, epaxos.Validate:
		return e.From == in.envelope.To && epaxos.InstanceOf(m) == in.id && t.cast[to].replica.CommittedHere(in.id)
	}
	return false
}

// deliver hands over a message, which stays for the case that it has to arrive again.
func (t *teller) deliver(e epaxos.Envelope) {
	about := fmt.Sprintf("%s r%d->r%d", kindName(e.Message), e.From, e.To)
	if id := epaxos.InstanceOf(e.Message); !id.IsZero() {
		about += " " + id.String()
	}
	whole := t.members.FormatEnvelope(e)
	if before := slices.IndexFunc(t.script, func(l scriptLine) bool { return l.whole == whole }); before >= 0 {
		t.script[before].copies++
	}
	t.script = append(t.script, scriptLine{text: deliverOne + about, whole: whole})
	to, _ := t.members.Column(e.To)
	t.take(&input{kind: inMessage, at: to, envelope: e})
}
