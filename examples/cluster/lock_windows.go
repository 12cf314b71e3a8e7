package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

const errorSharingViolation = syscall.Errno(32)

// lockDir locks a directory until it is closed, or this process ends: by a file in it that nobody else can open meanwhile.
func lockDir(dir string) (io.Closer, error) {
	path, err := syscall.UTF16PtrFromString(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(path, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if errors.Is(err, errorSharingViolation) {
		return nil, errInUse
	}
	if err != nil {
		return nil, os.NewSyscallError("CreateFile", err)
	}
	return os.NewFile(uintptr(h), dir), nil
}
