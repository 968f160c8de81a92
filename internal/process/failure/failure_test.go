package failure

import "testing"

func TestFaultsCheck(t *testing.T) {
	for name, c := range map[string]struct {
		faults Faults
		passes bool
	}{
		"nothing":       {Faults{}, false},
		"half of it":    {Faults{"kills": 2, "datagrams cut": 0}, false},
		"all of it":     {Faults{"kills": 2, "datagrams cut": 50}, true},
		"never counted": {nil, false},
	} {
		if err := c.faults.Check(); (err == nil) != c.passes {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNames: a scenario is told by the name of its failure.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range All() {
		if f.Name == "" || f.Inject == nil || seen[f.Name] {
			t.Errorf("%q has no name of its own, or does nothing", f.Name)
		}
		seen[f.Name] = true
		if Named(f.Name).Name != f.Name {
			t.Errorf("%q is not found", f.Name)
		}
	}
}
