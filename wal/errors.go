package wal

import (
	"errors"
	"fmt"
	"os"
)

// A CorruptionError says that a file does not hold what was written to it, and where. Nothing was changed. The server must
// not go on under its ServerID with less than it had: restore the file as it was, or give the server up.
type CorruptionError struct {
	File   string // with its directory
	Offset int64  // of what is wrong, in bytes
	Reason string
}

// Error names the file, the offset and the reason.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("wal: %s, offset %d: damaged: %s", e.File, e.Offset, e.Reason)
}

var (
	errClosed   = fmt.Errorf("wal: the log is closed: %w", os.ErrClosed)
	errEntrySum = errors.New("the checksum of the entry does not match")
	errReadOnly = errors.New("wal: the log was opened with Options.ReadOnly")
)
