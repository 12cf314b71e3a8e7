// Package disk is what a storage asks of a file system, so that tests can put one in its place that forgets what was not
// synced. The real one is OS.
package disk

import "io"

// An FS is a file system. Names are paths. It is safe for concurrent use.
type FS interface {
	// Create makes a file that must not exist, and opens it.
	Create(name string) (File, error)
	// Open opens a file for reading, and for writing if write is set.
	Open(name string, write bool) (File, error)
	// Rename gives a file another name, in place of the file that had it.
	Rename(from, to string) error
	Remove(name string) error
	// List returns the names, without their directory, of what is in dir, in order.
	List(dir string) ([]string, error)
	// SyncDir makes durable which files are in dir under which names, where the platform can.
	SyncDir(dir string) error
	// MakeDir makes dir, and those above it, durably, if they are not there.
	MakeDir(dir string) error
	// Lock makes the file, if need be, and locks it: exclusive, or shared with others who are content with that. Who
	// can't gets ErrLocked.
	Lock(name string, shared bool) (io.Closer, error)
}

// A File is an open file. ReadAt is safe beside everything.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes durable all that was written, and how long the file is.
	Sync() error
	// Start has the n bytes at that offset, which were written, begin their way to the disk, where the platform can, so that a Sync has less
	// to do. It does not wait for them. An error is final, as one of Sync is.
	Start(at, n int64) error
	// Await waits until the n bytes at that offset, which were started, have left, so that no more are under way than somebody wants. It does
	// not make them durable.
	Await(at, n int64) error
	Size() (int64, error)
}
