// Package pebble keeps what a server of package paxos must remember in a pebble database: a directory, in which writes go to a
// log first and are merged in the background. It is for servers whose decisions outgrow memory and that write a lot. Package
// wal is for those whose decisions fit into memory; package adapters/bbolt is smaller and simpler, for those that write little.
//
//	s, err := pebble.Open("/var/lib/service/paxos", nil)
//	…                                      // once in the server's life: paxos.Format(s, id, members)
//	n, err := paxos.Start(ctx, paxos.Config{ID: id, Members: members, Storage: s, Transport: t})
//	…
//	n.Close()
//	s.Close()
//
// pebble has checksums: damage is an error, of Open or of the call that meets it. There is one exception, which a disk that keeps
// what it was given never meets. When Open finds damage in the last 32 KiB of the log, it takes it for a batch that was being
// written at a crash: what was saved from there on is lost, and nothing tells. Package wal tells.
//
// When pebble fails to write in the background it has no way on, and the process ends with a panic that says why.
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

// The keys begin with a byte that says what they are of:
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

// A Storage is a paxos.Storage in a pebble database, which it has for itself: another process, or another Open, is refused. Its
// methods are safe for concurrent use; Saves wait for each other. Once a Save has failed every call fails, and so it is after
// Close.
type Storage struct {
	db     *pebble.DB
	lock   io.Closer         // on the directory; nil: it is not the machine's
	saving sync.Mutex        // guards state
	state  paxos.ServerState // last saved

	mu   sync.RWMutex // guards what follows; held for reading while db is read
	err  error        // why every call fails
	done bool         // db is closed
}

var errClosed = errors.New("the storage is closed")

// ErrLocked is in the error of Open when another process has dir open, or another Open in this one; the error says which, where it is
// known. With an Options.FS other than the machine's, pebble's own lock refuses, with an error of its own.
var ErrLocked = disk.ErrLocked

// Open opens the database in dir, or makes an empty one, and dir if it is missing; paxos.Format makes it a server's storage. It locks the
// directory itself; who has it locked already is told, as ErrLocked, also if that is this very process. Neither another working directory nor a symbolic
// link that is set anew leads it elsewhere later.
//
// options may be nil, which stands for pebble's own, a filter on each level, so that it is cheap to find that a name is unknown,
// and silence: of a Logger that is set, all but Fatalf is used. options is not changed. Options that give up durability
// are refused: DisableWAL, NoSyncOnClose. So are ReadOnly and a Comparer other than the default.
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
		return nil, fmt.Errorf("pebble: open %s: %w", dir, errors.Join(err, s.letGo()))
	}
	if err := guard(s.prepare); err != nil {
		s.Close()
		return nil, fmt.Errorf("pebble: open %s: %w", dir, err)
	}
	return s, nil
}

// lockName is the file that says which process has the lock on the directory. pebble has one of its own, which locks nothing once it was
// removed.
const lockName = "PAXOS_LOCK"

// hold makes the directory if it is missing, locks it until letGo, and returns its path: absolute, and without symbolic links, so that pebble
// opens files in it whatever the working directory is by then. Of a file system that is not the machine's, it does nothing.
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

// letGo ends what hold began.
func (s *Storage) letGo() error {
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
		// By default pebble ends the process when it meets damage; the call that met it returns an error too. And it watches the
		// disk, in a goroutine that outlives an Open that fails; nobody would hear.
		o.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}}
		o.FS = cmp.Or(o.FS, vfs.Default)
	}
	return o, nil
}

// prepare checks the format, and notes it if the database is new; it notes the state that was saved last. What pebble found in the log
// may have been in the page cache alone, and nothing may be read that may yet be lost; but pebble.Open has written it to a table and
// synced that.
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
	// The first log of a new database is of an old kind, in which no damage is told from a batch that was being written. This
	// begins the next log.
	return s.db.Flush()
}

// Close waits for calls that run, and closes the database. Closing it again does nothing.
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
	return errors.Join(guard(s.db.Close), s.letGo())
}

// guard runs f and returns as an error what pebble panics with.
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

// A logger panics where pebble's own would end the process.
type logger struct{ pebble.Logger }

func (logger) Fatalf(text string, args ...any) { panic(fmt.Errorf(text, args...)) }

type silence struct{}

func (silence) Infof(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}

// get shows f the value of a key and reports whether there is one. The value is f's only until it returns.
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

// scan shows f each key and value from low to below high until f returns false or an error.
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
