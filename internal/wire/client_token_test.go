package wire

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/264bc8cf/epaxos/epaxos"
)

var tokenCodec = codec[Token]{
	name: "token", fixed: true,
	samples: []sample[Token]{
		{"nothing", Token{}},
		{"some", Token{Epoch: 3, Deps: epaxos.Dependencies{0, 300, 70000}}},
	},
	generate: func(t *rapid.T) Token {
		return Token{Epoch: epaxos.Epoch(drawNumber(t, 0, math.MaxUint32)), Deps: drawDependencies(t)}
	},
	encode: func(dst []byte, token Token) []byte { return AppendToken(dst, &token) }, decode: DecodeToken,
}

func TestToken(t *testing.T)       { tokenCodec.test(t) }
func FuzzDecodeToken(f *testing.F) { tokenCodec.fuzz(f) }

func TestTheLargestTokenFits(t *testing.T) {
	token := Token{Epoch: math.MaxUint32, Deps: make(epaxos.Dependencies, epaxos.VotersMax)}
	for i := range token.Deps {
		token.Deps[i] = math.MaxUint64
	}
	if size := len(AppendToken(nil, &token)); size > TokenMax {
		t.Errorf("%d bytes, but at most %d are read", size, TokenMax)
	}
}

func TestRaiseToken(t *testing.T) {
	token := func(epoch epaxos.Epoch, slots ...epaxos.Slot) Token { return Token{Epoch: epoch, Deps: slots} }
	for _, c := range []struct{ a, b, want Token }{
		{Token{}, token(1, 2, 3), token(1, 2, 3)},
		{token(1, 2, 3), Token{}, token(1, 2, 3)},
		{token(1, 5, 3), token(1, 2, 7), token(1, 5, 7)},
		{token(1, 5, 3), token(2, 1, 1, 1), token(2, 1, 1, 1)},
		{token(2, 1, 1, 1), token(1, 5, 3), token(2, 1, 1, 1)},
		{token(1, 5, 3), token(1, 9), token(1, 5, 3)}, // nonsense from a replica is left alone
	} {
		if c.a.Raise(c.b); !reflect.DeepEqual(c.a, c.want) {
			t.Errorf("got %v, want %v", c.a, c.want)
		}
	}
}
