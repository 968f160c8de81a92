package demo

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/wan"
)

// Defaults and bounds of Options.
const (
	ReplicasDefault = 5
	DurationDefault = 15 * time.Second
	ClientsDefault  = 10
	WritesDefault   = 50
	RTTDefault      = "wan5"

	// RTTNone is bare sockets: no emulator at all.
	RTTNone = "none"

	clientsMax  = 1000
	durationMax = 24 * time.Hour
)

// Options say what to run.
type Options struct {
	Replicas int           // 3, 5 or 7
	Duration time.Duration // of the measured window
	Commands int           // if not 0, the run lasts until so many operations were begun, not for Duration
	Clients  int           // per region
	Conflict float64       // percent of the operations that go to one key shared by all regions
	Writes   float64       // percent of the operations that are puts; the others are gets
	RTT      string        // wan3, wan5 or wan7, a file as wan.Load reads it, or RTTNone
	Kill     *Kill         // nil is none
	Verify   bool          // record the history and check it, and compare the replicas' states
	Keep     bool          // go on running after the report, until the context ends
	JSON     string        // file for the report; empty is none
	Trace    string        // file for all messages and records of the replicas; empty is none
	Seed     uint64        // of what the clients draw
	Version  string        // of the program, for the report
	Out      io.Writer     // progress and tables
	// ProgressJSON makes the lines of progress of a run by Commands JSON, one object each.
	ProgressJSON bool
}

// Kill is a replica that crashes.
type Kill struct {
	Replica epaxos.ReplicaID
	At      time.Duration // from the start of the measured window
}

// String is the form that ParseKill reads.
func (k Kill) String() string { return fmt.Sprintf("%d@%v", k.Replica, k.At) }

// ParseKill reads REPLICA@TIME, such as 2@5s.
func ParseKill(text string) (Kill, error) {
	const form = "need REPLICA@TIME, such as 2@5s"
	id, at, found := strings.Cut(text, "@")
	if !found {
		return Kill{}, fmt.Errorf("kill %q: %s", text, form)
	}
	replica, err := strconv.ParseUint(id, 10, 32)
	if err != nil || replica == 0 {
		return Kill{}, fmt.Errorf("kill %q: replica %q is not a number from 1: %s", text, id, form)
	}
	after, err := time.ParseDuration(at)
	if err != nil || after < 0 {
		return Kill{}, fmt.Errorf("kill %q: %q is not a time from the start of the measured window: %s", text, at, form)
	}
	return Kill{Replica: epaxos.ReplicaID(replica), At: after}, nil
}

// Validate says why the options cannot be run, or nil. All such errors are the caller's mistakes.
func (o *Options) Validate() error {
	switch {
	case !slices.Contains([]int{3, 5, 7}, o.Replicas):
		return fmt.Errorf("%d replicas: take 3, 5 or 7", o.Replicas)
	case o.Duration < 100*time.Millisecond || o.Duration > durationMax:
		return fmt.Errorf("duration %v: between 100ms and %v are possible", o.Duration, durationMax)
	case o.Commands < 0:
		return fmt.Errorf("%d commands: need a number from 1, or 0 to run for a time", o.Commands)
	case o.ProgressJSON && o.Commands == 0:
		return errors.New("progress as JSON: only of a run by commands")
	case o.Commands > 0 && (o.Kill != nil || o.Verify):
		return errors.New("a run by commands neither kills nor verifies: it may last long")
	case o.Clients < 1 || o.Clients > clientsMax:
		return fmt.Errorf("%d clients per region: between 1 and %d are possible", o.Clients, clientsMax)
	case !percentage(o.Conflict):
		return fmt.Errorf("conflict %v: need a percentage, 0 to 100", o.Conflict)
	case !percentage(o.Writes):
		return fmt.Errorf("writes %v: need a percentage, 0 to 100", o.Writes)
	case o.Kill != nil && int(o.Kill.Replica) > o.Replicas:
		return fmt.Errorf("kill %v: there are replicas 1 to %d", o.Kill, o.Replicas)
	case o.Kill != nil && o.Kill.At >= o.Duration:
		return fmt.Errorf("kill %v: the run is over after %v", o.Kill, o.Duration)
	}
	_, err := o.profile()
	return err
}

func percentage(p float64) bool { return p >= 0 && p <= 100 }

// profile is the table of round trips between the regions; nil if there is none.
func (o *Options) profile() (*wan.Profile, error) {
	var p wan.Profile
	var err error
	switch {
	case o.RTT == RTTNone:
		return nil, nil
	case slices.Contains(wan.Names(), o.RTT):
		// The named tables have one source and begin with the same sites.
		p, err = wan.Named("wan7")
	default:
		p, err = wan.Load(o.RTT)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("round trips %q: take %s, %s, or a file with a table, which this is not",
				o.RTT, strings.Join(wan.Names(), ", "), RTTNone)
		}
	}
	if err != nil {
		return nil, err
	}
	if p, err = p.Take(o.Replicas); err != nil {
		return nil, err
	}
	p.Name = o.RTT
	return &p, nil
}
