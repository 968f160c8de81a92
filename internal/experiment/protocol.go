package experiment

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/264bc8cf/epaxos/epaxos"
	"github.com/264bc8cf/epaxos/internal/paxos"
)

// Protocol is what the replicas of a run speak.
type Protocol struct {
	Name   string // as in a list of protocols, with all parameters
	Family string // epaxos, basicpaxos, multipaxos, flexiblepaxos, fastpaxos
	F, E   int    // EPaxos* only
	Accept int    // phase 2 quorum of Flexible Paxos
	Leader string // site of the first leader; empty is the best one
}

// Families lists the protocols, in the order of tables.
func Families() []string {
	return []string{"epaxos", "basicpaxos", "multipaxos", "flexiblepaxos", "fastpaxos"}
}

var protocolForm = regexp.MustCompile(`^([a-z]+)(?:-f(\d+)e(\d+)|-q(\d+)|-(all))?(?:@([^,]+))?$`)

// ParseProtocols reads a list for n replicas. epaxos has the default f and e, epaxos-f1e1 others, and epaxos-all each
// pair that n allows; flexiblepaxos-q2 has phase 2 quorums of 2; a leader's site follows after @.
func ParseProtocols(list string, n int) ([]Protocol, error) {
	var protocols []Protocol
	for _, text := range strings.Split(list, ",") {
		m := protocolForm.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			return nil, fmt.Errorf("protocol %q: take one of %v, epaxos-f1e1, epaxos-all, "+
				"flexiblepaxos-q2, or multipaxos@SITE", text, Families())
		}
		if m[5] != "" && m[1] == "epaxos" {
			protocols = append(protocols, everyQuorum(n)...)
			continue
		}
		p, err := oneProtocol(m, n)
		if err != nil {
			return nil, fmt.Errorf("protocol %q: %w", text, err)
		}
		protocols = append(protocols, p)
	}
	return protocols, nil
}

func oneProtocol(m []string, n int) (Protocol, error) {
	number := func(text string) int { v, _ := strconv.Atoi(text); return v }
	p := Protocol{Name: m[1], Family: m[1], Leader: m[6]}
	switch {
	case m[2] != "" && p.Family != "epaxos", m[4] != "" && p.Family != "flexiblepaxos", m[5] != "",
		m[6] != "" && (p.Family == "epaxos" || p.Family == "basicpaxos"):
		return p, fmt.Errorf("it has no such parameter")
	}
	switch p.Family {
	case "epaxos":
		members := membershipOf(n)
		p.F, p.E = members.F, members.E
		if m[2] != "" {
			p.F, p.E = number(m[2]), number(m[3])
			p.Name = fmt.Sprintf("epaxos-f%de%d", p.F, p.E)
		}
		members.F, members.E = p.F, p.E
		return p, members.Validate()
	case "flexiblepaxos":
		p.Accept = max(2, n/2)
		if m[4] != "" {
			p.Accept = number(m[4])
			p.Name = fmt.Sprintf("flexiblepaxos-q%d", p.Accept)
		}
		if p.Accept < 1 || p.Accept > n {
			return p, fmt.Errorf("quorums of %d among %d replicas", p.Accept, n)
		}
	case "basicpaxos", "multipaxos", "fastpaxos":
	default:
		return p, fmt.Errorf("unknown: take one of %v", Families())
	}
	if p.Leader != "" {
		p.Name += "@" + p.Leader
	}
	return p, nil
}

// everyQuorum is EPaxos* with each legal f and e of at least 1.
func everyQuorum(n int) []Protocol {
	var all []Protocol
	for f := 1; 2*f+1 <= n; f++ {
		for e := 1; e <= epaxos.LargestE(n, f); e++ {
			all = append(all, Protocol{Name: fmt.Sprintf("epaxos-f%de%d", f, e), Family: "epaxos", F: f, E: e})
		}
	}
	return all
}

func membershipOf(n int) epaxos.Membership {
	ids := make([]epaxos.ReplicaID, n)
	for i := range ids {
		ids[i] = epaxos.ReplicaID(i + 1) //nolint:gosec // at most VotersMax
	}
	return epaxos.NewMembership(1, ids...)
}

// Quorums are those of the protocol for n replicas.
func (p Protocol) Quorums(n int) paxos.Quorums {
	switch p.Family {
	case "epaxos":
		return paxos.Quorums{Prepare: n - p.F, Accept: n - p.F, Fast: n - p.E}
	case "flexiblepaxos":
		return paxos.Flexible(n, p.Accept)
	case "fastpaxos":
		return paxos.FastQuorums(n)
	default:
		return paxos.Majority(n)
	}
}

// Baseline is the configuration of a core of internal/paxos for a point whose protocol is not EPaxos*. Identity, life
// and chance are the caller's.
func (p *Point) Baseline() paxos.Config {
	members := membershipOf(p.Replicas)
	config := paxos.Config{
		Kind: paxos.KindMulti, Quorums: p.Protocol.Quorums(p.Replicas),
		Limits: paxos.DefaultLimits(), Timing: paxos.DefaultTiming(),
	}
	switch p.Protocol.Family {
	case "basicpaxos":
		config.Kind = paxos.KindBasic
	case "fastpaxos":
		config.Kind = paxos.KindFast
	}
	for _, column := range p.Succession() {
		config.Succession = append(config.Succession, members.Voters[column])
	}
	return config
}

// Leads reports whether one replica has a role of its own.
func (p Protocol) Leads() bool { return p.Family != "epaxos" && p.Family != "basicpaxos" }
