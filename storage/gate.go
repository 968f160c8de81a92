package storage

import "sync"

// gate lets goroutines other than the saver's read, and lets Close wait until they have left: Badger unmaps
// its files, and who reads on would bring the process down.
type gate struct {
	mu     sync.Mutex
	shut   error // why nobody gets in any more
	inside int
	empty  chan struct{} // closed when the last one leaves; nil while nobody waits
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.inside++
	}
	return usable(g.shut)
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// err tells those inside why they should leave.
func (g *gate) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return usable(g.shut)
}

func (g *gate) close(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = why
}

// wait returns when nobody is inside.
func (g *gate) wait() {
	g.mu.Lock()
	if g.inside == 0 {
		g.mu.Unlock()
		return
	}
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	empty := g.empty
	g.mu.Unlock()
	<-empty
}
