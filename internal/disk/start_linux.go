//go:build !arm

package disk

import (
	"errors"
	"os"
	"syscall"
)

// Of sync_file_range(2).
const (
	rangeWaitBefore = 1
	rangeWrite      = 2
)

// startData has the bytes there begin to be written. It may be the first to be told that something could not be written, and the last:
// whatever it returns is final.
func startData(f *os.File, at, n int64) error {
	err := again("sync_file_range", f, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWrite) })
	if errors.Is(err, syscall.ENOSYS) {
		return nil // a Sync will do it
	}
	return err
}

// awaitData waits until those that began to be written are.
func awaitData(f *os.File, at, n int64) error {
	if n == 0 {
		return nil // it would be all that there is
	}
	err := again("sync_file_range", f, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWaitBefore) })
	if errors.Is(err, syscall.ENOSYS) {
		return syncData(f)
	}
	return err
}
