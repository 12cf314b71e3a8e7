package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// OS is the file system of the machine.
type OS struct{}

// MakeDir makes dir and the directories above it, durably. An existing directory may be the work of a process that was killed before it
// synced the one above. So MakeDir syncs that one in any case, where it is allowed.
func (fs OS) MakeDir(dir string) error {
	above := filepath.Dir(dir)
	_, err := os.Stat(dir)
	switch {
	case err == nil:
		if err := syncPath(above); err != nil && !errors.Is(err, os.ErrPermission) {
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
	return syncPath(above)
}

// syncPath makes durable which files are in a directory.
func syncPath(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDir(d)
}

// OpenDir opens a directory.
func (OS) OpenDir(name string) (Dir, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved // else the next call says why not
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, named(err, path)
	}
	return &dir{root, self, path}, nil
}

// A dir is an open directory of the machine. All calls are relative to its descriptor.
type dir struct {
	root *os.Root
	self *os.File // the directory as a file, which can be synced without another descriptor
	path string
}

// Path returns the path by which the directory was opened.
func (d *dir) Path() string { return d.path }

// named has an error of the file system name the whole path.
func named(err error, path string) error {
	if e, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: e.Op, Path: path, Err: e.Err}
	}
	return err
}

// Create makes a file that must not exist, and opens it.
func (d *dir) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open opens a file for reading, and for writing if write is set.
func (d *dir) Open(name string, write bool) (File, error) {
	if write {
		return d.open(name, os.O_RDWR)
	}
	return d.open(name, os.O_RDONLY)
}

func (d *dir) open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, named(err, filepath.Join(d.path, name))
	}
	if flag == os.O_RDONLY {
		return &file{File: f}, nil
	}
	return &file{File: f, again: func() (*os.File, error) { return d.root.Open(name) },
		around: func(flag int) (*os.File, error) { return d.root.OpenFile(name, os.O_WRONLY|flag, 0) }}, nil
}

// Rename gives a file another name.
func (d *dir) Rename(from, to string) error {
	err := d.root.Rename(from, to)
	if e, ok := err.(*os.LinkError); ok {
		return &os.LinkError{Op: e.Op, Old: filepath.Join(d.path, from), New: filepath.Join(d.path, to), Err: e.Err}
	}
	return err
}

// Remove removes a file.
func (d *dir) Remove(name string) error {
	return named(d.root.Remove(name), filepath.Join(d.path, name))
}

// List returns the names of all files, in order.
func (d *dir) List() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, named(err, d.path)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Sync makes durable which files there are.
func (d *dir) Sync() error { return named(syncDir(d.self), d.path) }

// Lock makes the file, if need be, and locks it until it is closed, or this process ends.
func (d *dir) Lock(name string, shared bool) (io.Closer, error) { return d.lock(name, shared) }

// Close gives back what OpenDir took.
func (d *dir) Close() error { return errors.Join(d.self.Close(), d.root.Close()) }

// A file is an os.File whose Sync does no more than it must.
type file struct {
	*os.File
	// advice is the same file, opened once more by the first Start or Await; nil: not yet, or it can't be, and they do nothing. The
	// system tells each opened file once that a write failed. So the advice, whose errors are ignored, can't be told in the place of Sync.
	advice *os.File
	again  func() (*os.File, error) // opens it; nil: it was tried, or the file is only read
	// direct is the same file, opened once more by the first long write, to write around the system's cache; nil: not yet, or it can't be.
	direct *os.File
	around func(flag int) (*os.File, error) // opens it; nil: it was tried, or the file is only read
	late   error                            // of an Await, where the platform has no advice: Sync returns it
}

// leastDirect is how many bytes a write has at least that goes around the system's cache. A shorter one would wait longer for the disk than
// it takes to copy it.
const leastDirect = 128 << 10

// WriteAt writes.
func (f *file) WriteAt(b []byte, at int64) (int, error) {
	if len(b) < leastDirect {
		return f.File.WriteAt(b, at)
	}
	return f.writeLong(b, at)
}

// Sync makes durable all that was written, and how long the file is.
func (f *file) Sync() error {
	if err := syncData(f.File); err != nil {
		return err
	}
	return f.late
}

// Close closes the file.
func (f *file) Close() error {
	for _, more := range []*os.File{f.advice, f.direct} {
		if more != nil {
			more.Close()
		}
	}
	return f.File.Close()
}

// Size returns how long the file is. It allocates nothing, as a Stat would: a Save asks.
func (f *file) Size() (int64, error) { return f.Seek(0, io.SeekEnd) }
