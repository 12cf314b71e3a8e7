package paxos

import (
	"context"
	"log/slog"
	"sync"
)

// maxReports bounds the events and log lines that wait for the user's code. Beyond it they are lost, and counted.
const maxReports = 1 << 16

// A reporter calls the user's Logger and Trace in a goroutine of its own, so that they can be slow and hold up nobody.
type reporter struct {
	logger *slog.Logger
	trace  func(context.Context, Event)
	wake   chan struct{}

	mu    sync.Mutex
	queue []report
	ended bool
	lost  uint64
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
		p.add(report{level: level, message: message, args: args})
	}
}

func (p *reporter) add(rs ...report) {
	p.mu.Lock()
	room := max(maxReports-len(p.queue), 0)
	p.lost += uint64(max(len(rs)-room, 0))
	p.queue = append(p.queue, rs[:min(len(rs), room)]...)
	p.mu.Unlock()
	p.poke()
}

func (p *reporter) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close has the loop end when it has reported everything.
func (p *reporter) close() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.poke()
}

func (p *reporter) loop() {
	ctx := context.Background()
	for range p.wake {
		p.mu.Lock()
		queue, ended := p.queue, p.ended
		p.queue = nil
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
		rs := make([]report, len(out.Events))
		for i, e := range out.Events {
			rs[i].event = e
		}
		n.report.add(rs...)
	}
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
