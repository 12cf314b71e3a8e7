package disk

import (
	"errors"
	"os"
	"syscall"
)

// syncData is fdatasync: it leaves out the times of the file, which would cost a commit of the file system's journal.
func syncData(f *os.File) error {
	return again("fdatasync", f, syscall.Fdatasync)
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
