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
