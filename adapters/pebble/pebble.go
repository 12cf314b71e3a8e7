// Package pebble is a [paxos.Storage] in a pebble database: a directory, in which writes go to a log first and are merged in the
// background. Use it if the decisions do not fit into memory and many are written.
//
// If the decisions fit into memory, use package wal. If few are written, package adapters/bbolt is smaller and simpler.
//
//	s, err := pebble.Open("/var/lib/service/paxos", nil)
//	…                                      // once in the server's life: paxos.Format(s, id, members)
//	n, err := node.Start(ctx, node.Config{ID: id, Members: members, Storage: s, Transport: t})
//	…
//	n.Close()
//	s.Close()
//
// pebble has checksums: damage is an error, of Open or of the call that meets it. There is one exception. If Open finds damage in the
// last 32 KiB of the log, it takes that for a batch that a crash interrupted. All that was saved from there on is lost, without an error. A
// disk that keeps what it was given never meets this case. Package wal reports such a loss.
//
// If pebble fails to write in the background, it can't go on: the process ends with a panic that says why.
package pebble

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// The first byte of a key says what it is for:
//
//	f          the format: 1 byte, 1
//	i INDEX    a decided instance; INDEX: 8 bytes, big-endian. The value is its name
//	r NAME     the Record of an instance
//	s          the ServerState
//	u NAME     an instance that is not decided; no value
//
// The values of records and state are their binary forms. pebble guards them with checksums.
const (
	kindFormat    = 'f'
	kindIndex     = 'i'
	kindRecord    = 'r'
	kindState     = 's'
	kindUndecided = 'u'
)

const format = 1

// A Storage is a [paxos.Storage] in a pebble database. It has the database for itself: another process, or another [Open], is refused.
// Its methods are safe for concurrent use; Saves run one after the other. Every call fails after a Save has failed, and after Close.
type Storage struct {
	db     *pebble.DB
	lock   io.Closer         // on the directory; nil: the file system is not the machine's
	saving sync.Mutex        // guards state
	state  paxos.ServerState // last saved

	mu   sync.RWMutex // guards what follows; held for reading while db is read
	err  error        // why every call fails
	done bool         // db is closed
}

var errClosed = errors.New("the storage is closed")

// ErrLocked is in the error of [Open] if dir is open already, in this process or another. The error says which, if that is known. If
// Options.FS is not the machine's file system, the lock of pebble itself refuses, with an error of its own.
var ErrLocked = disk.ErrLocked

