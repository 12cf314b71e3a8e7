package node

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
)

// Bounds of the events that a Node keeps. An event has about 210 bytes, and a name of at most 255.
const (
	maxKept      = 1 << 16
	maxKeptValue = 64 // bytes of a value or of an error
	keepFor      = 10 * time.Second
)

// Events are kept in pages, so that memory grows with the number of events. After a window of events, or its time, the ring
// looks at how fast they come.
const (
	pageSize   = 1 << 10
	window     = maxKept / 8
	windowTime = keepFor / 8
	maxOneIn   = 1 << 20
)

// A ring keeps the latest events of a Node. Only the loop adds events.
type ring struct {
	wants atomic.Bool // as SetTracing said last
	on    bool        // only the loop uses it

	mu      sync.Mutex
	tracing paxos.Tracing
	pages   [][]paxos.Event // the event with number Seq is at place Seq
	first   uint64          // the lowest Seq that is kept; 0: none is
	next    uint64          // one above the highest

	began time.Duration // of the window
	count int           // events in the window
}

// want asks the loop to begin or end to keep events.
func (g *ring) want(on bool) { g.wants.Store(on) }

// turn begins or ends to keep events, if that was asked for. It reports whether it did.
func (g *ring) turn() bool {
	on := g.wants.Load()
	if on == g.on {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.on, g.tracing = on, paxos.Tracing{On: on}
	if on {
		g.first, g.next = 0, 0 // the pages are used again
	}
	return true
}

// traced says which events the ring needs.
func (g *ring) traced() paxos.Tracing {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tracing
}

// add keeps the events, and reports whether others shall be traced from now on.
func (g *ring) add(events []paxos.Event) (changed bool) {
	if !g.on {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	last := &events[len(events)-1]
	if g.first == 0 {
		g.first, g.began, g.count = events[0].Seq, last.At, 0
	}
	for i := range events {
		e := g.place(events[i].Seq)
		*e = events[i]
		cut(e)
	}
	g.next = last.Seq + 1
	if g.next-g.first > maxKept {
		g.first = g.next - maxKept
	}
	g.count += len(events)
	return g.thin(last.At)
}

func (g *ring) place(seq uint64) *paxos.Event {
	page, at := int(seq%maxKept/pageSize), seq%pageSize
	for len(g.pages) <= page {
		g.pages = append(g.pages, nil)
	}
	if g.pages[page] == nil {
		g.pages[page] = make([]paxos.Event, pageSize)
	}
	return &g.pages[page][at]
}

// thin looks at how fast events come. If the ring would hold less than keepFor, fewer instances are traced. If it would hold
// four times as much, more are.
func (g *ring) thin(now time.Duration) (changed bool) {
	took, was := now-g.began, g.tracing.OneIn
	switch {
	case g.count >= window && took < windowTime:
		g.tracing.OneIn = max(was, 1) * 2
		for fits := took * 2; fits < windowTime && g.tracing.OneIn < maxOneIn; fits *= 2 {
			g.tracing.OneIn *= 2
		}
	case took > keepFor:
		g.tracing.OneIn = 0
	case took < windowTime:
		return false
	case time.Duration(g.count)*windowTime < window/4*took:
		g.tracing.OneIn = was / 2
	}
	g.began, g.count = now, 0
	return g.tracing.OneIn != was
}

// cut bounds what e holds on to. It copies what it cuts, because a part would keep the whole alive.
func cut(e *paxos.Event) {
	e.Message.Value, e.Cut = cutValue(e.Message.Value)
	if fault, ok := e.Err.(*paxos.SafetyError); ok {
		own := *fault
		for i, v := range own.Values {
			own.Values[i], _ = cutValue(v)
		}
		e.Err = &own
	}
}

func cutValue(v paxos.Value) (kept paxos.Value, cut int) {
	if len(v) <= maxKeptValue {
		return v, 0
	}
	return paxos.Value(strings.Clone(string(v[:maxKeptValue]))), len(v) - maxKeptValue
}

// read copies the events from number seq on, at most len(into) of them.
func (g *ring) read(seq uint64, into []paxos.Event) []paxos.Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	into = into[:0]
	if g.first == 0 {
		return into
	}
	for seq = max(seq, g.first); seq < g.next && len(into) < cap(into); seq++ {
		into = append(into, *g.place(seq))
	}
	return into
}
