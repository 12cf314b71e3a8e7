package paxos

import (
	"context"
	"log/slog"
	"sync"
)

// What waits for the user's code is bounded, and what goes beyond is lost: events, so many or with so many bytes of names
// and values, and log lines, which events can't crowd out.
const (
	maxEvents     = 1 << 16
	maxEventBytes = 64 << 20
	maxLines      = 1 << 10
)

// A reporter calls the user's Logger and Trace in a goroutine of its own, so that they can be slow and hold up nobody.
type reporter struct {
	logger *slog.Logger
	trace  func(context.Context, Event)
	wake   chan struct{}

	mu                   sync.Mutex
	queue                []report
	events, bytes, lines int // in queue
	ended                bool
}

// A report is one event, or one log line if message is not empty.
type report struct {
	event   Event
	level   slog.Level
	message string
	args    []any
}

func (p *reporter) init(cfg Config) {
	p.wake = make(chan struct{}, 1)
	p.trace = cfg.Trace
	if cfg.Logger != nil {
		p.logger = cfg.Logger.With("cluster", cfg.Members.Cluster, "server", uint64(cfg.ID))
	}
}

func (p *reporter) log(level slog.Level, message string, args ...any) {
	if p.logger != nil {
		p.mu.Lock()
		if p.lines < maxLines {
			p.lines++
			p.queue = append(p.queue, report{level: level, message: message, args: args})
		}
		p.mu.Unlock()
		signal(p.wake)
	}
}

func (p *reporter) traceAll(events []Event) {
	p.mu.Lock()
	for i := range events {
		size := len(events[i].Message.Instance) + len(events[i].Message.Value)
		if p.events >= maxEvents || p.bytes+size > maxEventBytes {
			continue
		}
		p.events++
		p.bytes += size
		p.queue = append(p.queue, report{event: events[i]})
	}
	p.mu.Unlock()
	signal(p.wake)
}

// close has the loop end when it has reported everything.
func (p *reporter) close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	signal(p.wake)
}

func (p *reporter) loop() {
	ctx := context.Background()
	for range p.wake {
		p.mu.Lock()
		queue, ended := p.queue, p.ended
		p.queue, p.events, p.bytes, p.lines = nil, 0, 0, 0
		p.mu.Unlock()
		for _, r := range queue {
			if r.message != "" {
				p.logger.Log(ctx, r.level, r.message, r.args...)
			} else {
				p.trace(ctx, r.event)
			}
		}
		if ended {
			return
		}
	}
}

// reportAll reports what an Output holds for the user.
func (n *Node) reportAll(out *Output) {
	for _, f := range out.Faults {
		n.report.log(slog.LevelError, "protocol broken: the instance has stopped", "instance", f.Instance,
			"ballot", f.Ballot.String(), "err", f)
	}
	if len(out.Events) > 0 {
		n.report.traceAll(out.Events)
	}
}

// reportChanges logs what has changed: whether a quorum answers, and who takes nothing from whom.
func (n *Node) reportChanges() {
	n.reportQuorum()
	n.reportRefusals()
}

// reportQuorum logs a loss of the quorum, and its end: one line each, whatever waits for it.
func (n *Node) reportQuorum() {
	q := &n.replica.quorums
	if q.changes == n.quorums {
		return
	}
	n.quorums = q.changes
	if !q.lost {
		n.report.log(slog.LevelInfo, "a quorum answers again")
		return
	}
	var silent []uint64
	for i := range n.replica.peers {
		if p := &n.replica.peers[i]; p.position >= 0 && (!p.heard || n.replica.now-p.heardAt >= n.config.Timing.Phase) {
			silent = append(silent, uint64(p.id))
		}
	}
	n.report.log(slog.LevelWarn, "no quorum answers", "silent", silent)
}

func (n *Node) reportRefusals() {
	if n.replica.refusals == n.refusals {
		return
	}
	n.refusals = n.replica.refusals
	for i := range n.replica.peers {
		if p := &n.replica.peers[i]; p.refused != n.refused[i] {
			n.refused[i] = p.refused
			if p.refused != "" {
				n.report.log(slog.LevelWarn, "peer refused", "peer", uint64(p.id), "err", p.refused)
			}
		}
	}
}
