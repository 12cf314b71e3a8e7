package disk

import (
	"errors"
	"os"
	"syscall"
)

// Reserve is fallocate. A signal makes it begin again.
func (f *file) Reserve(n int64) error {
	return again("fallocate", f.File, func(fd int) error { return syscall.Fallocate(fd, 0, 0, n) })
}

// directly returns the file that was opened to be written around the system's cache; nil: it can't be. If another file has its name by
// now, that one must not be written to.
func (f *file) directly() *os.File {
	if f.around != nil {
		f.direct, _ = f.around(syscall.O_DIRECT)
		f.around = nil
		if f.direct != nil && !isSame(f.File, f.direct) {
			f.direct.Close()
			f.direct = nil
		}
	}
	return f.direct
}

func isSame(a, b *os.File) bool {
	is, err := a.Stat()
	other, err2 := b.Stat()
	return err == nil && err2 == nil && os.SameFile(is, other)
}

// writeLong writes the whole pages of b around the system's cache, if they lie in memory as the platform wants it. A page that b shares
// with its neighbors goes through the cache.
//
// Other opened files see what was written, and a Sync of any of them makes it durable. If it can't be written, this is told at once.
func (f *file) writeLong(b []byte, at int64) (int, error) {
	first := int(-at & (PageSize - 1))
	end := first + (len(b)-first)&^(PageSize-1)
	direct := f.directly()
	if direct == nil {
		return f.File.WriteAt(b, at)
	}
	if n, err := direct.WriteAt(b[first:end], at+int64(first)); errors.Is(err, syscall.EINVAL) {
		return f.File.WriteAt(b, at) // it lies elsewhere in memory, or this file system takes no such writes
	} else if err != nil {
		return n, err
	}
	if n, err := f.File.WriteAt(b[:first], at); err != nil {
		return n, err
	}
	n, err := f.File.WriteAt(b[end:], at+int64(end))
	return end + n, err
}
