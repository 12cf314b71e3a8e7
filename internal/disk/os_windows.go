package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// syncDir does nothing: on windows a directory can't be synced. NTFS keeps names in a journal of its own, in order; that the last
// changes of it survive the loss of power is an assumption there.
func syncDir(*os.File) error { return nil }

const errorSharingViolation = syscall.Errno(32)

// lock opens the file in a way that keeps others from opening it, or, if it is to be shared, from writing it.
func (d *dir) lock(name string, shared bool) (io.Closer, error) {
	name = filepath.Join(d.path, name)
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	access, share := uint32(syscall.GENERIC_READ|syscall.GENERIC_WRITE), uint32(0)
	if shared {
		access, share = syscall.GENERIC_READ, syscall.FILE_SHARE_READ
	}
	h, err := syscall.CreateFile(path, access, share, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		if errors.Is(err, errorSharingViolation) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return os.NewFile(uintptr(h), name), nil
}
