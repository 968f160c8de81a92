package wan

import "testing"

func TestPublished(t *testing.T) {
	for _, name := range PublishedNames() {
		p, err := Published(name)
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
	if _, err := Published("nowhere"); err == nil {
		t.Error("a profile called nowhere")
	}
	// What a table says must not depend on the order of its sites.
	p, err := Published("sosp13")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.RTT[0][1]; got != 59.9 {
		t.Errorf("CA to VA takes %v ms, want 59.9", got)
	}
	if p.Sites[2] != "EU" || p.RTT[2][4] != 204.4 {
		t.Errorf("%s to %s takes %v ms, want EU to JP, 204.4", p.Sites[2], p.Sites[4], p.RTT[2][4])
	}
	if err := Uniform(13, 80).Validate(); err != nil {
		t.Error(err)
	}
}
