package clients

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"github.com/264bc8cf/epaxos/internal/wire"
)

// WatchToken says where a watch is. It is understood by every replica, by clients in other processes too, and does not
// age: who comes back too late is told to look at the state anew. The zero value names nothing.
type WatchToken struct{ token wire.WatchToken }

// String is the form that ParseWatchToken reads: letters, digits, "-" and "_".
func (t WatchToken) String() string {
	return base64.RawURLEncoding.EncodeToString(wire.AppendWatchToken(nil, &t.token))
}

// ParseWatchToken reads what WatchToken.String wrote.
func ParseWatchToken(text string) (WatchToken, error) {
	body, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return WatchToken{}, fmt.Errorf("watch token: %w: want what WatchToken.String wrote", err)
	}
	token, err := wire.DecodeWatchToken(body)
	if err != nil {
		return WatchToken{}, fmt.Errorf("watch token: %w", err)
	}
	return WatchToken{token}, nil
}

// MarshalText is String.
func (t WatchToken) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseWatchToken.
func (t *WatchToken) UnmarshalText(text []byte) (err error) {
	*t, err = ParseWatchToken(string(text))
	return err
}

func (t WatchToken) clone() WatchToken {
	t.token.Told = t.token.Told.Clone()
	t.token.Cursor = bytes.Clone(t.token.Cursor)
	if t.token.Part != nil {
		part := *t.token.Part
		t.token.Part = &part
	}
	return t
}
