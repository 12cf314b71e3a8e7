//go:build unix

package disk

import (
	"os"
	"syscall"
)

// removePiece is how many bytes RemoveSlowly frees at a time. That takes a fraction of a millisecond.
const removePiece = 512 << 10

// RemoveSlowly takes away the name first, and then cuts the file short again and again. So no crash leaves a shorter file with its name. If
// it can't go on, the Close frees the rest.
func (d *dir) RemoveSlowly(name string, rest func()) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return d.Remove(name)
	}
	defer f.Close()
	if err := d.Remove(name); err != nil {
		return err
	}
	for size := unnamedSize(f) - removePiece; size > 0 && f.Truncate(size) == nil; size -= removePiece {
		rest()
	}
	return nil
}

// unnamedSize returns the size of a file without a name. For one that still has a name it is zero.
func unnamedSize(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	if is, ok := info.Sys().(*syscall.Stat_t); !ok || is.Nlink > 0 {
		return 0
	}
	return info.Size()
}
