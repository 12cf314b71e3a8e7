package paxostest

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
)

// A memoryDisk makes of a Storage in memory one that can be opened again: it keeps, by directory, what was saved. A file in
// the directory says whose it is, so that a copy of the directory has a copy of that.
type memoryDisk map[string]*savedBatches

// savedBatches is what one directory of a memoryDisk holds.
type savedBatches struct {
	batches []paxos.Batch
	closed  bool // the storage was closed after it was opened last
}

// at returns what dir holds.
func (d memoryDisk) at(dir string) *savedBatches {
	if d[dir] != nil {
		return d[dir]
	}
	mark := filepath.Join(dir, "mark")
	d[dir] = &savedBatches{}
	if from, err := os.ReadFile(mark); err == nil {
		d[dir].batches = slices.Clone(d[string(from)].batches)
	}
	if err := os.WriteFile(mark, []byte(dir), 0o600); err != nil {
		panic(err)
	}
	return d[dir]
}

// A loggedStorage is a MemoryStorage whose batches go to a memoryDisk. It can be closed.
type loggedStorage struct {
	paxos.Storage
	disk *savedBatches
}

// open returns a storage that holds what dir does.
func (d memoryDisk) open(dir string) *loggedStorage { return d.at(dir).storage() }

func (d *savedBatches) storage() *loggedStorage {
	s := &loggedStorage{memory.NewStorage(), d}
	for _, b := range d.batches {
		if err := s.Storage.Save(b); err != nil {
			panic(err)
		}
	}
	d.closed = false
	return s
}

func (s *loggedStorage) Save(b paxos.Batch) error {
	err := s.Storage.Save(b)
	if err == nil {
		s.disk.batches = append(s.disk.batches, cloneBatch(b))
	}
	return err
}

// errDiskClosed is what every call of a loggedStorage returns after Close.
var errDiskClosed = errors.New("closed")

func (s *loggedStorage) Close() error {
	s.disk.closed = true
	s.Storage = failingStorage{errDiskClosed}
	return nil
}

// A failingStorage fails whatever is called.
type failingStorage struct{ err error }

func (s failingStorage) Server() (paxos.ServerState, error)         { return paxos.ServerState{}, s.err }
func (s failingStorage) Load(string) (paxos.Record, error)          { return paxos.Record{}, s.err }
func (s failingStorage) Save(paxos.Batch) error                     { return s.err }
func (s failingStorage) Undecided() iter.Seq2[string, error]        { return failingList(s.err) }
func (s failingStorage) Decided(uint64, int) ([]paxos.Named, error) { return nil, s.err }

func failingList(err error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { yield("", err) }
}

func cloneBatch(b paxos.Batch) paxos.Batch {
	if b.Server != nil {
		state := *b.Server
		b.Server = &state
	}
	b.Drop, b.Records = slices.Clone(b.Drop), slices.Clone(b.Records)
	return b
}

// A MemoryStorage has no Close: with its process it is gone, and here another takes over what it held.
func TestMemoryStorage(t *testing.T) {
	disk := memoryDisk{}
	TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		return struct{ paxos.Storage }{disk.open(dir)}
	})
}

// A storage that can be closed, and was formatted when it was created.
func TestStorageThatIsClosed(t *testing.T) {
	disk := memoryDisk{}
	TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		s := closingStorage{disk.open(dir)}
		if len(s.disk.batches) == 0 {
			require.NoError(t, paxos.Format(s, 7, paxos.Members{Cluster: "other", Acceptors: []paxos.ServerID{7}}))
		}
		return s
	})
}

// A closingStorage notices when it is closed, also by a list that was asked for before.
type closingStorage struct{ *loggedStorage }

func (s closingStorage) Undecided() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) { s.loggedStorage.Undecided()(yield) }
}

// A CrashStorage crashes whenever its directory is opened again.
func TestCrashStorage(t *testing.T) {
	lives := map[string]*CrashStorage{}
	TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		s, mark := lives[dir], filepath.Join(dir, "mark")
		from, err := os.ReadFile(mark)
		switch {
		case s != nil:
			s = s.Crash()
		case err == nil:
			s = NewCrashStorage()
			for _, b := range lives[string(from)].Batches() {
				require.NoError(t, s.Save(b))
			}
		default:
			s = NewCrashStorage()
		}
		require.NoError(t, os.WriteFile(mark, []byte(dir), 0o600))
		lives[dir] = s
		return s
	})
}

// A copy has the files and directories, however deep, and leaves out what is neither.
func TestStorageDirectoryIsCopied(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "file"), []byte("text"), 0o600))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "a", "link")))
	to := (&storageKit{storageReporter: t, timeLimit: 1 << 62}).copied(dir)
	require.NotEqual(t, dir, to)
	got, err := os.ReadFile(filepath.Join(to, "a", "b", "file"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(got))
	assert.NoFileExists(t, filepath.Join(to, "a", "link"))
}

// Whether files keep still shows in a listing.
func TestStorageListingChanges(t *testing.T) {
	dir := t.TempDir()
	list := func() string {
		text, err := listing(dir)
		require.NoError(t, err)
		return text
	}
	seen := map[string]bool{list(): true}
	for _, change := range []func() error{
		func() error { return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600) },
		func() error { return os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o600) },
		func() error { return os.Rename(filepath.Join(dir, "file"), filepath.Join(dir, "other")) },
		func() error { return os.Mkdir(filepath.Join(dir, "file"), 0o700) },
	} {
		require.NoError(t, change())
		require.False(t, seen[list()])
		seen[list()] = true
	}
	require.Equal(t, list(), list())
}
