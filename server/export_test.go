package server

import "github.com/264bc8cf/epaxos/internal/wire"

// Fault lets the replica hear that a member remembers more of it than its disk does, which ends it.
func (s *Server) Fault() {
	var hello wire.Hello
	for _, m := range s.config.Members {
		if m.ID != s.config.Replica {
			hello = wire.Hello{Cluster: s.config.Cluster, Replica: m.ID, Incarnation: m.Incarnation}
		}
	}
	hello.FormatMin, hello.FormatMax = wire.FormatMin, wire.Format
	hello.HeardIncarnation, hello.HeardGroup = s.config.Incarnation, 1<<40
	s.checkHello(hello.Replica, wire.AppendHello(nil, hello)) //nolint:errcheck // the refusal is the point
}

// WithoutLaggard is the eviction of one voter.
var WithoutLaggard = withoutLaggard
