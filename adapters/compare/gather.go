package compare

import (
	"runtime"
	"sync"

	"github.com/singledecree/paxos"
)

// A gatherer lets many writers share Saves, as a Node does: while one runs, the next batch gathers.
type gatherer struct {
	save func(paxos.Batch) error

	mu     sync.Mutex
	next   *round
	closed bool
	wake   chan struct{}
}

// A round is one batch, and those who wait for it.
type round struct {
	records []paxos.Record
	done    chan struct{}
	err     error
}

func newGatherer(save func(paxos.Batch) error) *gatherer {
	g := &gatherer{save: save, wake: make(chan struct{}, 1), next: &round{done: make(chan struct{})}}
	go g.loop()
	return g
}

// put saves r, together with what others put meanwhile.
func (g *gatherer) put(r paxos.Record) error {
	g.mu.Lock()
	mine := g.next
	mine.records = append(mine.records, r)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	<-mine.done
	return mine.err
}

func (g *gatherer) loop() {
	var spare []paxos.Record
	for range g.wake {
		g.gather()
		g.mu.Lock()
		now := g.next
		g.next = &round{done: make(chan struct{}), records: spare[:0]}
		g.mu.Unlock()
		if len(now.records) == 0 {
			spare = now.records
			continue
		}
		now.err = g.save(paxos.Batch{Records: now.records})
		spare = now.records
		close(now.done)
	}
}

// gather lets writers that are ready to run go first, as long as more of them come: a Node does the like for callers that it has let go on.
func (g *gatherer) gather() {
	last := 1
	for range 8 {
		runtime.Gosched()
		g.mu.Lock()
		n := len(g.next.records)
		g.mu.Unlock()
		if n <= last {
			return
		}
		last = n
	}
}

// close ends the gatherer, when all puts have returned.
func (g *gatherer) close() { close(g.wake) }
