package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

var (
	// ErrLocked is what Lock returns if another process, or another part of this one, has the lock: as a *LockedError.
	ErrLocked = errors.New("it is locked")
	// ErrNoLock is what Lock returns for a shared lock that can't be had here: nobody can be kept out, and nobody is known to be in.
	ErrNoLock = errors.New("nothing can be locked here")
)

// A LockedError says who has a lock.
type LockedError struct {
	Own     bool   // this very process
	Reading bool   // whoever has it shares it with others who read
	Process int    // its id; zero: not known
	Host    string // where it runs; empty: not known
}

// Error says who has the lock.
func (e *LockedError) Error() string {
	switch {
	case e.Own:
		return "it is locked: this very process has it open"
	case e.Reading:
		return "it is locked: a process has it open to read it"
	case e.Process == 0:
		return "it is locked: a process has it open, and the lock file does not say which"
	}
	return fmt.Sprintf("it is locked: process %d on host %q has it open", e.Process, e.Host)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// processKey tells this process from all others, also from one of another host, or of another container, that has the same id.
var processKey = sync.OnceValue(rand.Text)

// The text of a lock file says who has the lock; or had it, if that process was killed.
const (
	lockHolder = "paxos lock 1\nprocess %d\nhost %q\nkey %q\n"
	lockFree   = "paxos lock 1\nprocess none\n"
	lockAdvice = "\nA process that has this directory open holds a lock on the directory and on this file. The lock ends with the process;\n" +
		"this text may stay after a crash. Never remove this file: that unlocks nothing, and hides who holds the lock.\n"
	maxLockText = 4096
)

// writeHolder writes into the lock file that this process has the lock, or that none has. It serves people and the text of a LockedError.
// If it can't be written, the lock holds nevertheless.
func writeHolder(f *os.File, held bool) {
	text := lockFree + lockAdvice
	if held {
		host, _ := os.Hostname()
		text = fmt.Sprintf(lockHolder, os.Getpid(), host, processKey()) + lockAdvice
	}
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(text), 0)
	}
}

// readHolder returns what the lock file says of who has the lock; nil: of nobody who is alive, as far as is known.
func readHolder(r io.Reader) *LockedError {
	b, err := io.ReadAll(io.LimitReader(r, maxLockText))
	if err != nil {
		return nil
	}
	text, _, _ := strings.Cut(string(b), "\n\n")
	e, key := &LockedError{}, ""
	if _, err := fmt.Sscanf(text+"\n", lockHolder, &e.Process, &e.Host, &key); err != nil || e.Process <= 0 {
		return nil
	}
	host, _ := os.Hostname()
	e.Own = key == processKey()
	if !e.Own && e.Host == host && gone(e.Process) {
		return nil
	}
	return e
}
