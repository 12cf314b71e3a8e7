package grpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/lines"
)

// Reasons to end a stream that has no fault.
var (
	errClosed   = fmt.Errorf("grpc: transport: %w", paxos.ErrClosed)
	errMoved    = errors.New("grpc: the server's address has changed")
	errLeft     = errors.New("grpc: the server is no member any more")
	errRenewed  = errors.New("grpc: the TLS configuration has changed")
	errReplaced = errors.New("grpc: its process has connected anew")
	errIdle     = errors.New("grpc: it gave no sign of life within Timing.Idle")
	errSlow     = errors.New("grpc: it has not welcomed the stream within Timing.Handshake")
)

// A common is what all streams of a Transport share.
type common struct {
	config   Config
	instance uint64
	tls      atomic.Pointer[tls.Config] // nil: plain
	counters counters
	ctx      context.Context // ends with Close
	log      report
}

// hello introduces this server to another one.
func (c *common) hello(to paxos.ServerID) hello {
	return hello{c.config.Members.Cluster, c.config.ID, to, c.instance, uint64(c.config.Limits.MaxPacket)}
}

// again is how long a line about a server is not repeated.
const again = 10 * time.Second

// A report logs, and does not repeat itself: strangers can't fill a disk through it.
type report struct {
	lines *lines.Log
	mu    sync.Mutex
	said  map[about]time.Time
}

// about is the subject of a line.
type about struct {
	peer paxos.ServerID // 0: not known
	what string
}

func (r *report) wrong(peer paxos.ServerID, message string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, subject := time.Now(), about{peer, message}
	if last, ok := r.said[subject]; ok && now.Sub(last) < again {
		return
	}
	r.said[subject] = now
	if peer != 0 {
		args = append(args, "peer", uint64(peer))
	}
	r.lines.Log(slog.LevelWarn, message, args...)
}

func (r *report) info(peer paxos.ServerID, message string, args ...any) {
	r.lines.Log(slog.LevelInfo, message, append(args, "peer", uint64(peer))...)
}

// forget forgets what was said of a peer that is no member any more.
func (r *report) forget(id paxos.ServerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.said, func(a about, _ time.Time) bool { return a.peer == id })
}

// signal leaves one signal in c, a channel with room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is there already
	}
}
