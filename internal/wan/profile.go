package wan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

const (
	// SitesMax bounds a profile.
	SitesMax = 64
	// rttMaxMillis bounds a round trip; more is a mistake of units.
	rttMaxMillis   = 60_000
	profileFileMax = 1 << 20
)

// Profile is a table of sites and the round trips between them.
type Profile struct {
	Name  string
	Sites []string
	RTT   [][]float64 // milliseconds; symmetric, zero on the diagonal
}

// aws is the source of the named profiles: the mean pings between regions of Amazon's cloud in the
// files latency_aws/2020_06_05/*.dat of github.com/vitorenesduarte/fantoch at commit aea6e32,
// rounded to 0.1 ms. Where the two directions differ, by at most 0.1 ms, it is the direction from
// the site that comes first. The first five are the sites of the EPaxos papers, in their order; the
// other two spread the cluster to the southern hemisphere and to south-east Asia.
var aws = Profile{
	Sites: []string{
		"VA", // us-east-1
		"CA", // us-west-1
		"OR", // us-west-2
		"JP", // ap-northeast-1
		"EU", // eu-west-1
		"SP", // sa-east-1
		"SG", // ap-southeast-1
	},
	RTT: [][]float64{
		{0, 59.9, 72.5, 152.4, 70.5, 113.0, 235.8},
		{59.9, 0, 21.1, 111.7, 141.1, 190.2, 181.3},
		{72.5, 21.1, 0, 100.9, 127.3, 180.3, 162.7},
		{152.4, 111.7, 100.9, 0, 204.4, 267.9, 77.0},
		{70.5, 141.1, 127.3, 204.4, 0, 183.6, 186.6},
		{113.0, 190.2, 180.3, 267.9, 183.6, 0, 338.1},
		{235.8, 181.3, 162.7, 77.0, 186.6, 338.1, 0},
	},
}

// Names lists the profiles that Named knows.
func Names() []string { return []string{"wan3", "wan5", "wan7"} }

// Named returns wan3 (VA CA OR), wan5 (the five sites of the EPaxos papers: VA CA OR JP EU) or
// wan7 (those, São Paulo and Singapore).
func Named(name string) (Profile, error) {
	sizes := map[string]int{"wan3": 3, "wan5": 5, "wan7": 7}
	n, found := sizes[name]
	if !found {
		return Profile{}, fmt.Errorf("wan profile %q is unknown: take one of %v, or a file", name, Names())
	}
	p, err := aws.Take(n)
	p.Name = name
	return p, err
}

// Load reads a profile from a file of the form
//
//	{"sites": ["A", "B"], "rtt_ms": [[0, 80], [80, 0]]}
//
// Its name is the path.
func Load(path string) (Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return Profile{}, fmt.Errorf("load wan profile: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, profileFileMax+1))
	if err != nil {
		return Profile{}, fmt.Errorf("load wan profile %s: %w", path, err)
	}
	p, err := Parse(content)
	if err != nil {
		return Profile{}, fmt.Errorf("load wan profile %s: %w", path, err)
	}
	p.Name = path
	return p, nil
}

// Parse reads and validates what Load documents. Unknown fields are refused.
func Parse(content []byte) (Profile, error) {
	if len(content) > profileFileMax {
		return Profile{}, fmt.Errorf("wan profile of more than %d bytes", profileFileMax)
	}
	var file struct {
		Sites []string    `json:"sites"`
		RTT   [][]float64 `json:"rtt_ms"`
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		return Profile{}, fmt.Errorf("wan profile: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Profile{}, errors.New("wan profile: more follows after the object")
	}
	p := Profile{Sites: file.Sites, RTT: file.RTT}
	return p, p.Validate()
}

// Validate reports why the profile cannot be emulated, or nil.
func (p Profile) Validate() error {
	n := len(p.Sites)
	if n == 0 || n > SitesMax {
		return fmt.Errorf("wan profile: %d sites: between 1 and %d are possible", n, SitesMax)
	}
	for i, site := range p.Sites {
		if site == "" || slices.Contains(p.Sites[:i], site) {
			return fmt.Errorf("wan profile: site %d is named %q: need distinct names", i, site)
		}
	}
	if len(p.RTT) != n {
		return fmt.Errorf("wan profile: %d rows of round trips for %d sites", len(p.RTT), n)
	}
	for i, row := range p.RTT {
		if len(row) != n {
			return fmt.Errorf("wan profile: row of %s has %d round trips for %d sites", p.Sites[i], len(row), n)
		}
	}
	for i, row := range p.RTT {
		for j, rtt := range row {
			switch {
			case math.IsNaN(rtt) || rtt < 0 || rtt > rttMaxMillis:
				return fmt.Errorf("wan profile: %s to %s takes %v ms: between 0 and %d are possible",
					p.Sites[i], p.Sites[j], rtt, rttMaxMillis)
			case i == j && rtt != 0:
				return fmt.Errorf("wan profile: %s to itself takes %v ms: must be 0", p.Sites[i], rtt)
			case rtt != p.RTT[j][i]:
				return fmt.Errorf("wan profile: %s to %s takes %v ms, but back %v ms: a round trip is the same both ways",
					p.Sites[i], p.Sites[j], rtt, p.RTT[j][i])
			}
		}
	}
	return nil
}

// Take is the profile of the first n sites. The copy shares nothing with p.
func (p Profile) Take(n int) (Profile, error) {
	if n < 1 || n > len(p.Sites) {
		return Profile{}, fmt.Errorf("take %d sites of wan profile %q: it has %d", n, p.Name, len(p.Sites))
	}
	taken := Profile{Name: p.Name, Sites: slices.Clone(p.Sites[:n])}
	for _, row := range p.RTT[:n] {
		taken.RTT = append(taken.RTT, slices.Clone(row[:n]))
	}
	return taken, nil
}

// OneWay is half of the round trip between two sites.
func (p Profile) OneWay(a, b int) time.Duration {
	return time.Duration(p.RTT[a][b] / 2 * float64(time.Millisecond))
}

// NearestQuorumRTT is the round trip, in milliseconds, that a replica at site must wait for to have
// heard quorum replicas, itself included, one at each site: the lower bound of a commit. It is NaN
// if the profile has no such quorum.
func (p Profile) NearestQuorumRTT(site, quorum int) float64 {
	if site < 0 || site >= len(p.Sites) || quorum < 1 || quorum > len(p.Sites) {
		return math.NaN()
	}
	ordered := slices.Clone(p.RTT[site])
	slices.Sort(ordered) // the site itself, at 0 ms, is the first of the quorum
	return ordered[quorum-1]
}
