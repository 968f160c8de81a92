package wire

import "github.com/264bc8cf/epaxos/epaxos"

const (
	recordFields = 8
	recordMin    = 1 + instanceIDMin + recordFields - 1
)

// AppendRecord appends what must outlive a crash of one instance, one element of a Group.
func AppendRecord(dst []byte, r *epaxos.Record) []byte {
	e := appendTo(dst)
	e.record(r)
	return e.done()
}

func (e *encoder) record(r *epaxos.Record) {
	e.array(recordFields)
	e.instance(r.ID)
	e.uint(uint64(r.Phase))
	e.ballot(r.Promised)
	e.ballot(r.Accepted)
	e.bool(r.NoOp)
	e.command(r.Command)
	e.dependencies(r.Initial)
	e.dependencies(r.Deps)
}

func (d *decoder) record() epaxos.Record {
	extra := d.fields("record", recordFields)
	r := epaxos.Record{
		ID:       d.instance("record id"),
		Phase:    d.phase("phase"),
		Promised: d.ballot("promised"),
		Accepted: d.ballot("accepted"),
		NoOp:     d.bool("no-op"),
		Command:  d.commandOrNone("command"),
		Initial:  d.dependencies("initial"),
		Deps:     d.dependencies("deps"),
	}
	d.skip(extra)
	return r
}
