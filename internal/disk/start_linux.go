//go:build !arm

package disk

import (
	"os"
	"syscall"
)

// Of sync_file_range(2).
const (
	rangeWaitBefore = 1
	rangeWrite      = 2
)

// advised returns the file that was opened for advice; nil: it can't be opened once more.
func (f *file) advised() *os.File {
	if f.again != nil {
		f.advice, _ = f.again()
		f.again = nil
	}
	return f.advice
}

// Start has bytes that were written begin their way to the disk. Any error means that a Sync does it, and is told why that can't be.
func (f *file) Start(at, n int64) {
	if advice := f.advised(); advice != nil {
		_ = again("sync_file_range", advice, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWrite) })
	}
}

// Await waits for bytes that were started. Where the system can't wait for some, it syncs all.
func (f *file) Await(at, n int64) {
	if n == 0 { // it would be all that there is
		return
	}
	advice := f.advised()
	if advice == nil {
		return
	}
	if again("sync_file_range", advice, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWaitBefore) }) != nil {
		_ = syncData(advice)
	}
}
