// Package bbolt is a [paxos.Storage] in a bbolt database: one file, read through the page cache, without goroutines and without
// compaction. Use it if the decisions do not fit into memory and few are made at a time. Each Save rewrites the pages that it touches,
// and waits for the disk twice.
//
// If the decisions fit into memory, use package wal. If they do not, and many are written, use package adapters/pebble.
//
//	s, err := bbolt.Open("/var/lib/service/paxos.db", nil)
//	…                                      // once in the server's life: paxos.Format(s, id, members)
//	n, err := node.Start(ctx, node.Config{ID: id, Members: members, Storage: s, Transport: t})
//	…
//	n.Close()
//	s.Close()
//
// Each record and the server's state carry a checksum: a damaged one is an error that names the instance. Pages of bbolt
// have no checksums: damage to a page that leads to records can hide them.
//
// After a failed fsync, an operating system may drop what it had in its cache. bbolt can't write that again. After such a failure,
// restart the machine before the server.
package bbolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/singledecree/paxos"
)

// The database has four buckets:
//
//	server     "format": 1 byte, 1; "state": the ServerState
//	records    instance name: the Record
//	index      Index, 8 bytes, big-endian, of each decided instance: its name
//	undecided  instance name of each other: nothing
//
// The values of records and state begin with 4 bytes, little-endian: a CRC-32C over the key and the binary form. The binary form follows.
var (
	bucketServer    = []byte("server")
	bucketRecords   = []byte("records")
	bucketIndex     = []byte("index")
	bucketUndecided = []byte("undecided")

	keyFormat = []byte("format")
	keyState  = []byte("state")
)

const format = 1

// A Storage is a [paxos.Storage] in a bbolt database. It has the database for itself: another process, or another [Open], is refused. Its
// methods are safe for concurrent use; Saves run one after the other. Every call fails after a Save has failed, and after Close.
type Storage struct {
	db     *bolt.DB
	saving sync.Mutex        // guards state
	state  paxos.ServerState // last saved

	mu  sync.RWMutex // guards err; held for reading while db is read
	err error        // why every call fails
}

var errClosed = errors.New("the storage is closed")

// ErrLocked is in the error of [Open] if the file is open already, in this process or another. bbolt does not say which.
var ErrLocked = errors.New("it is in use by another process, or by another Open in this one")

// Open opens the database in the file. If there is none, it makes an empty one; call [paxos.Format] on that. The directory must exist. If
// the file is in use, Open waits for options.Timeout, by default 1 second, and fails with [ErrLocked].
//
// options may be nil, and is not changed. Open refuses NoSync and NoGrowSync, which give up durability, and ReadOnly.
func Open(file string, options *bolt.Options) (*Storage, error) {
	o, err := checkOptions(options)
	if err != nil {
		return nil, fmt.Errorf("bbolt: open: %w", err)
	}
	s := &Storage{}
	err = guard(func() (err error) {
		s.db, err = bolt.Open(file, 0o600, o)
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) { // bbolt waits for nothing but the lock
		return nil, fmt.Errorf("bbolt: open %s: %w (waited %s for the lock: %w)", file, ErrLocked, o.Timeout, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bbolt: open %s: %w", file, err)
	}
	if err := s.prepare(filepath.Dir(file)); err != nil {
		s.db.Close()
		return nil, fmt.Errorf("bbolt: open %s: %w", file, err)
	}
	return s, nil
}

func checkOptions(options *bolt.Options) (*bolt.Options, error) {
	if options == nil {
		options = bolt.DefaultOptions
	}
	o := *options
	switch {
	case o.NoSync:
		return nil, errors.New("Options.NoSync: a server that forgets its promises breaks agreement")
	case o.NoGrowSync:
		return nil, errors.New("Options.NoGrowSync: a server that forgets its promises breaks agreement")
	case o.ReadOnly:
		return nil, errors.New("Options.ReadOnly: a server saves")
	case o.Timeout == 0:
		o.Timeout = time.Second
	}
	return &o, nil
}

// prepare makes durable what an earlier process left: nothing must be read that may still be lost. In a new database it then makes the
// buckets; otherwise it notes the state that was saved last.
func (s *Storage) prepare(dir string) error {
	if err := s.db.Sync(); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return s.update(func(tx *bolt.Tx) error {
		if server := tx.Bucket(bucketServer); server != nil {
			if got := server.Get(keyFormat); len(got) != 1 || got[0] != format {
				return fmt.Errorf("format %v: this version knows format %d", got, format)
			}
			var err error
			s.state, err = loadState(tx)
			return err
		}
		for _, name := range [][]byte{bucketServer, bucketRecords, bucketIndex, bucketUndecided} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketServer).Put(keyFormat, []byte{format})
	})
}

// syncDir makes the file's entry in its directory durable. Windows does that by itself, and offers no call for it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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
	return s.db.Close()
}

// guard runs f and returns its panic as an error: bbolt panics when a page is damaged.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the database is damaged: %v", p)
		}
	}()
	return f()
}

func (s *Storage) update(f func(*bolt.Tx) error) error {
	return guard(func() error { return s.db.Update(f) })
}

// view reads, unless the storage is dead or closed.
func (s *Storage) view(f func(*bolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.err != nil {
		return s.err
	}
	return guard(func() error { return s.db.View(f) })
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, form []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, form)
}

// seal puts the checksum in front of form, which has room for it, and returns the value to store.
func seal(key, form []byte) []byte {
	binary.LittleEndian.PutUint32(form, checksum(key, form[4:]))
	return form
}

// unseal returns the binary form in a value. It returns an error if seal did not make that value for this key.
func unseal(key, value []byte) ([]byte, error) {
	if len(value) < 4 || binary.LittleEndian.Uint32(value) != checksum(key, value[4:]) {
		return nil, errors.New("it is damaged: the checksum does not match")
	}
	return value[4:], nil
}

// loadRecord returns the record of a name, or the zero Record.
func loadRecord(tx *bolt.Tx, name string) (r paxos.Record, err error) {
	key := []byte(name)
	value := tx.Bucket(bucketRecords).Get(key)
	if value == nil {
		return r, nil
	}
	form, err := unseal(key, value)
	if err == nil {
		err = r.UnmarshalBinary(form)
	}
	if err == nil && r.Instance != name {
		err = fmt.Errorf("it is damaged: it says that it is of %q", r.Instance)
	}
	if err != nil {
		return paxos.Record{}, fmt.Errorf("record %q: %w", name, err)
	}
	return r, nil
}

// loadState returns the server's state, or the zero ServerState.
func loadState(tx *bolt.Tx) (state paxos.ServerState, err error) {
	value := tx.Bucket(bucketServer).Get(keyState)
	if value == nil {
		return state, nil
	}
	form, err := unseal(keyState, value)
	if err == nil {
		err = state.UnmarshalBinary(form)
	}
	if err != nil {
		return paxos.ServerState{}, fmt.Errorf("state: %w", err)
	}
	return state, nil
}
