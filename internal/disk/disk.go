// Package disk is what a storage asks of a file system, so that tests can put one in its place that forgets what was not
// synced. The real one is OS.
package disk

import "io"

// PageSize is the size of a part of a file that can be written around the system's cache, in bytes.
const PageSize = 4096

// An FS is a file system. It is safe for concurrent use.
type FS interface {
	// MakeDir makes dir, and those above it, durably, if they are not there.
	MakeDir(dir string) error
	// OpenDir opens a directory that exists. Symbolic links in its name are followed now, and never again.
	OpenDir(dir string) (Dir, error)
}

// A Dir is an open directory. It stays the one that was opened, whatever becomes of its name, of symbolic links or of the working
// directory. The name of a file is its name in the directory, without a separator. A Dir is safe for concurrent use.
type Dir interface {
	// Path returns the path by which the directory was opened, absolute and without symbolic links, for people to read.
	Path() string
	// Create makes a file that must not exist, and opens it.
	Create(name string) (File, error)
	// Open opens a file for reading, and for writing if write is set.
	Open(name string, write bool) (File, error)
	// Rename gives a file another name, in place of the file that had it.
	Rename(from, to string) error
	Remove(name string) error
	// RemoveSlowly is Remove for a large file that nobody reads. To free all of its room at once would keep a processor and the file system
	// busy for long. So it does that piece by piece, where the platform can, and calls rest after each. A file that has another name keeps
	// its content.
	RemoveSlowly(name string, rest func()) error
	// List returns the names of all files, in order.
	List() ([]string, error)
	// Sync makes durable which files there are under which names, where the platform can.
	Sync() error
	// Lock makes the file, if need be, and locks it: exclusive, or shared with others who are content with that. If another holder prevents
	// that, it returns ErrLocked.
	Lock(name string, shared bool) (io.Closer, error)
	// Close gives back what OpenDir took. Files and locks stay open.
	Close() error
}

// A File is an open file. ReadAt is safe beside everything.
//
// A long WriteAt goes around the system's cache, where the platform can. For that, its first byte must be as far behind a multiple of
// [PageSize] in memory as in the file. Memory of 32 KiB and more that Go allocates begins at such a multiple.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Reserve makes an empty file n bytes long. All of them read as zeros, and have room on the disk, but were not written. It fails where the
	// platform has no such thing; then the file is as it was, or partly so.
	Reserve(n int64) error
	// Sync makes durable all that was written, and how long the file is.
	Sync() error
	// Start has the n bytes at that offset, which were written, begin their way to the disk, where the platform can, so that a Sync has less
	// to do. It does not wait for them. It is advice: it can't fail, and if they can't be written the next Sync says so.
	Start(at, n int64)
	// Await waits until the n bytes at that offset, which were started, have left, so that no more are under way than somebody wants. It does
	// not make them durable. It is advice, like Start.
	Await(at, n int64)
	Size() (int64, error)
}
