package tcp

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/lines"
)

// again is how long a line about a server is not repeated.
const again = 10 * time.Second

// A reporter logs, and does not repeat itself: strangers can't fill a disk through it. No caller waits for the Logger.
type reporter struct {
	lines    *lines.Log
	isMember func(paxos.ServerID) bool
	mu       sync.Mutex
	said     map[about]*saying
}

// about is the subject of a line. There are as many as members, times the kinds of lines about one.
type about struct {
	peer   paxos.ServerID // 0: not known
	what   string
	reason Reason
}

type saying struct {
	at         time.Time
	suppressed int
}

func (p *reporter) init(cfg Config, isMember func(paxos.ServerID) bool) {
	p.said, p.isMember = map[about]*saying{}, isMember
	p.lines = lines.New(cfg.Logger, "cluster", cfg.Members.Cluster, "server", uint64(cfg.ID))
}

func (p *reporter) log(level slog.Level, message string, args ...any) {
	p.lines.Log(level, message, args...)
}

func (p *reporter) debug(message string, args ...any) { p.log(slog.LevelDebug, message, args...) }
func (p *reporter) info(message string, args ...any)  { p.log(slog.LevelInfo, message, args...) }
func (p *reporter) warn(message string, args ...any)  { p.log(slog.LevelWarn, message, args...) }

// refused logs what is wrong, unless it did so lately. A second process under one identity is an error: somebody copied a configuration.
// The other reasons may pass. Nothing is said of a server that has just left: forget would not hear of it.
func (p *reporter) refused(a about, message string, args ...any) {
	p.mu.Lock()
	if a.peer != 0 && !p.isMember(a.peer) {
		p.mu.Unlock()
		return
	}
	now := time.Now()
	s := p.said[a]
	if s != nil && now.Sub(s.at) < again {
		s.suppressed++
		p.mu.Unlock()
		return
	}
	if s != nil && s.suppressed > 0 {
		args = append(args, "suppressed", s.suppressed)
	}
	p.said[a] = &saying{at: now}
	p.mu.Unlock()
	level := slog.LevelWarn
	if a.reason == ReasonDuplicate {
		level = slog.LevelError
	}
	p.log(level, message, args...)
}

// forget forgets what was said about a peer that is no member any more.
func (p *reporter) forget(id paxos.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.said, func(a about, _ *saying) bool { return a.peer == id })
}

// frames logs that a peer takes frames of another size than this server. theirs is 0 if the peer has not told its size.
func (p *reporter) frames(id paxos.ServerID, theirs uint64, own int) {
	if theirs != 0 && theirs != uint64(own) {
		p.refused(about{peer: id, what: "frames"}, "the limit of frames differs from that of a peer", "peer", uint64(id),
			"err", fmt.Sprintf("Limits.MaxFrame is %d there, %d here", theirs, own))
	}
}

// lost logs the end of a connection on which this server sent.
func (p *reporter) lost(id paxos.ServerID, addr string, err error) {
	switch err {
	case errClosed:
	case errMoved, errRenewed, errLeft:
		p.info("connection to peer closed", "peer", uint64(id), "addr", addr, "err", err)
	default:
		p.warn("connection to peer lost", "peer", uint64(id), "addr", addr, "err", err)
	}
}
