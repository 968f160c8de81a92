package wan

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/264bc8cf/epaxos/internal/hostile"
)

func TestNamedProfilesAreValid(t *testing.T) {
	for _, name := range Names() {
		p, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if p.Name != name {
			t.Errorf("%s calls itself %q", name, p.Name)
		}
	}
	if _, err := Named("wan4"); err == nil {
		t.Error("an unknown profile was found")
	}
}

// The fast quorum of five replicas is three: these are the lower bounds of a commit at each site.
func TestNearestQuorumRTT(t *testing.T) {
	p, err := Named("wan5")
	if err != nil {
		t.Fatal(err)
	}
	for site, want := range []float64{70.5, 59.9, 72.5, 111.7, 127.3} {
		if got := p.NearestQuorumRTT(site, 3); got != want {
			t.Errorf("%s: %v ms, want %v", p.Sites[site], got, want)
		}
	}
	if got := p.NearestQuorumRTT(3, 1); got != 0 {
		t.Errorf("a quorum of one waits %v ms", got)
	}
	for _, quorum := range []int{0, 6} {
		if got := p.NearestQuorumRTT(0, quorum); !math.IsNaN(got) {
			t.Errorf("a quorum of %d of 5 waits %v ms", quorum, got)
		}
	}
}

func TestTakeSharesNothing(t *testing.T) {
	p, err := aws.Take(3)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Sites, " "); got != "VA CA OR" {
		t.Errorf("took %s", got)
	}
	p.RTT[0][1], p.Sites[0] = 1, "?"
	if aws.RTT[0][1] == 1 || aws.Sites[0] == "?" {
		t.Error("a change of the part changed the whole")
	}
	for _, n := range []int{0, 8} {
		if _, err := aws.Take(n); err == nil {
			t.Errorf("took %d of 7 sites", n)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":          `sites`,
		"no site":           `{"sites":[],"rtt_ms":[]}`,
		"unknown field":     `{"sites":["A"],"rtt_ms":[[0]],"loss":1}`,
		"something behind":  `{"sites":["A"],"rtt_ms":[[0]]}{}`,
		"twice one name":    `{"sites":["A","A"],"rtt_ms":[[0,1],[1,0]]}`,
		"empty name":        `{"sites":[""],"rtt_ms":[[0]]}`,
		"row missing":       `{"sites":["A","B"],"rtt_ms":[[0,1]]}`,
		"ragged row":        `{"sites":["A","B"],"rtt_ms":[[0,1],[1]]}`,
		"not symmetric":     `{"sites":["A","B"],"rtt_ms":[[0,1],[2,0]]}`,
		"far from itself":   `{"sites":["A","B"],"rtt_ms":[[1,1],[1,0]]}`,
		"negative":          `{"sites":["A","B"],"rtt_ms":[[0,-1],[-1,0]]}`,
		"beyond a minute":   `{"sites":["A","B"],"rtt_ms":[[0,60001],[60001,0]]}`,
		"number too large":  `{"sites":["A","B"],"rtt_ms":[[0,1e999],[1e999,0]]}`,
		"text for a number": `{"sites":["A","B"],"rtt_ms":[[0,"1"],["1",0]]}`,
	} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	nan := Profile{Sites: []string{"A", "B"}, RTT: [][]float64{{0, math.NaN()}, {math.NaN(), 0}}}
	if nan.Validate() == nil {
		t.Error("NaN: accepted")
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "two.json")
	if err := os.WriteFile(path, []byte(`{"sites":["A","B"],"rtt_ms":[[0,80],[80,0]]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != path || len(p.Sites) != 2 || p.OneWay(0, 1).Milliseconds() != 40 {
		t.Errorf("loaded %+v", p)
	}
	if _, err := Load(path + ".absent"); err == nil {
		t.Error("loaded an absent file")
	}
}

// FuzzParse: what is accepted is valid, is emulated without a fault, and reads the same when written.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"sites":["A","B"],"rtt_ms":[[0,80],[80,0]]}`, `{"sites":["A"],"rtt_ms":[[0]]}`, `{"sites":["A"],"rtt_ms":[[0]],"loss":1}`,
		`{"sites":["A","B"],"rtt_ms":[[0,1e999],[1e999,0]]}`, `{"sites":["A","A"],"rtt_ms":[[0,1],[1,0]]}`, `{"rtt_ms":[[[]]]}`,
		`{"sites":["A","B"],"rtt_ms":[[0,0.1],[0.1,-0]]}`, `{"Sites":["\u0000"],"RTT_MS":[[0]]} `, `[`, `null`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		hostile.Cheap(t, hostile.Factor, len(text), func() { _, _ = Parse(text) })
		p, err := Parse(text)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("violation of integrity: an invalid profile was accepted: %v", err)
		}
		for i := range p.Sites {
			for j := range p.Sites {
				if d := p.OneWay(i, j); d < 0 || d > rttMaxMillis*time.Millisecond {
					t.Errorf("violation of boundedness: %v from %d to %d", d, i, j)
				}
			}
			if !(p.NearestQuorumRTT(i, 1) == 0) {
				t.Errorf("violation of integrity: a quorum of one waits %v ms", p.NearestQuorumRTT(i, 1))
			}
		}
		written, err := json.Marshal(map[string]any{"sites": p.Sites, "rtt_ms": p.RTT})
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(written); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("violation of integrity: %s was read as %+v, %v, and not as %+v", written, again, err, p)
		}
	})
}
