package disktest

import (
	"io"
	"path/filepath"

	"github.com/singledecree/paxos/internal/disk"
)

// Paths are the calls of a directory, with whole paths in the place of names.
type Paths interface {
	Create(path string) (disk.File, error)
	Open(path string, write bool) (disk.File, error)
	Rename(from, to string) error
	Remove(path string) error
	List(dir string) ([]string, error)
	SyncDir(dir string) error
	Lock(path string, shared bool) (io.Closer, error)
}

// At returns dir as an open directory: each call becomes one of f with the whole path.
func At(f Paths, dir string) disk.Dir { return at{f, filepath.Clean(dir)} }

type at struct {
	paths Paths
	dir   string
}

func (a at) in(name string) string { return filepath.Join(a.dir, name) }

// Path returns the name of the directory.
func (a at) Path() string { return a.dir }

// Create makes a file that must not exist.
func (a at) Create(name string) (disk.File, error) { return a.paths.Create(a.in(name)) }

// Open opens a file.
func (a at) Open(name string, write bool) (disk.File, error) { return a.paths.Open(a.in(name), write) }

// Rename renames a file.
func (a at) Rename(from, to string) error { return a.paths.Rename(a.in(from), a.in(to)) }

// Remove removes a file.
func (a at) Remove(name string) error { return a.paths.Remove(a.in(name)) }

// RemoveSlowly removes a file at once.
func (a at) RemoveSlowly(name string, _ func()) error { return a.Remove(name) }

// List returns the names of all files, in order.
func (a at) List() ([]string, error) { return a.paths.List(a.dir) }

// Sync makes the names durable.
func (a at) Sync() error { return a.paths.SyncDir(a.dir) }

// Lock locks a name.
func (a at) Lock(name string, shared bool) (io.Closer, error) {
	return a.paths.Lock(a.in(name), shared)
}

// Close does nothing.
func (a at) Close() error { return nil }
