package epaxos

import (
	"fmt"
	"strings"
)

// The trace is one line for each message and record, in one grammar for tests, logs and bug
// reports:
//
//	r1 -> r2 PreAccept 1.7 deps=[2.3] w:x
//	r2 save 1.7 pre-accepted @0 deps=[2.3] init=[2.3] w:x
//
// "@b" is a ballot; for a record "@promised" or "@promised/accepted" where they differ.

var phaseNames = [...]string{"initial", "pre-accepted", "accepted", "committed"}

// String is the phase's name in the trace.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// FormatEnvelope is the trace line of a message.
func (m Membership) FormatEnvelope(e Envelope) string {
	return fmt.Sprintf("r%d -> r%d %s", e.From, e.To, m.FormatMessage(e.Message))
}

// FormatMessage is the trace form of a message without its ends.
func (m Membership) FormatMessage(message Message) string {
	switch v := message.(type) {
	case PreAccept:
		return fmt.Sprintf("PreAccept %v deps=%s %v", v.ID, m.FormatDeps(v.Initial), v.Command)
	case PreAcceptReply:
		return fmt.Sprintf("PreAcceptReply %v deps=%s", v.ID, m.FormatDeps(v.Deps))
	case Accept:
		return fmt.Sprintf("Accept %v @%v deps=%s %v", v.ID, v.Ballot, m.FormatDeps(v.Deps), v.Value)
	case AcceptReply:
		return fmt.Sprintf("AcceptReply %v @%v", v.ID, v.Ballot)
	case Commit:
		return fmt.Sprintf("Commit %v @%v deps=%s %v", v.ID, v.Ballot, m.FormatDeps(v.Deps), v.Value)
	case Recover:
		return fmt.Sprintf("Recover %v @%v", v.ID, v.Ballot)
	case RecoverReply:
		return fmt.Sprintf("RecoverReply %v @%v %v @%v deps=%s init=%s %v",
			v.ID, v.Ballot, v.Phase, v.Accepted, m.FormatDeps(v.Deps), m.FormatDeps(v.Initial), v.Value)
	case Validate:
		return fmt.Sprintf("Validate %v @%v deps=%s %v", v.ID, v.Ballot, m.FormatDeps(v.Initial), v.Command)
	case ValidateReply:
		return fmt.Sprintf("ValidateReply %v @%v against=%v", v.ID, v.Ballot, v.Conflicts)
	case Waiting:
		return fmt.Sprintf("Waiting %v count=%d", v.ID, v.Count)
	case Refusal:
		return fmt.Sprintf("Refusal %v promised=%v", v.ID, v.Promised)
	case TryRecover:
		return fmt.Sprintf("TryRecover %v", v.IDs)
	case Fetch:
		return fmt.Sprintf("Fetch %v", v.IDs)
	case Gossip:
		return fmt.Sprintf("Gossip executed=%s tops=%s stable=%s",
			m.FormatDeps(v.Executed), m.FormatDeps(v.Tops), m.FormatDeps(v.Stable))
	case Truncated:
		return fmt.Sprintf("Truncated %v", v.ID)
	case ReadQuery:
		return fmt.Sprintf("ReadQuery %d %v", v.Number, v.Footprint)
	case ReadReply:
		return fmt.Sprintf("ReadReply %d deps=%s", v.Number, m.FormatDeps(v.Deps))
	default:
		return fmt.Sprintf("%T", message)
	}
}

// FormatRecord is the trace line of a record saved by a replica.
func (m Membership) FormatRecord(at ReplicaID, record Record) string {
	ballots := record.Promised.String()
	if record.Accepted != record.Promised {
		ballots += "/" + record.Accepted.String()
	}
	line := fmt.Sprintf("r%d save %v %v @%s", at, record.ID, record.Phase, ballots)
	if record.Deps != nil {
		line += " deps=" + m.FormatDeps(record.Deps)
	}
	if record.Initial != nil {
		line += " init=" + m.FormatDeps(record.Initial)
	}
	switch {
	case record.NoOp:
		line += " no-op"
	case record.Command != nil:
		line += " " + record.Command.String()
	}
	return line
}

// FormatDeps is the trace form of a vector: the columns that are not zero, "-" if it is unknown.
func (m Membership) FormatDeps(d Dependencies) string {
	if d == nil {
		return "-"
	}
	var parts []string
	for column, slot := range d {
		if slot > 0 && column < m.N() {
			parts = append(parts, m.ID(column, slot).String())
		}
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// String is "no-op", "known" or the command.
func (v Value) String() string {
	switch v.Kind {
	case NoOp:
		return "no-op"
	case Known:
		return "known"
	case Full:
		return v.Command.String()
	default:
		return "-"
	}
}

// String is the footprint, one mode and key for each access.
func (c *Command) String() string {
	if c == nil {
		return "-"
	}
	parts := make([]string, len(c.Footprint))
	for i, access := range c.Footprint {
		parts[i] = access.String()
	}
	return strings.Join(parts, ",")
}

// String is "w:key", "r:[key,end)" or "everything".
func (a Access) String() string {
	mode := string("?rwa*"[min(a.Mode, Everything)])
	if a.Mode == Everything {
		return "everything"
	}
	if a.Space != SpaceState {
		mode = fmt.Sprintf("%d%s", a.Space, mode)
	}
	if a.Range {
		return fmt.Sprintf("%s:[%s,%s)", mode, printable(a.Key), printable(a.End))
	}
	return mode + ":" + printable(a.Key)
}

func printable(key string) string {
	quoted := fmt.Sprintf("%q", key)
	if quoted == `"`+key+`"` && !strings.ContainsAny(key, " ,") {
		return key
	}
	return quoted
}

// String is the instance, with "!" behind it if it is committed.
func (c Conflict) String() string {
	if c.Committed {
		return c.ID.String() + "!"
	}
	return c.ID.String()
}
