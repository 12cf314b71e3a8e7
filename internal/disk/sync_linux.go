package disk

import (
	"errors"
	"os"
	"syscall"
)

// syncData is fdatasync: it leaves out the times of the file, which would cost a commit of the file system's journal.
func syncData(f *os.File) error {
	return again("fdatasync", f, func(fd int) error { return syscall.Fdatasync(fd) })
}

// Of sync_file_range(2).
const (
	rangeWaitBefore = 1
	rangeWrite      = 2
)

// startData has the bytes there begin to be written, and waits for as many before them.
func startData(f *os.File, at, n int64) error {
	err := again("sync_file_range", f, func(fd int) error {
		if before := max(at-n, 0); before < at {
			if err := syscall.SyncFileRange(fd, before, at-before, rangeWaitBefore); err != nil {
				return err
			}
		}
		return syscall.SyncFileRange(fd, at, n, rangeWrite)
	})
	if errors.Is(err, errors.ErrUnsupported) {
		return syncData(f)
	}
	return err
}

// again calls what, and again when a signal has interrupted it.
func again(name string, f *os.File, what func(fd int) error) error {
	for {
		err := what(int(f.Fd()))
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EINTR):
			return &os.PathError{Op: name, Path: f.Name(), Err: err}
		}
	}
}
