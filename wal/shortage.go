package wal

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/singledecree/paxos/internal/lines"
)

// A shortage is that the process or the machine has no file descriptor or no memory left for a moment. What fails because of that has
// changed nothing. So it is tried again until it works, and one line in the log says so.
type shortage struct {
	lines  *lines.Log
	dir    string
	spare  func() bool   // gives back what can be spared, and reports whether there was any
	opened bool          // Open has ended: it does not wait
	inline bool          // it is tried again at once: a test
	ended  chan struct{} // closed at Close, which waits for nothing of this

	mu   sync.Mutex
	told time.Time
}

const (
	// shortageWait is how long is waited before the next try.
	shortageWait = 50 * time.Millisecond
	// shortageQuiet is for how long nothing more is logged after a line.
	shortageQuiet = time.Minute
)

// isShortage reports whether err says that there is no descriptor or no memory.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// wait reports whether what has failed with err is to be tried again. If there is nothing to spare, it waits before that.
func (s *shortage) wait(err error) bool {
	if !isShortage(err) || !s.opened || s.isEnded() {
		return false
	}
	s.tell(err)
	if s.spare() || s.inline {
		return true
	}
	timer := time.NewTimer(shortageWait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ended:
		return false
	}
}

// end has nobody wait any longer.
func (s *shortage) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isEnded() {
		close(s.ended)
	}
}

// isEnded reports whether Close was called.
func (s *shortage) isEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// tell logs it, unless that was done of late.
func (s *shortage) tell(err error) {
	s.mu.Lock()
	told := !s.told.IsZero() && time.Since(s.told) < shortageQuiet
	if !told {
		s.told = time.Now()
	}
	s.mu.Unlock()
	if !told {
		s.lines.Log(slog.LevelWarn, "wal: no file descriptor or memory is left: waiting for some", "dir", s.dir, "err", err)
	}
}
