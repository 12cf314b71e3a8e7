package node

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/replica"
)

// What waits for the user's code is bounded, and what goes beyond is lost: events, so many or with so many bytes of names
// and values, and log lines, which events can't crowd out.
const (
	maxEvents     = 1 << 16
	maxEventBytes = 64 << 20
	maxLines      = 1 << 10
)

// A reporter calls the user's Logger and Trace, each in a goroutine of its own, so that they can be slow or hang and hold up nobody.
type reporter struct {
	logger *slog.Logger
	trace  func(context.Context, paxos.Event)
	lines  outlet[line]
	events outlet[paxos.Event]
	bytes  int          // of the events in queue; under events.mu
	lost   atomic.Int64 // events that found no room, which the log does not tell yet
}

// A line is a line of the log.
type line struct {
	level   slog.Level
	message string
	args    []any
}

// An outlet holds what waits for the user's code.
type outlet[T any] struct {
	wake  chan struct{}
	ended chan struct{} // closed when nothing more is called
	left  atomic.Bool   // what has not been handed out is not

	mu     sync.Mutex
	queue  []T
	lost   int // that found no room since the queue was taken
	closed bool
}

func (o *outlet[T]) init() { o.wake, o.ended = make(chan struct{}, 1), make(chan struct{}) }

// close has the outlet end when it has handed out everything.
func (o *outlet[T]) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	signal(o.wake)
}

// run hands out what comes to give, and then tells after how many came and found no room. taken is called under mu when the queue is
// taken.
func (o *outlet[T]) run(taken func(), give func(T), after func(lost int)) {
	defer close(o.ended)
	for range o.wake {
		o.mu.Lock()
		queue, lost, closed := o.queue, o.lost, o.closed
		o.queue, o.lost = nil, 0
		taken()
		o.mu.Unlock()
		for _, x := range queue {
			if o.left.Load() {
				return
			}
			give(x)
		}
		after(lost)
		if closed {
			return
		}
	}
}

func (p *reporter) init(cfg Config) {
	p.lines.init()
	p.events.init()
	p.trace = cfg.Trace
	if cfg.Logger != nil {
		p.logger = cfg.Logger.With("cluster", cfg.Members.Cluster, "server", uint64(cfg.ID))
	}
}

// run starts the goroutines.
func (p *reporter) run() {
	ctx := context.Background()
	if p.logger == nil {
		close(p.lines.ended)
	} else {
		go p.lines.run(func() {}, func(l line) { p.logger.Log(ctx, l.level, l.message, l.args...) }, func(lost int) { p.tellLost(ctx, lost) })
	}
	if p.trace == nil {
		close(p.events.ended)
	} else {
		go p.events.run(func() { p.bytes = 0 }, func(e paxos.Event) { p.trace(ctx, e) }, func(lost int) {
			p.lost.Add(int64(lost))
			signal(p.lines.wake)
		})
	}
}

// tellLost logs how many lines and events found no room.
func (p *reporter) tellLost(ctx context.Context, lines int) {
	if lines > 0 {
		p.logger.Log(ctx, slog.LevelWarn, "log lines were lost: Logger was slow", "lines", lines)
	}
	if events := p.lost.Swap(0); events > 0 {
		p.logger.Log(ctx, slog.LevelWarn, "events were lost: Trace was slow", "events", events)
	}
}

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
		p.lines.close()
	}()
}

// leave has the user's code not be called again, once a call that runs has returned.
func (p *reporter) leave() {
	p.lines.left.Store(true)
	p.events.left.Store(true)
}

func (p *reporter) log(level slog.Level, message string, args ...any) {
	if p.logger == nil {
		return
	}
	o := &p.lines
	o.mu.Lock()
	if len(o.queue) < maxLines {
		o.queue = append(o.queue, line{level, message, args})
	} else {
		o.lost++
	}
	o.mu.Unlock()
	signal(o.wake)
}

func (p *reporter) traceAll(events []paxos.Event) {
	o := &p.events
	o.mu.Lock()
	for i := range events {
		size := len(events[i].Message.Instance) + len(events[i].Message.Value)
		if len(o.queue) >= maxEvents || p.bytes+size > maxEventBytes {
			o.lost++
			continue
		}
		p.bytes += size
		o.queue = append(o.queue, events[i])
	}
	o.mu.Unlock()
	signal(o.wake)
}

// reportAll reports what an Output holds for the user.
func (n *Node) reportAll(out *replica.Output) {
	for _, f := range out.Faults {
		n.report.log(slog.LevelError, "protocol broken: the instance has stopped", "instance", f.Instance,
			"ballot", f.Ballot.String(), "err", f)
	}
	if len(out.Events) > 0 {
		n.report.traceAll(out.Events)
	}
}

// reportChanges logs what has changed: whether the storage and a quorum answer, and who takes nothing from whom.
func (n *Node) reportChanges(now time.Duration) {
	n.reportStorage(now)
	if c := n.replica.Changes(); c != n.changes {
		n.changes = c
		peers := n.replica.Peers(now)
		n.reportQuorum(now, peers)
		n.reportRefusals(peers)
	}
}

// storageWait returns for how long the storage has not answered, and which call.
func (n *Node) storageWait(now time.Duration) (d time.Duration, call string) {
	d, call = n.replica.SaveWait(now), "Save"
	if n.reading > 0 {
		if load := n.loads.oldest(); load > d {
			return load, "Load"
		}
	}
	return d, call
}

// reportStorage logs that the storage does not answer, and that it answers again: one line each.
func (n *Node) reportStorage(now time.Duration) {
	wait, call := n.storageWait(now)
	hangs := wait >= n.config.Timing.Silence
	if hangs == n.hung {
		return
	}
	if n.hung = hangs; hangs {
		n.report.log(slog.LevelWarn, "the storage does not answer", "call", call, "for", wait)
	} else {
		n.report.log(slog.LevelInfo, "the storage answers again")
	}
}

// reportQuorum logs a loss of the quorum, and its end: one line each, whatever waits for it.
func (n *Node) reportQuorum(now time.Duration, peers []paxos.PeerStatus) {
	lost := n.replica.NoQuorum(now) > 0
	if lost == n.noQuorum {
		return
	}
	if n.noQuorum = lost; !lost {
		n.report.log(slog.LevelInfo, "a quorum answers again")
		return
	}
	var silent []uint64
	for _, p := range peers {
		if p.Votes && (p.Heard < 0 || p.Heard >= n.config.Timing.Phase) {
			silent = append(silent, uint64(p.ID))
		}
	}
	if wait := n.replica.SaveWait(now); wait >= n.config.Timing.Phase {
		n.report.log(slog.LevelWarn, "no quorum answers", "storage", wait, "silent", silent)
		return
	}
	n.report.log(slog.LevelWarn, "no quorum answers", "silent", silent)
}

// reportRefusals logs what each peer refuses or is refused for, and limits that differ, where that is new.
func (n *Node) reportRefusals(peers []paxos.PeerStatus) {
	for i, p := range peers {
		if p.Refused != n.refused[i] {
			if n.refused[i] = p.Refused; p.Refused != "" {
				n.report.log(slog.LevelWarn, "peer refused", "peer", uint64(p.ID), "err", p.Refused)
			}
		}
		if p.Limits != n.limits[i] {
			if n.limits[i] = p.Limits; p.Limits != "" {
				n.report.log(slog.LevelWarn, "limits differ from those of a peer", "peer", uint64(p.ID), "err", p.Limits)
			}
		}
	}
}
