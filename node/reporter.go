package node

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/lines"
)

// Events that wait for Trace are bounded: so many, or with so many bytes of names and values. Those beyond are lost. Log lines have a
// bound of their own, so that events can't crowd them out: see package lines.
const (
	maxEvents     = 1 << 16
	maxEventBytes = 64 << 20
)

// A reporter calls the user's Logger and Trace, each in a goroutine of its own, so that they can be slow or hang and hold up nobody.
type reporter struct {
	lines  *lines.Log
	trace  func(context.Context, paxos.Event)
	events outlet
}

// An outlet holds the events that wait for Trace.
type outlet struct {
	wake  chan struct{}
	ended chan struct{} // closed when Trace is not called any more
	left  atomic.Bool   // what has not been handed out is not

	mu     sync.Mutex
	queue  []paxos.Event
	bytes  int // of the events in queue
	lost   int // events that found no room since the queue was taken
	closed bool
}

// close has the outlet end when it has handed out everything.
func (o *outlet) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	signal(o.wake)
}

// run gives Trace what comes, and then tells how many events came and found no room.
func (o *outlet) run(trace func(context.Context, paxos.Event), told *lines.Log) {
	defer close(o.ended)
	ctx := context.Background()
	for range o.wake {
		o.mu.Lock()
		queue, lost, closed := o.queue, o.lost, o.closed
		o.queue, o.bytes, o.lost = nil, 0, 0
		o.mu.Unlock()
		for _, e := range queue {
			if o.left.Load() {
				return
			}
			trace(ctx, e)
		}
		if lost > 0 {
			told.Lost("events were lost: Trace was slow", "events", lost)
		}
		if closed {
			return
		}
	}
}

func (o *outlet) add(events []paxos.Event) {
	o.mu.Lock()
	for i := range events {
		size := len(events[i].Message.Instance) + len(events[i].Message.Value)
		if len(o.queue) >= maxEvents || o.bytes+size > maxEventBytes {
			o.lost++
			continue
		}
		o.bytes += size
		o.queue = append(o.queue, events[i])
	}
	o.mu.Unlock()
	signal(o.wake)
}

func (p *reporter) init(cfg Config) {
	p.lines = lines.New(cfg.Logger, "cluster", cfg.Members.Cluster, "server", uint64(cfg.ID))
	p.trace = cfg.Trace
	p.events.wake, p.events.ended = make(chan struct{}, 1), make(chan struct{})
}

// run starts the goroutine that calls Trace.
func (p *reporter) run() {
	if p.trace == nil {
		close(p.events.ended)
	} else {
		go p.events.run(p.trace, p.lines)
	}
}

// closeGrace is how long a Node that stops waits for what runs.
const closeGrace = 2 * time.Second

// close has the goroutines end when they have reported everything. The log goes last, as it tells how many events were lost; but a
// Trace that hangs must not keep it.
func (p *reporter) close() {
	p.events.close()
	go func() {
		timer := time.NewTimer(closeGrace / 2)
		defer timer.Stop()
		select {
		case <-p.events.ended:
		case <-timer.C:
		}
		p.lines.End()
	}()
}

// leave has the user's code not be called again, once a call that runs has returned.
func (p *reporter) leave() {
	p.lines.Leave()
	p.events.left.Store(true)
}

func (p *reporter) log(level slog.Level, message string, args ...any) {
	p.lines.Log(level, message, args...)
}

// signal leaves one signal in c, which holds one at most.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
