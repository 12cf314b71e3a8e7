//go:build unix

package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// syncDir makes durable which files are in a directory under which names.
func syncDir(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return fmt.Errorf("this file system can't make names durable: use another, such as ext4 or xfs: %w", err)
	}
	return err
}

// errNoFlock is what flock returns on platforms without it.
var errNoFlock = errors.New("this platform has no flock")

// gone reports whether there is no process with that id.
func gone(process int) bool { return errors.Is(syscall.Kill(process, 0), syscall.ESRCH) }

// A lock is on a directory and on a file in it. Nobody can take the first away without the directory. The second is for file systems
// that lock files only, and says who has the lock.
type lock struct {
	dir  *os.File // nil: the file system can't lock a directory
	file *os.File // nil: a shared lock, for whom there is no file, or none that may be read
	sole bool
}

// lock locks the directory and the file. A shared lock changes nothing on disk.
func (d *dir) lock(name string, shared bool) (io.Closer, error) {
	path := filepath.Join(d.path, name)
	l := &lock{sole: !shared}
	err := l.lockDir(d, name)
	if err == nil {
		err = l.lockFile(d, name)
	}
	if err == nil && l.dir == nil && l.file == nil {
		err = ErrNoLock
	}
	if err != nil {
		l.sole = false // the file is another's
		l.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if l.sole {
		writeHolder(l.file, true)
	}
	return l, nil
}

// lockDir locks the directory, where the file system can.
func (l *lock) lockDir(d *dir, name string) error {
	f, err := d.root.Open(".")
	if err != nil {
		return named(err, d.path)
	}
	switch err := flock(f, !l.sole); {
	case err == nil:
		l.dir = f
		return nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		defer f.Close()
		return d.lockedBy(f, name, l.sole)
	case isNotOffered(err):
		f.Close()
		return nil
	default:
		f.Close()
		return err
	}
}

// isNotOffered reports whether err says that what was asked for can't be had of this file system or platform: NFS wants to write to what
// it locks.
func isNotOffered(err error) bool {
	for _, no := range []error{syscall.EBADF, syscall.EINVAL, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOLCK,
		syscall.EISDIR, syscall.EPERM, syscall.EACCES, errNoFlock} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// lockFile locks the file, and makes it if it is not to be shared. One that was removed before it was locked, and perhaps made anew by
// another, locks nothing: then the one that has its name is tried.
func (l *lock) lockFile(d *dir, name string) error {
	flag := os.O_RDWR | os.O_CREATE
	if !l.sole {
		flag = os.O_RDONLY
	}
	for {
		f, err := d.root.OpenFile(name, flag, 0o600)
		if !l.sole && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
			return nil
		}
		if err != nil {
			return named(err, filepath.Join(d.path, name))
		}
		if err := flock(f, !l.sole); err != nil {
			defer f.Close()
			switch {
			case errors.Is(err, syscall.EWOULDBLOCK):
				return d.lockedBy(f, name, l.sole)
			case !l.sole && isNotOffered(err):
				return nil
			}
			return err
		}
		is, err := f.Stat()
		if now, err2 := d.root.Stat(name); err == nil && err2 == nil && os.SameFile(is, now) {
			l.file = f
			return nil
		} else if err2 != nil && !errors.Is(err2, fs.ErrNotExist) {
			err = err2
		}
		f.Close()
		if err != nil {
			return err
		}
	}
}

// lockedBy returns who keeps f from being locked. If that can be shared, it is others who read.
func (d *dir) lockedBy(f *os.File, name string, sole bool) error {
	if sole && flock(f, true) == nil {
		return &LockedError{Reading: true}
	}
	if f, err := d.root.Open(name); err == nil {
		defer f.Close()
		if e := readHolder(f); e != nil {
			return e
		}
	}
	return &LockedError{}
}

// Close unlocks. It does not leave that to the closing of descriptors: a process that was forked meanwhile, and has not yet begun its own
// program, has them too.
func (l *lock) Close() error {
	if l.sole {
		writeHolder(l.file, false)
	}
	var errs []error
	for _, f := range []*os.File{l.file, l.dir} {
		if f != nil {
			errs = append(errs, unflock(f), f.Close())
		}
	}
	return errors.Join(errs...)
}
