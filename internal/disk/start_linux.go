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

// startData has the bytes there begin to be written, and waits for as many before them. It may be the first to be told that something
// could not be written, and the last: whatever it returns is final.
func startData(f *os.File, at, n int64) error {
	err := again("sync_file_range", f, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWrite) })
	switch before := max(at-n, 0); {
	case errors.Is(err, syscall.ENOSYS):
		return syncData(f)
	case err != nil || before == at:
		return err
	default:
		return again("sync_file_range", f, func(fd int) error { return syscall.SyncFileRange(fd, before, at-before, rangeWaitBefore) })
	}
}
