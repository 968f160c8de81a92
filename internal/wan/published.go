package wan

import (
	"fmt"
	"slices"
)

// gcp has the mean pings between regions of Google's cloud in the files latency_gcp/*.dat of
// github.com/vitorenesduarte/fantoch at commit aea6e32 (measured in June 2020), rounded to 0.1 ms; of two directions
// it is the one from the site that comes first. The first five are at the places of the EPaxos papers;
// "EPaxos Revisited" ran in this cloud, between VA, CA, OR, JP and EU.
var gcp = Profile{
	Sites: []string{
		"VA", // us-east4
		"CA", // us-west2
		"OR", // us-west1
		"JP", // asia-northeast1
		"EU", // europe-west2
		"SP", // southamerica-east1
		"SG", // asia-southeast1
	},
	RTT: [][]float64{
		{0, 60.2, 62.0, 146.4, 75.5, 129.4, 211.4},
		{60.2, 0, 25.0, 98.2, 128.8, 164.5, 160.7},
		{62.0, 25.0, 0, 88.3, 126.0, 171.8, 151.7},
		{146.4, 98.2, 88.3, 0, 214.7, 259.8, 67.6},
		{75.5, 128.8, 126.0, 214.7, 0, 203.0, 280.8},
		{129.4, 164.5, 171.8, 259.8, 203.0, 0, 323.3},
		{211.4, 160.7, 151.7, 67.6, 280.8, 323.3, 0},
	},
}

// published are the profiles of experiments by name: a table, and the sites in their order.
var published = []struct {
	name  string
	table *Profile
	sites []string
}{
	// The sites of "There Is More Consensus in Egalitarian Parliaments" (SOSP 2013): the first three are
	// those of its runs with three replicas.
	{"sosp13", &aws, []string{"CA", "VA", "EU", "OR", "JP"}},
	// The sites of "EPaxos Revisited" (NSDI 2021), in its cloud and in the order of its figures.
	{"nsdi21", &gcp, []string{"VA", "CA", "OR", "JP", "EU"}},
	// Five regions on four continents.
	{"cloud5", &gcp, []string{"VA", "OR", "EU", "SG", "SP"}},
	{"aws7", &aws, []string{"VA", "CA", "OR", "JP", "EU", "SP", "SG"}},
	{"gcp7", &gcp, []string{"VA", "CA", "OR", "JP", "EU", "SP", "SG"}},
}

// PublishedNames lists the profiles that Published knows.
func PublishedNames() []string {
	var names []string
	for _, p := range published {
		names = append(names, p.name)
	}
	return names
}

// Published returns a profile of round trips that others have measured.
func Published(name string) (Profile, error) {
	for _, p := range published {
		if p.name != name {
			continue
		}
		at := make([]int, len(p.sites))
		for i, site := range p.sites {
			at[i] = slices.Index(p.table.Sites, site)
		}
		taken := p.table.Pick(at)
		taken.Name = name
		return taken, nil
	}
	return Profile{}, fmt.Errorf("wan profile %q is unknown: take one of %v, or a file", name, PublishedNames())
}

// Pick is the profile of some sites, in their order. The copy shares nothing with p.
func (p Profile) Pick(sites []int) Profile {
	picked := Profile{Name: p.Name}
	for _, i := range sites {
		picked.Sites = append(picked.Sites, p.Sites[i])
		row := make([]float64, 0, len(sites))
		for _, j := range sites {
			row = append(row, p.RTT[i][j])
		}
		picked.RTT = append(picked.RTT, row)
	}
	return picked
}

// Uniform is n sites, any two of which are equally far apart.
func Uniform(n int, rttMillis float64) Profile {
	p := Profile{Name: fmt.Sprintf("uniform:%v", rttMillis)}
	for i := range n {
		p.Sites = append(p.Sites, fmt.Sprint("S", i+1))
		row := make([]float64, n)
		for j := range row {
			if j != i {
				row[j] = rttMillis
			}
		}
		p.RTT = append(p.RTT, row)
	}
	return p
}
