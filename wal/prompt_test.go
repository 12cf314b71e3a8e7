package wal

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// A hangingFS is the file system of the machine. While gate is set, its syncs and reads hang until that is closed.
type hangingFS struct {
	disk.OS
	gate *atomic.Pointer[chan struct{}]
}

type hangingDir struct {
	disk.Dir
	gate *atomic.Pointer[chan struct{}]
}

type hangingFile struct {
	disk.File
	gate *atomic.Pointer[chan struct{}]
}

func (fs hangingFS) OpenDir(name string) (disk.Dir, error) {
	d, err := fs.OS.OpenDir(name)
	return hangingDir{d, fs.gate}, err
}

func (d hangingDir) Create(name string) (disk.File, error) {
	f, err := d.Dir.Create(name)
	return hangingFile{f, d.gate}, err
}

func (d hangingDir) Open(name string, write bool) (disk.File, error) {
	f, err := d.Dir.Open(name, write)
	return hangingFile{f, d.gate}, err
}

func (f hangingFile) hang() {
	if gate := f.gate.Load(); gate != nil {
		<-*gate
	}
}

func (f hangingFile) Sync() error {
	f.hang()
	return f.File.Sync()
}

func (f hangingFile) ReadAt(b []byte, at int64) (int, error) {
	f.hang()
	return f.File.ReadAt(b, at)
}

// A record that is in memory is returned without waiting for the disk, or for a Save that waits for it. A record on disk is not known at
// once.
func TestKnownAtOnceWaitsForNoDisk(t *testing.T) {
	path := t.TempDir()
	require.NoError(t, Create(path, 1, members))
	fs := hangingFS{gate: new(atomic.Pointer[chan struct{}])}
	l, err := Open(path, Options{fs: fs})
	require.NoError(t, err)
	require.NoError(t, l.Save(counted(l, batchOf(decided("lunch", 1, "burger")))))
	gate := make(chan struct{})
	fs.gate.Store(&gate)
	saved, loaded := make(chan error, 1), make(chan error, 1)
	go func() { saved <- l.Save(batchOf(voted("dinner", 1, "soup"))) }()
	go func() {
		_, err := l.Load("lunch")
		loaded <- err
	}()
	known := make(chan bool, 3)
	go func() {
		for _, name := range []string{"unknown", "lunch"} {
			_, ok := l.LoadNow(name)
			known <- ok
		}
		named, ok := l.DecidedNow(0, 10)
		known <- ok && len(named) == 1
	}()
	for _, want := range []bool{true, false, true} {
		select {
		case ok := <-known:
			assert.Equal(t, want, ok)
		case <-time.After(time.Minute):
			t.Fatal("it waits for the disk")
		}
	}
	assert.Empty(t, saved)
	assert.Empty(t, loaded)
	fs.gate.Store(nil)
	close(gate)
	require.NoError(t, <-saved)
	require.NoError(t, <-loaded)
	rec, ok := l.LoadNow("dinner")
	assert.False(t, ok)
	assert.Zero(t, rec)
	assert.Equal(t, paxos.Storage(l), l.Self())
	require.NoError(t, l.Close())
	_, ok = l.LoadNow("unknown")
	assert.False(t, ok)
}
