package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// syncDir does nothing: on windows a directory can't be synced. NTFS keeps names in a journal of its own, in order; that the last
// changes of it survive the loss of power is an assumption there.
func syncDir(*os.File) error { return nil }

const errorSharingViolation = syscall.Errno(32)

// gone reports that a process is there: on windows nobody but it could have written the lock file.
func gone(int) bool { return false }

// lock opens the file in a way that keeps others from writing it; if it is not to be shared, this writes it, so nobody can share it. While
// it is open it can't be removed. A shared lock changes nothing on disk.
func (d *dir) lock(name string, shared bool) (io.Closer, error) {
	name = filepath.Join(d.path, name)
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	access, how := uint32(syscall.GENERIC_READ|syscall.GENERIC_WRITE), uint32(syscall.OPEN_ALWAYS)
	if shared {
		access, how = syscall.GENERIC_READ, syscall.OPEN_EXISTING
	}
	h, err := syscall.CreateFile(path, access, syscall.FILE_SHARE_READ, nil, how, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	switch {
	case err == nil:
	case errors.Is(err, errorSharingViolation):
		return nil, fmt.Errorf("lock %s: %w", name, lockedBy(name, path, shared))
	case shared && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
		return nil, fmt.Errorf("lock %s: %w", name, ErrNoLock)
	default:
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	l := &lock{os.NewFile(uintptr(h), name), !shared}
	if l.sole {
		writeHolder(l.File, true)
	}
	return l, nil
}

// lockedBy returns who keeps the file from being locked. If it can be shared, it is others who read.
func lockedBy(name string, path *uint16, shared bool) error {
	if !shared {
		if h, err := syscall.CreateFile(path, syscall.GENERIC_READ, syscall.FILE_SHARE_READ, nil, syscall.OPEN_EXISTING, syscall.FILE_ATTRIBUTE_NORMAL, 0); err == nil {
			syscall.CloseHandle(h)
			return &LockedError{Reading: true}
		}
	}
	if f, err := os.Open(name); err == nil {
		defer f.Close()
		if e := readHolder(f); e != nil {
			return e
		}
	}
	return &LockedError{}
}

// A lock is an open file.
type lock struct {
	*os.File
	sole bool
}

// Close unlocks.
func (l *lock) Close() error {
	if l.sole {
		writeHolder(l.File, false)
	}
	return l.File.Close()
}
