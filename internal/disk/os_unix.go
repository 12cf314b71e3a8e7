//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// syncDir makes durable which files are in a directory under which names.
func syncDir(d *os.File) error { return d.Sync() }

func (d *dir) lock(name string, shared bool) (io.Closer, error) {
	path := filepath.Join(d.path, name)
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, named(err, path)
	}
	if err := flock(f, shared); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
