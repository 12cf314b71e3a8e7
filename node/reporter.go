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

// Bounds of the events that wait for Trace: their number, and the bytes of their names and values. Further events are
// lost. Log lines have a bound of their own, so events cannot displace them: see package lines.
const (
	maxEvents     = 1 << 16
	maxEventBytes = 64 << 20
)

// A reporter calls the user's Logger and Trace, each in a goroutine of its own. So if one of them is slow or hangs,
// nothing else waits.
type reporter struct {
	lines  *lines.Log
	trace  func(context.Context, paxos.Event)
	events outlet
}

// An outlet holds the events that wait for Trace.
type outlet struct {
	wake  chan struct{}
	ended chan struct{} // closed when Trace will not be called again
	left  atomic.Bool   // Trace gets no more of the events that wait

	mu     sync.Mutex
	queue  []traced
	bytes  int // of the events in queue
	lost   int // events that found no room since the queue was taken
	closed bool
}

// A traced event waits for Trace with its context.
type traced struct {
	ctx   context.Context
	event paxos.Event
}

// close ends the outlet after Trace has got all events that wait.
func (o *outlet) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	signal(o.wake)
}

// run gives the events to Trace. Then it logs how many events were lost for want of room.
func (o *outlet) run(trace func(context.Context, paxos.Event), told *lines.Log) {
	defer close(o.ended)
	for range o.wake {
		o.mu.Lock()
		queue, lost, closed := o.queue, o.lost, o.closed
		o.queue, o.bytes, o.lost = nil, 0, 0
		o.mu.Unlock()
		for _, e := range queue {
			if o.left.Load() {
				return
			}
			trace(e.ctx, e.event)
		}
		if lost > 0 {
			told.Lost("events were lost: Trace was slow", "events", lost)
		}
		if closed {
			return
		}
	}
}

func (o *outlet) add(events []paxos.Event, contextOf func(call uint64) context.Context) {
	o.mu.Lock()
	for i := range events {
		size := len(events[i].Message.Instance) + len(events[i].Message.Value)
		if len(o.queue) >= maxEvents || o.bytes+size > maxEventBytes {
			o.lost++
			continue
		}
		o.bytes += size
		o.queue = append(o.queue, traced{contextOf(events[i].Call), events[i]})
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

// closeGrace bounds the time for which a Node that stops waits for calls that run.
const closeGrace = 2 * time.Second

// close ends the goroutines after they have reported everything. The log ends after Trace, because it tells how many
// events were lost. But if Trace hangs, the log does not wait for it for ever.
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

// leave prevents further calls of the user's code. A call that runs may go on.
func (p *reporter) leave() {
	p.lines.Leave()
	p.events.left.Store(true)
}

func (p *reporter) log(level slog.Level, message string, args ...any) {
	p.lines.Log(level, message, args...)
}

// signal puts a signal into c, unless c holds one already. c has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
