package experiment

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/264bc8cf/epaxos/internal/wan"
	"github.com/264bc8cf/epaxos/internal/workload"
)

// Options are what an experiment can be told. Zero values are the experiment's own defaults, except for those of
// Emulation, which DefaultEmulation fills.
type Options struct {
	Name      string // of the experiment
	Protocols string
	Replicas  []int
	Conflicts []float64
	Zipf      []float64
	Keys      int
	Writes    float64
	Adds      float64
	Txns      float64
	Value     int
	RTT       string // a profile or a file
	Load      string
	Warmup    time.Duration
	Duration  time.Duration
	Repeat    int
	Seed      uint64
	Emulation Emulation
	Tuning    Tuning
	SlowBy    time.Duration
	Clients   []int // for the experiment scale
	Workers   int   // runs at a time, in virtual time
	// Real, if set, plays each point with real replicas, one after the other, instead of in virtual time. Then
	// Emulation.Sync and Emulation.CPU must be zero. With Both set, it is played in both ways.
	Real     Runner
	Both     bool
	Out      string
	Version  string
	Progress io.Writer // nil is none
	Terminal io.Writer
}

// DefaultEmulation is a disk that syncs in a millisecond, jitter of two percent, no loss, and processors that cost
// nothing.
func DefaultEmulation() Emulation { return Emulation{Jitter: 2, Sync: time.Millisecond} }

// ParseNumbers reads a list such as 0,2,10.
func ParseNumbers(text string) ([]float64, error) {
	var numbers []float64
	for _, part := range strings.Split(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(part), "%"), 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", part)
		}
		numbers = append(numbers, v)
	}
	return numbers, nil
}

// profile of n sites.
func (o *Options) profile(n int) (wan.Profile, error) {
	full, err := o.fullProfile(n)
	if err != nil {
		return full, err
	}
	if n > len(full.Sites) {
		return full, fmt.Errorf("profile %q has %d sites, for %d replicas: choose another with --rtt, such as "+
			"uniform:80 (milliseconds)", full.Name, len(full.Sites), n)
	}
	name := full.Name
	full, err = full.Take(n)
	full.Name = name
	return full, err
}

func (o *Options) fullProfile(n int) (wan.Profile, error) {
	name := o.RTT
	if text, uniform := strings.CutPrefix(name, "uniform:"); uniform {
		rtt, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return wan.Profile{}, fmt.Errorf("profile %q: want uniform:MILLISECONDS", name)
		}
		p := wan.Uniform(n, rtt)
		return p, p.Validate()
	}
	if p, err := wan.Published(name); err == nil {
		return p, nil
	}
	if p, err := wan.Named(name); err == nil {
		return p, nil
	}
	p, err := wan.Load(name)
	if err != nil {
		return p, fmt.Errorf("%w (or take one of %v, %v, uniform:MILLISECONDS)", err, wan.PublishedNames(), wan.Names())
	}
	return p, nil
}

// base is a point with what all points of an experiment share.
func (o *Options) base(n int) (Point, error) {
	load, err := workload.ParseLoad(o.Load)
	if err != nil {
		return Point{}, err
	}
	profile, err := o.profile(n)
	return Point{
		Experiment: o.Name, Replicas: n, Profile: profile,
		Workload:  workload.Spec{Load: load, Keys: o.Keys, Writes: o.Writes, Adds: o.Adds, Txns: o.Txns, Value: o.Value},
		Emulation: o.Emulation, Tuning: o.Tuning, Warmup: o.Warmup, Duration: o.Duration, Seed: o.Seed,
	}, err
}

// each calls add with a base point for each number of replicas and each protocol.
func (o *Options) each(add func(Point)) error {
	for _, n := range o.Replicas {
		base, err := o.base(n)
		if err != nil {
			return err
		}
		protocols, err := ParseProtocols(o.Protocols, n)
		if err != nil {
			return err
		}
		for _, protocol := range protocols {
			p := base
			p.Protocol = protocol
			add(p)
		}
	}
	return nil
}

// repeat makes each point as often as asked.
func (o *Options) repeat(points []Point) []Point {
	var all []Point
	for _, p := range points {
		for i := range max(o.Repeat, 1) {
			p.Repeat = i
			all = append(all, p)
		}
	}
	return all
}

// modeText tells on what the runs are played.
func (o *Options) modeText() string {
	if o.Real != nil {
		return "on real replicas"
	}
	return "in virtual time"
}