// Open opens the database in dir. If there is none, it makes an empty one, and dir if that is missing; call [paxos.Format] on it.
//
// Open locks the directory itself. If dir is locked already, also by this process, it fails with [ErrLocked]. A later change of the
// working directory or of a symbolic link does not lead the storage elsewhere.
//
// options may be nil, and is not changed. Nil means the defaults of pebble, without logging, and with a filter on each level, which makes
// the search for an unknown name cheap. Of a Logger, only Fatalf is used. Open refuses DisableWAL and NoSyncOnClose, which give up
// durability. It also refuses ReadOnly, and a Comparer other than the default.
func Open(dir string, options *pebble.Options) (*Storage, error) {
	o, err := checkOptions(options)
	if err != nil {
		return nil, fmt.Errorf("pebble: open: %w", err)
	}
	s := &Storage{}
	path, err := s.hold(dir, o.FS)
	if err != nil {
		return nil, fmt.Errorf("pebble: open %s: %w", dir, err)
	}
	err = guard(func() (err error) {
		s.db, err = pebble.Open(path, o)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pebble: open %s: %w", dir, errors.Join(err, s.release()))
	}
	if err := guard(s.prepare); err != nil {
		s.Close()
		return nil, fmt.Errorf("pebble: open %s: %w", dir, err)
	}
	return s, nil
}

// lockName is the file that says which process has locked the directory. The lock file of pebble itself locks nothing once
// it is removed.
const lockName = "PAXOS_LOCK"

// hold makes the directory if it is missing, locks it until release, and returns its path. The path is absolute and without symbolic links,
// so pebble finds its files whatever the working directory becomes. On a file system that is not the machine's, hold does nothing.
func (s *Storage) hold(dir string, files vfs.FS) (path string, err error) {
	if files != nil && files != vfs.Default {
		return dir, nil
	}
	if err := (disk.OS{}).MakeDir(dir); err != nil {
		return "", err
	}
	d, err := disk.OS{}.OpenDir(dir)
	if err != nil {
		return "", err
	}
	if s.lock, err = d.Lock(lockName, false); err != nil {
		return "", errors.Join(err, d.Close())
	}
	return d.Path(), d.Close()
}

// release releases what hold locked.
func (s *Storage) release() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

func checkOptions(options *pebble.Options) (*pebble.Options, error) {
	o := &pebble.Options{}
	if options != nil {
		o = options.Clone()
	}
	switch {
	case o.DisableWAL:
		return nil, errors.New("Options.DisableWAL: a server that forgets its promises breaks agreement")
	case o.NoSyncOnClose:
		return nil, errors.New("Options.NoSyncOnClose: a server that forgets its promises breaks agreement")
	case o.ReadOnly:
		return nil, errors.New("Options.ReadOnly: a server saves")
	case o.Comparer != nil && o.Comparer.Name != pebble.DefaultComparer.Name:
		return nil, fmt.Errorf("Options.Comparer: %s: names are in byte order", o.Comparer.Name)
	}
	if options == nil {
		for i := range o.Levels {
			o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		}
	}
	if o.FormatMajorVersion == pebble.FormatDefault {
		o.FormatMajorVersion = pebble.FormatNewest
	}
	if o.Logger == nil {
		o.Logger = silence{}
	}
	o.Logger = logger{o.Logger}
	if o.EventListener == nil {
		// By default pebble ends the process when it meets damage, although the call that met it returns an error, too. By default it
		// also watches the disk, in a goroutine that outlives a failed Open; nothing here would use its reports.
		o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
		o.FS = cmp.Or(o.FS, vfs.Default)
	}
	return o, nil
}

// prepare checks the format, or notes it if the database is new. It also notes the state that was saved last.
//
// Nothing must be read that may still be lost, and the log that pebble found may have been in the page cache only. Open
// of pebble has written its contents to a table, and synced that.
func (s *Storage) prepare() error {
	got, err := get(s.db, []byte{kindFormat}, func(value []byte) error {
		if len(value) != 1 || value[0] != format {
			return fmt.Errorf("format %v: this version knows format %d", value, format)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if got {
		s.state, err = loadState(s.db)
		return err
	}
	if err := s.db.Set([]byte{kindFormat}, []byte{format}, pebble.Sync); err != nil {
		return err
	}
	// The first log of a new database has an old format. That format can't distinguish damage from an interrupted batch. Flush begins the
	// next log.
	return s.db.Flush()
}

// Close waits for running calls, and closes the database. To close it again does nothing.
func (s *Storage) Close() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = errClosed
	}
	if s.done {
		return nil
	}
	s.done = true
	return errors.Join(guard(s.db.Close), s.release())
}

// guard runs f and returns a panic of pebble as an error.
func guard(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = p
		default:
			err = fmt.Errorf("%v", p)
		}
	}()
	return f()
}

// A logger panics where pebble's own logger would end the process.
type logger struct{ pebble.Logger }

func (logger) Fatalf(text string, args ...any) { panic(fmt.Errorf(text, args...)) }

type silence struct{}

func (silence) Infof(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}

// get calls f with the value of a key, and reports whether there is one. The value is valid until f returns.
func get(from pebble.Reader, key []byte, f func(value []byte) error) (ok bool, err error) {
	value, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(f(value), closer.Close())
}

// loadRecord returns the record of a name, or the zero Record.
func loadRecord(from pebble.Reader, name string) (r paxos.Record, err error) {
	_, err = get(from, key(kindRecord, name), func(value []byte) error {
		if err := r.UnmarshalBinary(value); err != nil {
			return err
		}
		if r.Instance != name {
			return fmt.Errorf("it is damaged: it says that it is of %q", r.Instance)
		}
		return nil
	})
	if err != nil {
		return paxos.Record{}, fmt.Errorf("record %q: %w", name, err)
	}
	return r, nil
}

// loadState returns the server's state, or the zero ServerState.
func loadState(from pebble.Reader) (state paxos.ServerState, err error) {
	_, err = get(from, []byte{kindState}, func(value []byte) error { return state.UnmarshalBinary(value) })
	if err != nil {
		return paxos.ServerState{}, fmt.Errorf("state: %w", err)
	}
	return state, nil
}

// scan calls f with each key and value from low to below high, until f returns false or an error.
func scan(from pebble.Reader, low, high []byte, f func(key, value []byte) (bool, error)) error {
	it, err := from.NewIter(&pebble.IterOptions{LowerBound: low, UpperBound: high})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		more := false
		if err == nil {
			more, err = f(it.Key(), value)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !more {
			break
		}
	}
	return errors.Join(it.Error(), it.Close())
}

func key(kind byte, name string) []byte { return append([]byte{kind}, name...) }
