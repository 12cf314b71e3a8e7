//go:build unix && !solaris && !illumos && !aix

package main

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// lockDir locks a directory until it is closed, or this process ends. The lock is on the directory itself: nobody can remove it and
// leave the directory.
func lockDir(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return f, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			f.Close()
			return nil, errInUse
		default:
			f.Close()
			return nil, os.NewSyscallError("flock", err)
		}
	}
}
