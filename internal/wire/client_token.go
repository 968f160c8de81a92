package wire

import (
	"math"

	"github.com/264bc8cf/epaxos/epaxos"
)

// Token names what a client has seen (docs/protocol.md, Q4): everything up to Deps in Epoch, and all of the
// epochs before. The zero token names nothing.
type Token struct {
	Epoch epaxos.Epoch
	Deps  epaxos.Dependencies
}

// Raise makes the token name what other names too. It takes over the slots of other where it can.
func (t *Token) Raise(other Token) {
	switch {
	case other.Epoch > t.Epoch:
		*t = other
	case other.Epoch == t.Epoch && len(other.Deps) == len(t.Deps):
		t.Deps.Raise(other.Deps)
	}
}

// AppendToken appends [epoch, [slots...]].
func AppendToken(dst []byte, t *Token) []byte {
	e := appendTo(dst)
	e.array(2)
	e.uint(uint64(t.Epoch))
	e.dependencies(t.Deps)
	return e.done()
}

// DecodeToken reads what AppendToken wrote.
func DecodeToken(body []byte) (Token, error) {
	return decode("Token", body, func(d *decoder) Token {
		d.exactly("token", 2)
		return Token{
			Epoch: epaxos.Epoch(d.uint("epoch", 0, math.MaxUint32)), Deps: d.dependencies("slots"),
		}
	})
}
