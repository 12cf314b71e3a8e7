package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// ErrLocked is what Lock returns if another process, or another part of this one, has the lock.
var ErrLocked = errors.New("it is locked: another process uses it")

// OS is the file system of the machine.
type OS struct{}

// A file is an os.File whose Sync does no more than it must.
type file struct{ *os.File }

// Create makes a file that must not exist, and opens it.
func (OS) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open opens a file for reading, and for writing if write is set.
func (OS) Open(name string, write bool) (File, error) {
	if write {
		return open(name, os.O_RDWR)
	}
	return open(name, os.O_RDONLY)
}

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// Sync makes durable all that was written, and how long the file is.
func (f file) Sync() error { return syncData(f.File) }

// Start has bytes that were written begin their way to the disk.
func (f file) Start(at, n int64) error { return startData(f.File, at, n) }

// Await waits for bytes that were started.
func (f file) Await(at, n int64) error { return awaitData(f.File, at, n) }

// Size returns how long the file is.
func (f file) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Rename gives a file another name.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (OS) Remove(name string) error { return os.Remove(name) }

// List returns the names of what is in dir, in order.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// MakeDir makes dir, and those above it, durably. One that is there already may have been made by a process that did not
// live to sync the one above, so that is done in any case, where it is allowed.
func (fs OS) MakeDir(dir string) error {
	above := filepath.Dir(dir)
	_, err := os.Stat(dir)
	switch {
	case err == nil:
		if err := fs.SyncDir(above); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return err
	case above != dir:
		if err := fs.MakeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return fs.SyncDir(above)
}

// Lock makes the file, if need be, and locks it until it is closed, or this process ends.
func (OS) Lock(name string, shared bool) (io.Closer, error) { return lock(name, shared) }
