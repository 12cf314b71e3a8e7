package wal

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// A CorruptionError says that a file does not hold what was written to it, and where. Nothing was changed. The server must not go on
// under its [paxos.ServerID] with less than it had: restore the file as it was, or give the server up.
type CorruptionError struct {
	File   string // with its directory
	Offset int64  // where the damage is, in bytes
	Reason string
}

// Error names the file, the offset and the reason.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("wal: %s, offset %d: damaged: %s", e.File, e.Offset, e.Reason)
}

// ErrNewer is in the error of [Open] if a newer version of this package has written the storage. Nothing is damaged: run that version.
var ErrNewer = errors.New("a newer version of the program has written it, and nothing is damaged: run that version")

// newer returns the error for a file of a later format version.
func newer(version uint64) error {
	return fmt.Errorf("format version %d: this program knows those up to %d only: %w", version, formatVersion, ErrNewer)
}

// unread returns the error for an entry with the right checksum that can't be read for another reason, which is err: a newer version has
// written it, or else it is damaged.
func unread(path string, offset int64, err error) error {
	if errors.Is(err, paxos.ErrNewer) {
		return fmt.Errorf("wal: %s, offset %d: %w: %w", path, offset, err, ErrNewer)
	}
	return &CorruptionError{path, offset, err.Error()}
}

// ErrLocked is in the error of [Open] and [Create] if the storage is open already, in this process or another. The error is a
// [*LockedError], too.
var ErrLocked = errors.New("the storage is open already")

// A LockedError says that a storage is open already, and which process has it open. Never remove the file LOCK: that does not unlock the
// storage. Find the process and end it, or wait for it.
type LockedError struct {
	Dir     string // directory of the storage
	Own     bool   // this process itself has it open
	Reading bool   // it is open with Options.ReadOnly, perhaps in several processes; their IDs are not known
	Process int    // ID of the process that has it open; zero: not known
	Host    string // where that process runs; empty: not known
}

// Error says which process has the storage open.
func (e *LockedError) Error() string {
	who := "a process has it open; its file LOCK does not say which"
	switch {
	case e.Own:
		who = "this very process has it open"
	case e.Reading:
		who = "a process has it open to read it"
	case e.Process != 0:
		who = fmt.Sprintf("process %d on host %q has it open", e.Process, e.Host)
	}
	return fmt.Sprintf("%s is locked: %s", e.Dir, who)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// lock locks a directory.
func lock(files disk.Dir, shared bool) (io.Closer, error) {
	closer, err := files.Lock(lockName, shared)
	if by := (*disk.LockedError)(nil); errors.As(err, &by) {
		return nil, &LockedError{files.Path(), by.Own, by.Reading, by.Process, by.Host}
	}
	return closer, err
}

var (
	errClosed   = fmt.Errorf("wal: the log is closed: %w", os.ErrClosed)
	errEntrySum = errors.New("the checksum of the entry does not match")
	errReadOnly = errors.New("wal: the log was opened with Options.ReadOnly")
)
