package wal

import (
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/singledecree/paxos/internal/lines"
)

// A shortage handles a passing lack: the process or the machine has no file descriptor or no memory left. A call that fails for that
// reason has changed nothing. So it is tried again until it works, and the log has one line about it.
type shortage struct {
	lines  *lines.Log
	dir    string
	spare  func() bool   // frees descriptors that can be spared, and reports whether there were any
	opened bool          // Open has ended; Open itself does not wait
	inline bool          // a test: try again at once
	ended  chan struct{} // closed by Close: no call waits any longer

	mu   sync.Mutex
	told time.Time
}

const (
	// shortageWait is the wait before the next try.
	shortageWait = 50 * time.Millisecond
	// shortageQuiet is how long nothing more is logged after a line.
	shortageQuiet = time.Minute
)

// isShortage reports whether err says that no descriptor or no memory is left.
func isShortage(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// wait reports whether to try again the call that failed with err. If nothing can be spared, it waits before that.
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

// end ends all waiting.
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

// tell logs the shortage, unless it did so recently.
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
