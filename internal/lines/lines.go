// Package lines writes lines to a user's Logger in a goroutine of its own: a Logger that is slow or blocks holds up nobody.
package lines

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// most is how many lines may wait for the Logger. It may hold as many more that it was given.
const most = 1 << 10

// A Log holds lines until the Logger takes them. Beyond some it holds no more: it counts them, and a line tells the count
// when the Logger goes on. Its methods are safe for concurrent use and never wait for the Logger, but for Wait.
type Log struct {
	logger *slog.Logger // nil: nothing is logged

	mu    sync.Mutex
	queue []slog.Record
	lost  int           // lines that found no room
	idle  chan struct{} // closed when the goroutine that writes ends; nil: none runs
}

// New returns a Log before logger, which may be nil; args are keys and values of every line.
func New(logger *slog.Logger, args ...any) *Log {
	if logger != nil {
		logger = logger.With(args...)
	}
	return &Log{logger: logger}
}

// Log adds a line, with the time of now. What args hold must not change any more.
func (l *Log) Log(level slog.Level, message string, args ...any) {
	if l.logger == nil {
		return
	}
	r := record(level, message, args...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= most {
		l.lost++
		return
	}
	l.queue = append(l.queue, r)
	if l.idle == nil {
		l.idle = make(chan struct{})
		go l.write(l.idle)
	}
}

func record(level slog.Level, message string, args ...any) slog.Record {
	r := slog.NewRecord(time.Now(), level, message, 0)
	r.Add(args...)
	return r
}

// write gives the Logger what waits, until nothing does.
func (l *Log) write(idle chan<- struct{}) {
	for {
		l.mu.Lock()
		queue, lost := l.queue, l.lost
		l.queue, l.lost = nil, 0
		if len(queue) == 0 {
			l.idle = nil
			close(idle)
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for _, r := range queue {
			l.hand(r)
		}
		if lost > 0 {
			l.log(slog.LevelWarn, "log lines were lost: Logger was slow", "lines", lost)
		}
	}
}

func (l *Log) log(level slog.Level, message string, args ...any) {
	l.hand(record(level, message, args...))
}

// hand gives the Logger one line.
func (l *Log) hand(r slog.Record) {
	ctx := context.Background()
	if h := l.logger.Handler(); h.Enabled(ctx, r.Level) {
		h.Handle(ctx, r) // whoever logs can't say where that has failed
	}
}

// Wait returns when the Logger has taken all lines, and true; or false after so long. What it has not taken then may still
// reach it.
func (l *Log) Wait(within time.Duration) bool {
	l.mu.Lock()
	idle := l.idle
	l.mu.Unlock()
	if idle == nil {
		return true
	}
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-timer.C:
		return false
	}
}
