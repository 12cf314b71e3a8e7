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

// openAdvice opens the file for Start and Await; nil: it can't be opened once more.
func (d *dir) openAdvice(name string) *os.File {
	f, err := d.root.Open(name)
	if err != nil {
		return nil
	}
	return f
}

// Start has bytes that were written begin their way to the disk. Any error means that a Sync does it, and is told why that can't be.
func (f *file) Start(at, n int64) {
	if f.advice != nil {
		_ = again("sync_file_range", f.advice, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWrite) })
	}
}

// Await waits for bytes that were started. Where the system can't wait for some, it syncs all.
func (f *file) Await(at, n int64) {
	if f.advice == nil || n == 0 { // zero would be all that there is
		return
	}
	if again("sync_file_range", f.advice, func(fd int) error { return syscall.SyncFileRange(fd, at, n, rangeWaitBefore) }) != nil {
		_ = syncData(f.advice)
	}
}
