package paxostest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A memoryDisk keeps storages in memory by the name of a directory, and so makes of a Storage in memory one that can be
// opened again. A file in the directory says whose it is, so that a copy of the directory opens a copy of the storage.
type memoryDisk struct {
	mu     sync.Mutex
	stores map[string]paxos.Storage // by directory
}

func newMemoryDisk() *memoryDisk { return &memoryDisk{stores: map[string]paxos.Storage{}} }

// open returns the storage of dir: the one that it has already, or else what create makes, with the contents of the
// storage whose directory was copied to dir.
func (d *memoryDisk) open(dir string, create func() paxos.Storage) (paxos.Storage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.stores[dir]; s != nil {
		return s, nil
	}
	s := create()
	mark := filepath.Join(dir, "mark")
	if from, err := os.ReadFile(mark); err == nil {
		b, err := contents(d.stores[string(from)])
		if err == nil {
			err = s.Save(b)
		}
		if err != nil {
			return nil, err
		}
	}
	d.stores[dir] = s
	return s, os.WriteFile(mark, []byte(dir), 0o600)
}

// contents returns the Batch that makes an empty storage equal to s.
func contents(s paxos.Storage) (b paxos.Batch, err error) {
	state, err := s.Server()
	if err != nil {
		return b, err
	}
	if state != (paxos.ServerState{}) {
		b.Server = &state
	}
	var names []string
	for name, err := range s.Undecided() {
		if err != nil {
			return b, err
		}
		names = append(names, name)
	}
	named, err := s.Decided(0, 1<<30)
	if err != nil {
		return b, err
	}
	for _, n := range named {
		names = append(names, n.Instance)
	}
	for _, name := range names {
		r, err := s.Load(name)
		if err != nil {
			return b, err
		}
		b.Records = append(b.Records, r)
	}
	return b, nil
}

// replace has dir hold another storage from now on.
func (d *memoryDisk) replace(dir string, s paxos.Storage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stores[dir] = s
}

// memoryStorage is a MemoryStorage that was opened: one that died lives again.
func (d *memoryDisk) memoryStorage(dir string) (paxos.Storage, error) {
	s, err := d.open(dir, func() paxos.Storage { return paxos.NewMemoryStorage() })
	if err != nil {
		return nil, err
	}
	if dead := s.Save(paxos.Batch{}); dead == nil {
		return s, nil
	}
	b, err := contents(s)
	if err != nil {
		return nil, err
	}
	s = paxos.NewMemoryStorage()
	d.replace(dir, s)
	return s, s.Save(b)
}

func TestMemoryStorage(t *testing.T) {
	disk := newMemoryDisk()
	TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		s, err := disk.memoryStorage(dir)
		require.NoError(t, err)
		return s
	})
}

// A CrashStorage crashes for good with its process, and so each time that its directory is opened again.
func TestCrashStorage(t *testing.T) {
	disk := newMemoryDisk()
	TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		s, err := disk.open(dir, func() paxos.Storage { return NewCrashStorage() })
		require.NoError(t, err)
		crash := s.(*CrashStorage)
		if crash.Calls(OpAny) > 0 {
			crash = crash.Crash()
			disk.replace(dir, crash)
		}
		return crash
	})
}
