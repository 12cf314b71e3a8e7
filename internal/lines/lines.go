// Package lines writes lines to a user's Logger in a goroutine of its own: a Logger that is slow or blocks holds up nobody.
package lines

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// most is how many lines may wait for the Logger. It may hold as many more that it was given.
const most = 1 << 10

// A Log holds lines until the Logger takes them. Beyond some it holds no more: it counts them, and a line tells the count
// when the Logger goes on. Its methods are safe for concurrent use and never wait for the Logger, but for Wait.
type Log struct {
	logger *slog.Logger // nil: nothing is logged
	left   atomic.Bool  // the Logger is not called again
	ended  chan struct{}

	mu     sync.Mutex
	queue  []slog.Record
	lost   int           // lines that found no room
	counts []count       // told after the lines, one for each message
	idle   chan struct{} // closed when the goroutine that writes ends; nil: none runs
	ending bool          // End was called; ended is closed if no goroutine runs
}

// A count is of what was lost elsewhere, and the line that tells it.
type count struct {
	message, key string
	n            int
}

// New returns a Log before logger, which may be nil; args are keys and values of every line.
func New(logger *slog.Logger, args ...any) *Log {
	if logger != nil {
		logger = logger.With(args...)
	}
	return &Log{logger: logger, ended: make(chan struct{})}
}

// Log adds a line, with the time of now. The args must not change any more, nor anything that they point to.
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
	if l.wake() {
		l.queue = append(l.queue, r)
	}
}

// Lost adds n to the count of that message. It is told as a warning, under key, when the Logger has taken the lines that wait: no want
// of room loses it. There must be few messages.
func (l *Log) Lost(message, key string, n int) {
	if l.logger == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.wake() {
		return
	}
	for i := range l.counts {
		if l.counts[i].message == message {
			l.counts[i].n += n
			return
		}
	}
	l.counts = append(l.counts, count{message, key, n})
}

// wake makes sure that a goroutine writes the lines, and reports whether one will. None does when the Log has ended. mu is held.
func (l *Log) wake() bool {
	if l.idle == nil {
		if l.ending {
			return false
		}
		l.idle = make(chan struct{})
		go l.write(l.idle)
	}
	return true
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
		queue, lost, counts := l.queue, l.lost, l.counts
		l.queue, l.lost, l.counts = nil, 0, nil
		if len(queue) == 0 && len(counts) == 0 {
			l.idle = nil
			close(idle)
			if l.ending {
				close(l.ended)
			}
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
		for _, c := range counts {
			l.log(slog.LevelWarn, c.message, c.key, c.n)
		}
	}
}

func (l *Log) log(level slog.Level, message string, args ...any) {
	l.hand(record(level, message, args...))
}

// hand gives the Logger one line.
func (l *Log) hand(r slog.Record) {
	if l.left.Load() {
		return
	}
	ctx := context.Background()
	if h := l.logger.Handler(); h.Enabled(ctx, r.Level) {
		h.Handle(ctx, r) // whoever logs can't say where that has failed
	}
}

// End ends the Log when the Logger has taken all lines and counts. Later ones are dropped. It may be called more than once.
func (l *Log) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ending && l.idle == nil {
		close(l.ended)
	}
	l.ending = true
}

// Ended returns a channel that is closed when the Log has ended: after End, and when the Logger is not called any more.
func (l *Log) Ended() <-chan struct{} { return l.ended }

// Leave ends the Log at once: the Logger is given nothing more. A call of it that runs may go on.
func (l *Log) Leave() {
	l.left.Store(true)
	l.End()
}

// Wait returns true when the Logger has taken all lines, or false after that time. The remaining lines may still reach the Logger.
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
